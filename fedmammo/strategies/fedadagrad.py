"""FedAdagrad: Reddi et al. 2021, arXiv 2003.00295."""

from typing import ClassVar, Literal

from pydantic import Field

from fedmammo.strategies.base import BaseStrategy


class FedAdagrad(BaseStrategy):
    """Adagrad at the server, on FedAvg's mean (Reddi et al. 2021, arXiv 2003.00295).

    The squared changes of all rounds are summed, from 0 in Flower; there is no first moment.
    """

    state: ClassVar[tuple[str, ...]] = ("v_t",)  # Flower has m_t too, which is the last change alone
    name: Literal["FedAdagrad"]
    eta: float = Field(default=0.1, gt=0, description="Step size of the server.")
    tau: float = Field(default=1e-3, gt=0, description="Added to the root of the sum of squares.")
