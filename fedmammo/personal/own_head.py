"""FedPer: what lies below the head is shared, heads stay at home (Arivazhagan et al. 2019, arXiv 1912.00818)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fedmammo.personal.base import HEAD, BasePersonal, TakeSteps

if TYPE_CHECKING:
    from fedmammo.config.deployment import Deployment
    from fedmammo.personal.base import Tensors


def _heads_of(tensors: Tensors) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if name.startswith(HEAD)}


class FedPer(BasePersonal):
    """Heads stay at home, all else that is trained is averaged (Arivazhagan et al. 2019, arXiv 1912.00818)."""

    name: Literal["FedPer"]

    def refuses(self, deployment: Deployment) -> str | None:
        """Refuse where nothing but the head is trained, and strategies that look at the head."""
        if deployment.diagnosis.train == "head":
            return "FedPer shares what lies below the head; take diagnosis.train: last_blocks:1, say, or FineTuning"
        if deployment.federation.strategy.name != "FedAvg":
            return "FedPer takes the strategy FedAvg"
        return None

    def begin(self, model: Tensors, kept: Tensors) -> Tensors:
        """Put the hospital's own head on what arrived."""
        return model | kept

    def end(self, model: Tensors, trained: Tensors, kept: Tensors, take: TakeSteps) -> tuple[Tensors, Tensors]:
        """Send the head as it arrived, so that nobody learns of this one; keep it."""
        return trained | _heads_of(model), _heads_of(trained)

    def finish(self, model: Tensors, kept: Tensors, take: TakeSteps) -> Tensors:
        """Put the hospital's own head on the last shared model."""
        return model | kept
