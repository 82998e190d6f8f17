"""FedMedian: Yin et al. 2018, arXiv 1803.01498."""

from typing import Literal

from fedmammo.strategies.base import BaseStrategy


class FedMedian(BaseStrategy):
    """Coordinate-wise median of the hospitals' models, whatever their patients (Yin et al. 2018, arXiv 1803.01498)."""

    name: Literal["FedMedian"]
