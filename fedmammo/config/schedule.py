"""Who takes part when: hospitals that join late, leave, are away, or are slow."""

from typing import Any

from pydantic import Field, field_validator, model_validator

from fedmammo.config.schema import Section
from fedmammo.config.seeds import list_of_seeds


class Attendance(Section):
    """The rounds of training in which a hospital takes part; in others nobody asks it."""

    hospital: str = Field(description="Name of the hospital.")
    joins: int = Field(default=1, ge=1, description="The first round in which it takes part.")
    leaves: int | None = Field(default=None, ge=2, description="The first round in which it does so no more.")
    away: list[int] = Field(
        default_factory=list, description="Rounds in which it does not: a list, or a range such as 3..5."
    )
    every: int = Field(
        default=1,
        ge=1,
        description="A slow hospital takes part in the round in which it joins, and in each so many-th after it.",
    )

    @field_validator("away", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return list_of_seeds(value)

    @model_validator(mode="after")
    def _takes_part(self) -> "Attendance":
        if self.leaves is not None and self.leaves <= self.joins:
            raise ValueError(f"{self.hospital}: leaves in a round after the one in which it joins")
        return self

    def present(self, number: int) -> bool:
        """Whether the hospital takes part in round `number`, from 1."""
        gone = self.leaves is not None and number >= self.leaves
        return number >= self.joins and not gone and number not in self.away and (number - self.joins) % self.every == 0
