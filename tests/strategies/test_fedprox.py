"""FedProx by hand."""

from collections.abc import Callable
from typing import Any

import torch

from fedmammo.config.study import StudyConfig


def test_fedprox_tells_hospitals_how_strongly_to_pull(hospitals: Any, choose: Callable[..., StudyConfig]) -> None:
    """The server's side is FedAvg's, (1 x 1 + 3 x 2) / 4 = 1.75; mu travels in the message."""
    study = choose("FedProx", proximal_mu=0.25)
    asked = hospitals([[({"weight": torch.tensor([1.0])}, 1), ({"weight": torch.tensor([2.0])}, 3)]])
    (model,) = asked.rounds(study.federation.strategy.make(study), {"weight": torch.tensor([0.5])}, 1, 1)
    assert model["weight"].item() == 1.75
    assert [config["proximal-mu"] for _, config in asked.received] == [0.25, 0.25]
    assert [sent["weight"].item() for sent, _ in asked.received] == [0.5, 0.5]
