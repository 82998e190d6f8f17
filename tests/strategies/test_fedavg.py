"""FedAvg by hand."""

from collections.abc import Callable

import torch

Combine = Callable[..., list[float]]


def test_fedavg(combine: Combine) -> None:
    """(1 x 1 + 3 x 2 + 4 x 5) / 8 = 3.375, from any model; a hospital alone hands its model through, bit for bit."""
    answers = [(1.0, 1), (2.0, 3), (5.0, 4)]
    assert combine("FedAvg", answers, answers, start=9.0) == [3.375, 3.375]
    assert combine("FedAvg", [(0.1, 7)]) == [torch.tensor(0.1).item()]
