"""FedProx by hand."""

from collections.abc import Callable
from typing import Any, cast

import torch

from fedmammo.strategies.base import LocalRound
from fedmammo.strategies.fedprox import FedProx

Combine = Callable[..., list[float]]


def test_fedprox_is_fedavg_at_the_server(combine: Combine) -> None:
    """(1 x 1 + 3 x 2) / 4 = 1.75, whatever mu is."""
    assert combine("FedProx", [(1.0, 1), (2.0, 3)], proximal_mu=0.25, start=0.5) == [1.75]


def test_a_hospital_is_pulled_to_the_rounds_model() -> None:
    """With mu .25 the gradient of weight 3, from a round's 1, gets .25 (3 - 1) = .5 more; who has none gets none."""
    pulled, frozen = torch.nn.Parameter(torch.tensor([3.0, 1.0])), torch.nn.Parameter(torch.tensor([3.0]))
    pulled.grad = torch.tensor([1.0, 2.0])
    local = LocalRound(cast(Any, None), {"pulled": torch.tensor([1.0, 1.0]), "frozen": torch.tensor([1.0])}, {}, {})
    prox = FedProx(name="FedProx", proximal_mu=0.25)
    with torch.no_grad():
        prox.correct(local, {"pulled": pulled, "frozen": frozen})
    assert pulled.grad.tolist() == [1.5, 2.0] and frozen.grad is None
    assert prox.after(local, {}) == ({}, {}) and prox.beside({}) == {}
