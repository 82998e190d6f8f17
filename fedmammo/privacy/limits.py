"""What a hospital allows, whatever a server asks: its own floors and ceilings, a part of its profile."""

from typing import Literal

from pydantic import Field

from fedmammo.schema import Section


class Limits(Section):
    """A hospital accepts no plan beyond these."""

    maximum_epsilon: float = Field(
        default=100.0, gt=0, description="Largest budget that the hospital spends on a study, at `maximum_delta`."
    )
    maximum_delta: float = Field(default=1e-3, gt=0, lt=0.5, description="Largest delta at which a budget may be stated.")
    minimum_noise_multiplier: float = Field(
        default=0.05, gt=0, description="Least noise, as a multiple of the clipping norm, that a release may carry."
    )
    maximum_clipping_norm: float = Field(
        default=100.0, gt=0, description="Largest L2 norm that one patient may add to a sum."
    )
    without_budget: Literal["accepted", "refused"] = Field(
        default="accepted", description="Whether the hospital takes part in settings without a budget too."
    )
    central_trust: Literal["accepted", "refused"] = Field(
        default="accepted", description="Whether the hospital trusts a server to add the noise."
    )
