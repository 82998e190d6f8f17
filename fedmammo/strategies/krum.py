"""Krum: Blanchard et al. 2017, arXiv 1703.02757."""

from typing import Literal

from fedmammo.strategies.resilient import ResilientStrategy


class Krum(ResilientStrategy):
    """The one model with the lowest score, whatever hospitals' patients (Blanchard et al. 2017, arXiv 1703.02757)."""

    name: Literal["Krum"]
