"""What Krum, MultiKrum and Bulyan share: how many hospitals may send anything, and distances between models."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from fedmammo.strategies.base import BaseStrategy

if TYPE_CHECKING:
    from flwr.app import Message
    from flwr.serverapp.strategy import FedAvg as FlowerStrategy

    from fedmammo.config.deployment import Deployment


class ResilientStrategy(BaseStrategy):
    """A strategy that bears some hospitals which send anything (Byzantine ones).

    A model's score is the sum of its squared distances to its n - f - 2 closest of the round's n models, where f may be
    malicious; a low score is good (Blanchard et al. 2017, arXiv 1703.02757, who need n > 2f + 2).
    """

    num_malicious_nodes: int = Field(default=0, ge=0, description="How many hospitals may send anything.")

    @property
    def fewest(self) -> int:
        """With f malicious hospitals, 2f + 3."""
        return 2 * self.num_malicious_nodes + 3

    def make(self, deployment: "Deployment") -> "FlowerStrategy":
        """Build Flower's strategy, which sees models in float64.

        Flower takes |a - b|² as |a|² + |b|² - 2ab. In float32 that has no digit left where models are close, and is
        no number where one of them is huge.
        """
        from flwr.app import Array

        made = super().make(deployment)
        aggregate = made.aggregate_train

        def aggregate_train(server_round: int, replies: "Iterable[Message]") -> Any:
            replies = list(replies)
            for reply in replies:
                for record in reply.content.array_records.values():
                    record.update({name: Array(array.numpy().astype(np.float64)) for name, array in record.items()})
            return aggregate(server_round, replies)

        made.aggregate_train = aggregate_train  # type: ignore[method-assign]
        return made
