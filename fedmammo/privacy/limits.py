"""What a hospital allows, whatever a server asks: its own floors and ceilings, a part of its site file."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Limits(BaseModel):
    """A hospital accepts no plan beyond these."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    maximum_epsilon: float = Field(
        default=100.0, gt=0, description="Largest epsilon that the hospital spends on one deployment."
    )
    lifetime_epsilon: float = Field(
        default=100.0, gt=0, description="Largest epsilon, at `lifetime_delta`, of everything that it ever releases."
    )
    lifetime_delta: float = Field(default=1e-4, gt=0, lt=0.5, description="Delta of the lifetime's epsilon.")
    maximum_delta: float = Field(
        default=1e-3, gt=0, lt=0.5, description="Largest delta at which a budget may be stated."
    )
    minimum_noise_multiplier: float = Field(
        default=0.05, gt=0, description="Least noise, as a multiple of the clipping norm, that a release may carry."
    )
    maximum_clipping_norm: float = Field(
        default=100.0, gt=0, description="Largest L2 norm that one patient may add to a sum."
    )
    without_budget: Literal["accepted", "refused"] = Field(
        default="refused", description="Whether the hospital takes part in settings without a budget too."
    )
    central_trust: Literal["accepted", "refused"] = Field(
        default="refused", description="Whether the hospital trusts a server to add the noise."
    )
    minimum_honest: int = Field(
        default=2,
        ge=1,
        description="Fewest honest hospitals over whom noise may be shared: all, but for those that may drop out or "
        "collude with the server.",
    )


def strictest(of_hospitals: Sequence[Limits]) -> Limits:
    """Return what all of these hospitals allow together: what whoever holds their patients must keep to."""

    def refused(name: str) -> str:
        return "refused" if "refused" in [getattr(one, name) for one in of_hospitals] else "accepted"

    return Limits.model_validate(
        {
            "maximum_epsilon": min(one.maximum_epsilon for one in of_hospitals),
            "lifetime_epsilon": min(one.lifetime_epsilon for one in of_hospitals),
            "lifetime_delta": min(one.lifetime_delta for one in of_hospitals),
            "maximum_delta": min(one.maximum_delta for one in of_hospitals),
            "minimum_noise_multiplier": max(one.minimum_noise_multiplier for one in of_hospitals),
            "maximum_clipping_norm": min(one.maximum_clipping_norm for one in of_hospitals),
            "without_budget": refused("without_budget"),
            "central_trust": refused("central_trust"),
            "minimum_honest": max(one.minimum_honest for one in of_hospitals),
        }
    )
