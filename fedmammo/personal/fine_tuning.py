"""Fine-tuning: the federated model, then steps at home (Wang et al. 2019, arXiv 1910.10252)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fedmammo.personal.base import HEAD, BasePersonal, TakeSteps

if TYPE_CHECKING:
    from torch.nn import Parameter

    from fedmammo.personal.base import Tensors


class FineTuning(BasePersonal):
    """Steps at home from the federated model, with a new optimiser (Wang et al. 2019, arXiv 1910.10252)."""

    name: Literal["FineTuning"] = "FineTuning"
    steps: int = Field(default=20, ge=1, description="Steps at home.")
    learning_rate: float | None = Field(
        default=None, gt=0, description="Step size of these, the head's too; the optimiser's, if not given."
    )
    tensors: Literal["all", "head"] = Field(
        default="all", description="What steps change: all that is trained, or the head alone."
    )

    def finish(self, model: Tensors, kept: Tensors, take: TakeSteps) -> Tensors:
        """Take the steps."""
        own = take(self.steps, model, {}, self._head_alone if self.tensors == "head" else None, self.learning_rate)
        if self.tensors == "all":
            return own.model
        # Weight decay moves what has no gradient: it stays as it came.
        return {name: own.model[name] if name.startswith(HEAD) else tensor for name, tensor in model.items()}

    @staticmethod
    def _head_alone(parameters: dict[str, Parameter]) -> None:
        for name, parameter in parameters.items():
            if not name.startswith(HEAD):
                parameter.grad = None
