"""What every way to personalise has: parameters that are a part of the study's schema, and a hospital's half.

The server has none: a hospital's own model is made at home, of models that it is sent anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from pydantic import Field

from fedmammo.config.schema import Section

if TYPE_CHECKING:  # the schema is read without torch
    from torch import Tensor

    from fedmammo.config.deployment import Deployment
    from fedmammo.training.steps import Correct

    Tensors = dict[str, Tensor]

HEAD = "head."  # how the names of a classifier's head begin


class Taken(NamedTuple):
    """Where steps at home lead: a model by name, and the optimiser's state."""

    model: Tensors
    state: Tensors


class TakeSteps(Protocol):
    """Takes steps on the hospital's own training patients, as a round does."""

    def __call__(
        self, steps: int, model: Tensors, state: Tensors, correct: Correct | None = None, rate: float | None = None
    ) -> Taken:
        """Step from a model with an optimiser's state, empty at first.

        `correct`: changes the gradients of a step. `rate`: learning rate, if not the study's.
        """
        ...


class BasePersonal(Section):
    """What a hospital does beside the federation's rounds, and after them."""

    name: str = Field(description="Name of the algorithm.")

    def refuses(self, deployment: Deployment) -> str | None:
        """Say in one line why it cannot serve a deployment; none where it can."""
        return None

    def begin(self, model: Tensors, kept: Tensors) -> Tensors:
        """Return the model from which the hospital's steps of a round begin. `kept`: from the last round."""
        return model

    def end(self, model: Tensors, trained: Tensors, kept: Tensors, take: TakeSteps) -> tuple[Tensors, Tensors]:
        """Return what the hospital sends of a round, and what it keeps. `model`: as it arrived."""
        return trained, {}

    def finish(self, model: Tensors, kept: Tensors, take: TakeSteps) -> Tensors:
        """Return the hospital's own model, by default the federated one, which is `model`.

        `kept`: from the last round in which the hospital took part.
        """
        return model
