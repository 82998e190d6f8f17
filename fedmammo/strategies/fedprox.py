"""FedProx: Li et al. 2020, arXiv 1812.06127."""

from typing import Literal

from pydantic import Field

from fedmammo.strategies.base import BaseStrategy


class FedProx(BaseStrategy):
    """FedAvg whose hospitals stay near the round's model (Li et al. 2020, arXiv 1812.06127)."""

    name: Literal["FedProx"]
    proximal_mu: float = Field(default=0.01, ge=0, description="Weight of half the squared distance to that model.")
