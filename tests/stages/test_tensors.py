"""Tensors that arrive are looked at before they are used: names, shapes, types, finiteness."""

import pytest
import torch
from torch import Tensor

from fedmammo.privacy.reasons import RefusalError
from fedmammo.stages.tensors import check_arrived, unlike

WANTED = {"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ({}, None),
        ({"bias": torch.ones(2)}, None),
        ({"bias": None}, "tensor bias is missing"),
        ({"other": torch.zeros(1)}, "tensor other was not asked for"),
        ({"bias": torch.zeros(3)}, "tensor bias has shape (3,) instead of (2,)"),
        ({"bias": torch.zeros(())}, "tensor bias has shape () instead of (2,)"),
        ({"weight": torch.zeros(3, 2)}, "tensor weight has shape (3, 2) instead of (2, 3)"),
        ({"weight": torch.zeros(2, 3).double()}, "tensor weight is of type float64 instead of float32"),
        ({"weight": torch.zeros(2, 3).to(torch.int64)}, "tensor weight is of type int64 instead of float32"),
        ({"weight": torch.full((2, 3), torch.inf)}, "tensor weight is not finite"),
        ({"bias": torch.tensor([0.0, torch.nan])}, "tensor bias is not finite"),
    ],
)
def test_what_differs_is_said(found: dict[str, Tensor | None], why: str | None) -> None:
    arrived = {name: tensor for name, tensor in (WANTED | found).items() if tensor is not None}
    assert unlike(arrived, WANTED) == why
    if why is not None:
        with pytest.raises(RefusalError, match="refused: what arrived is no model of this deployment: tensor"):
            check_arrived(arrived, WANTED)


def test_sums_are_integers() -> None:
    sums = {name: tensor.to(torch.int64) for name, tensor in WANTED.items()}
    assert unlike(sums, WANTED, sums=True) is None
    assert unlike(WANTED, WANTED, sums=True) == "tensor weight is of type float32 instead of int64"
