"""FedAvg: McMahan et al. 2017, arXiv 1602.05629."""

from typing import Literal

from fedmammo.strategies.base import BaseStrategy


class FedAvg(BaseStrategy):
    """Mean of the hospitals' models weighted by training patients (McMahan et al. 2017, arXiv 1602.05629)."""

    name: Literal["FedAvg"] = "FedAvg"
