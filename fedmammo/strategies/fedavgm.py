"""FedAvgM: Hsu et al. 2019, arXiv 1909.06335."""

from typing import ClassVar, Literal

from pydantic import Field

from fedmammo.strategies.base import BaseStrategy


class FedAvgM(BaseStrategy):
    """FedAvg with momentum at the server (Hsu et al. 2019, arXiv 1909.06335)."""

    state: ClassVar[tuple[str, ...]] = ("momentum_vector",)
    name: Literal["FedAvgM"]
    server_learning_rate: float = Field(default=1.0, gt=0, description="Step size of the server.")
    server_momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum of the server.")
