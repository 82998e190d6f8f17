"""Ditto: Li et al. 2021, arXiv 2012.04221."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fedmammo.personal.base import BasePersonal, TakeSteps

if TYPE_CHECKING:
    from torch.nn import Parameter

    from fedmammo.personal.base import Tensors

_MODEL, _STATE = "model.", "state."


class Ditto(BasePersonal):
    """A second model at home, held near each round's federated one (Li et al. 2021, arXiv 2012.04221, algorithm 1).

    In a round to which w came, a hospital takes steps for w as everybody does, and `steps` for its own v: along the
    gradient of its loss at v plus `penalty` times v - w. The optimiser of v lives on between rounds.
    """

    name: Literal["Ditto"]
    penalty: float = Field(default=1.0, ge=0, description="Weight of half the squared distance to the federated model.")
    steps: int | None = Field(
        default=None, ge=1, description="Steps of the own model in a round; federation.local_steps, if not given."
    )

    def end(self, model: Tensors, trained: Tensors, kept: Tensors, take: TakeSteps) -> tuple[Tensors, Tensors]:
        """Send the trained model, and keep the hospital's own after its steps."""

        def near(parameters: dict[str, Parameter]) -> None:
            for name, parameter in parameters.items():
                if parameter.grad is not None:
                    parameter.grad += self.penalty * (parameter - model[name].to(parameter))

        own = take(self.steps or 0, _part(kept, _MODEL) or model, _part(kept, _STATE), near)
        return trained, {
            **{_MODEL + name: tensor for name, tensor in own.model.items()},
            **{_STATE + name: tensor for name, tensor in own.state.items()},
        }

    def finish(self, model: Tensors, kept: Tensors, take: TakeSteps) -> Tensors:
        """Return the hospital's own model; of one that never took part, the federated one."""
        return _part(kept, _MODEL) or model


def _part(kept: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in kept.items() if name.startswith(prefix)}
