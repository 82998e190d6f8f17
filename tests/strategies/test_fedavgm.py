"""FedAvgM by hand."""

from collections.abc import Callable

import pytest

Combine = Callable[..., list[float]]

ANSWERS = [(1.0, 1), (2.0, 3)]  # weights 1 and 2 from hospitals of 1 and 3 patients: mean 1.75


def test_fedavgm(combine: Combine) -> None:
    """Rate .5, momentum .9, from 0, the mean is always 1.75.

    Round 1: d = 0 - 1.75 = -1.75 = v; weight 0 + .5 x 1.75 = .875.
    Round 2: d = .875 - 1.75 = -.875; v = .9 x -1.75 - .875 = -2.45; weight .875 + .5 x 2.45 = 2.1.
    """
    found = combine("FedAvgM", ANSWERS, ANSWERS, server_learning_rate=0.5, server_momentum=0.9)
    assert found == pytest.approx([0.875, 2.1])


def test_fedavgm_without_momentum_is_a_longer_or_shorter_step(combine: Combine) -> None:
    """Rate .5 goes half the way to 1.75 in each round: .875, then 1.3125; rate 1 is FedAvg."""
    half = combine("FedAvgM", ANSWERS, ANSWERS, server_learning_rate=0.5, server_momentum=0)
    assert half == pytest.approx([0.875, 1.3125])
    assert combine("FedAvgM", ANSWERS, server_learning_rate=1, server_momentum=0) == [1.75]
