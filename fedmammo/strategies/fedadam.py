"""FedAdam: Reddi et al. 2021, arXiv 2003.00295."""

from typing import ClassVar, Literal

from pydantic import Field

from fedmammo.strategies.base import BaseStrategy


class FedAdam(BaseStrategy):
    """Adam at the server, on FedAvg's mean (Reddi et al. 2021, arXiv 2003.00295)."""

    state: ClassVar[tuple[str, ...]] = ("m_t", "v_t")
    name: Literal["FedAdam"]
    eta: float = Field(default=0.01, gt=0, description="Step size of the server.")
    beta_1: float = Field(default=0.9, ge=0, lt=1, description="Decay of the first moment.")
    beta_2: float = Field(default=0.99, ge=0, lt=1, description="Decay of the second moment.")
    tau: float = Field(default=1e-3, gt=0, description="Added to the root of the second moment.")
