"""Bulyan: El Mhamdi et al. 2018, arXiv 1802.07927."""

from typing import Literal

from fedmammo.strategies.resilient import ResilientStrategy


class Bulyan(ResilientStrategy):
    """Krum's selection, then a mean of what is close to the median (El Mhamdi et al. 2018, arXiv 1802.07927).

    Of n models the n - 2f with the lowest scores stay, in Flower all taken at once; each coordinate is the mean of the
    n - 4f values closest to the median of these. Numbers of patients have no part in it.
    """

    name: Literal["Bulyan"]

    @property
    def fewest(self) -> int:
        """With f malicious hospitals, 4f + 3."""
        return 4 * self.num_malicious_nodes + 3
