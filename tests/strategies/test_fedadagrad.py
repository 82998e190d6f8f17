"""FedAdagrad by hand."""

from collections.abc import Callable

import pytest

Combine = Callable[..., list[float]]

FIRST = [(0.0, 1), (2.0, 1), (3.0, 2)]  # mean over patients 2
SECOND = [(3.0, 1), (1.0, 1), (0.0, 2)]  # mean over patients 1


def test_fedadagrad(combine: Combine) -> None:
    """From 0 with eta 1, tau 1: a change over 1 + the root of the sum of squared changes.

    Round 1: d = 2, sum 4; weight 2 / (2 + 1) = .6666667.
    Round 2: d = .3333333, sum 4.1111111, root 2.0275875; weight .6666667 + .3333333 / 3.0275875 = .7767654.
    """
    found = combine("FedAdagrad", FIRST, SECOND, eta=1, tau=1)
    assert found == pytest.approx([0.6666667, 0.7767654], abs=1e-6)
