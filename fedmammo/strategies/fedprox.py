"""FedProx: Li et al. 2020, arXiv 1812.06127."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fedmammo.strategies.base import BaseStrategy, LocalRound

if TYPE_CHECKING:
    from torch.nn import Parameter


class FedProx(BaseStrategy):
    """FedAvg whose hospitals stay near the round's model (Li et al. 2020, arXiv 1812.06127)."""

    name: Literal["FedProx"]
    proximal_mu: float = Field(default=0.01, ge=0, description="Weight of half the squared distance to that model.")

    def correct(self, local: LocalRound, parameters: dict[str, Parameter]) -> None:
        """Add the gradient of the distance, which no patient has a part in."""
        for name, parameter in parameters.items():
            if parameter.grad is not None:
                parameter.grad += self.proximal_mu * (parameter - local.model[name].to(parameter))
