"""The base of every part of a study's schema."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the study: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
