"""Bulyan by hand."""

from collections.abc import Callable

import pytest

Combine = Callable[..., list[float]]


def test_bulyan(combine: Combine) -> None:
    """One malicious hospital of seven, whatever their patients: 5 stay by the distances to their 4 closest.

    0: 1 + 9 + 16 + 36 = 62; 1: 1 + 4 + 9 + 25 = 39; 3: 1 + 4 + 9 + 9 = 23; 4: 1 + 4 + 9 + 16 = 30;
    6: 4 + 9 + 16 + 25 = 54; 10: 16 + 36 + 49 + 81 = 182; 100: more. So 10 and 100 leave; the median of the others is 3,
    and the 3 closest to it are 3, 4 and 1: 8 / 3.
    """
    answers = [(100.0, 9), (0.0, 9), (6.0, 1), (1.0, 1), (10.0, 1), (3.0, 1), (4.0, 1)]
    assert combine("Bulyan", answers, num_malicious_nodes=1) == pytest.approx([8 / 3])


def test_bulyan_without_malicious_hospitals_is_the_mean_without_weights(combine: Combine) -> None:
    """(1 + 2 + 6) / 3 = 3."""
    assert combine("Bulyan", [(1.0, 5), (2.0, 1), (6.0, 1)]) == [3.0]
