"""What every strategy has: parameters that are a part of the study's schema, a half for each side, limits.

An algorithm is one file with both halves. The server's half is Flower's class of the same name, unless the algorithm
has its own `at_server`; the hospital's half changes gradients, and may keep and send tensors of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from fedmammo.config.schema import Section

if TYPE_CHECKING:  # the schema is read without torch and Flower
    from flwr.serverapp.strategy import FedAvg as FlowerStrategy
    from torch import Tensor
    from torch.nn import Parameter

    from fedmammo.config.deployment import Deployment
    from fedmammo.stages.stage import Turn

    Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class LocalRound:
    """A hospital's round, as its half of an algorithm sees it.

    Attributes:
        deployment: the deployment: steps, optimiser.
        model: with which the round began, by name.
        beside: what the server sent beside it.
        kept: what the algorithm kept at this hospital after the last round; empty at first.
    """

    deployment: Deployment
    model: Tensors
    beside: Tensors
    kept: Tensors


class BaseStrategy(Section):
    """How the server combines the models of a round, and what hospitals do beside their steps.

    A subclass gives `name` the name of its class in Flower; its other fields are that class's parameters.
    """

    state: ClassVar[tuple[str, ...]] = ()  # attributes of Flower's object that must survive a restart
    name: str = Field(description="Name of the algorithm, or import path of its class.")

    @property
    def fewest(self) -> int:
        """The fewest hospitals whose models can be combined; a round with fewer answers ends the study."""
        return 1

    def refuses(self, deployment: Deployment, hospitals: int) -> str | None:
        """Say in one line why the strategy cannot serve a deployment of so many hospitals; none where it can."""
        if hospitals >= self.fewest:
            return None
        given = ", ".join(f"{name}: {value}" for name, value in self.model_dump().items())
        return f"{{{given}}} needs {self.fewest} hospitals or more, the study has {hospitals}"

    def parameters(self, deployment: Deployment) -> dict[str, Any]:
        """Return what Flower's class is made with."""
        return self.model_dump(exclude={"name"})

    def make(self, deployment: Deployment) -> FlowerStrategy:
        """Build Flower's strategy. All hospitals take part; a missing one never blocks a round."""
        import flwr.serverapp.strategy as flower  # only the server needs Flower; the schema is read without it

        found = getattr(flower, self.name, None)  # none for an algorithm of somebody else's, which takes the mean
        parameters = self.parameters(deployment) if found else {}
        return (found or flower.FedAvg)(min_train_nodes=1, min_available_nodes=1, **parameters)

    @property
    def corrects(self) -> bool:
        """Whether the algorithm changes gradients."""
        return type(self).correct is not BaseStrategy.correct

    def correct(self, local: LocalRound, parameters: dict[str, Parameter]) -> None:
        """Change the gradients of a step at a hospital, which are in the parameters."""

    def after(self, local: LocalRound, trained: Tensors) -> tuple[Tensors, Tensors]:
        """Return what a hospital sends beside its trained model, and what it keeps for the next round."""
        return {}, {}

    def beside(self, kept: Tensors) -> Tensors:
        """Return what the server sends beside a model. `kept`: as `at_server` returned it; empty at first."""
        return {}

    def at_server(self, turn: Turn) -> tuple[Tensors, Tensors]:
        """Return the group's new model and what the server keeps; `turn.kept` is what it kept before."""
        return turn.mean(), {}
