"""FedAvgSquared: hospitals weigh by the square of their patients, for noise that is alike at all of them.

Where every hospital adds noise of one size to its own sum, the noise of its mean falls as 1 / n, so that the mean with
the least noise over like hospitals weighs their models by n² (inverse variance: Cochran 1937, Suppl. J. R. Stat. Soc.
4:102). Where hospitals differ, large ones count for more than their patients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fedmammo.strategies.base import BaseStrategy

if TYPE_CHECKING:
    from fedmammo.stages.stage import Turn
    from fedmammo.strategies.base import Tensors


class FedAvgSquared(BaseStrategy):
    """Mean of the hospitals' models weighted by the square of training patients: for noise of each one's own."""

    name: Literal["FedAvgSquared"]

    def at_server(self, turn: Turn) -> tuple[Tensors, Tensors]:
        """Return the mean; nothing is kept."""
        weights = {name: answer.numbers["num-examples"] ** 2 for name, answer in turn.answers.items()}
        total, model = sum(weights.values()), {}
        for key, before in turn.model.items():
            parts = [turn.answers[name].tensors[key].double() * (one / total) for name, one in weights.items()]
            model[key] = sum(parts[1:], parts[0]).to(before.dtype)
        return model, {}
