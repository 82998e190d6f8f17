"""SCAFFOLD: Karimireddy et al. 2020, arXiv 1910.06378."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from fedmammo.strategies.base import BaseStrategy, LocalRound

if TYPE_CHECKING:
    from torch.nn import Parameter

    from fedmammo.config.deployment import Deployment
    from fedmammo.stages.stage import Turn
    from fedmammo.strategies.base import Tensors


class Scaffold(BaseStrategy):
    """Control variates correct each hospital's drift (Karimireddy et al. 2020, arXiv 1910.06378, algorithm 1).

    A hospital adds c - c_i to its gradients, and after K steps of size l from x to y has c_i' = c_i - c + (x - y)/(K l)
    (option II). The server moves x by its learning rate times the mean of y - x, and c by the sum of c_i' - c_i over
    all hospitals. Means are weighted by training patients, as in FedAvg.

    Under a budget, c_i' is worked out from noised models alone, so that it costs nothing more.
    """

    name: Literal["SCAFFOLD"]
    server_learning_rate: float = Field(default=1.0, gt=0, description="Step size of the server.")

    def refuses(self, deployment: Deployment, hospitals: int) -> str | None:
        """Refuse optimisers other than plain SGD, whose steps are not the gradients that variates stand for."""
        optimizer = deployment.diagnosis.optimizer
        if optimizer.name != "sgd" or optimizer.momentum or optimizer.weight_decay:
            return "SCAFFOLD takes diagnosis.optimizer: {name: sgd, momentum: 0, weight_decay: 0}"
        return super().refuses(deployment, hospitals)

    def parameters(self, deployment: Deployment) -> dict[str, Any]:
        """Return what Flower's FedAvg, which takes the mean of models, is made with."""
        return {}

    def correct(self, local: LocalRound, parameters: dict[str, Parameter]) -> None:
        """Add c - c_i to the gradients."""
        for name, parameter in parameters.items():
            if parameter.grad is not None:
                for variates, sign in ((local.beside, 1), (local.kept, -1)):
                    if name in variates:
                        parameter.grad += sign * variates[name].to(parameter)

    def after(self, local: LocalRound, trained: Tensors) -> tuple[Tensors, Tensors]:
        """Send c_i' - c_i, keep c_i'."""
        steps, optimizer = local.deployment.federation.local_steps, local.deployment.diagnosis.optimizer
        change, own = {}, {}
        for name, after in trained.items():
            change[name] = (local.model[name] - after) / (steps * optimizer.rate(name)) - local.beside.get(name, 0)
            own[name] = change[name] + local.kept.get(name, 0)
        return change, own

    def beside(self, kept: Tensors) -> Tensors:
        """Send c."""
        return kept

    def at_server(self, turn: Turn) -> tuple[Tensors, Tensors]:
        """Move the model and c."""
        mean, weights = turn.mean(), {name: answer.numbers["num-examples"] for name, answer in turn.answers.items()}
        model, variates = {}, {}
        for name, before in turn.model.items():
            model[name] = before + self.server_learning_rate * (mean[name] - before)
            changes = [weights[who] * answer.beside[name] for who, answer in turn.answers.items()]
            variates[name] = sum(changes[1:], changes[0]) / turn.patients + turn.kept.get(name, 0)
        return model, variates
