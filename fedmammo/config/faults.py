"""Faults that a study orders: what goes wrong at a hospital once in a while, so that a study may be seen to bear it."""

from typing import Any, Literal

from pydantic import Field, field_validator

from fedmammo.config.schema import Section
from fedmammo.config.seeds import list_of_seeds

FLIPPED = "flipped_labels"
Kind = Literal["drops_out", "late", "crashes", "not_a_number", "wrong_shape", "wrong_names", "scaled", "flipped_labels"]


class Fault(Section):
    """What a simulated hospital does wrong in rounds of the federated arm."""

    hospital: str = Field(description="Name of the hospital.")
    kind: Kind = Field(
        description="`drops_out` of the round; `late`, does its work, but nobody waits for it; `crashes` in the "
        "midst of a step; answers a model that is `not_a_number`, of a `wrong_shape`, with `wrong_names`, or whose "
        "update is `scaled`; learns from `flipped_labels`, in all arms and rounds."
    )
    rounds: list[int] | None = Field(
        default=None, description="Rounds in which it happens: a list, or a range such as 3..5; none means all."
    )
    share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Fraction of these rounds in which it happens, drawn at random; of flipped labels, of the "
        "hospital's training patients.",
    )
    factor: float = Field(default=10.0, description="By how much an update is scaled.")

    @field_validator("rounds", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return None if value is None else list_of_seeds(value)

    @field_validator("rounds")
    @classmethod
    def _begin_with_one(cls, value: list[int] | None) -> list[int] | None:
        if value is not None and min(value) < 1:
            raise ValueError("rounds are counted from 1")
        return value
