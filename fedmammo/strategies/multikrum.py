"""MultiKrum: Blanchard et al. 2017, arXiv 1703.02757."""

from typing import Literal

from pydantic import Field

from fedmammo.strategies.resilient import ResilientStrategy


class MultiKrum(ResilientStrategy):
    """Mean of the models with the lowest scores (Blanchard et al. 2017, arXiv 1703.02757).

    In Flower the mean is weighted by training patients, as each hospital declares them; in the paper it is not.
    """

    name: Literal["MultiKrum"]
    num_nodes_to_select: int = Field(default=1, ge=1, description="How many models are averaged; 1 is Krum.")

    @property
    def fewest(self) -> int:
        """As Krum's; and more models than are honest would have a malicious one among them for certain."""
        return max(super().fewest, self.num_nodes_to_select + self.num_malicious_nodes)
