"""FedTrimmedAvg: Yin et al. 2018, arXiv 1803.01498."""

from typing import Literal

from pydantic import Field

from fedmammo.strategies.base import BaseStrategy


class FedTrimmedAvg(BaseStrategy):
    """Coordinate-wise mean without the extremes, whatever hospitals' patients (Yin et al. 2018, arXiv 1803.01498)."""

    name: Literal["FedTrimmedAvg"]
    beta: float = Field(
        default=0.2,
        ge=0,
        lt=0.5,
        description="Fraction of hospitals cut at each end; .2 cuts nobody of four hospitals, one of five.",
    )
