"""QFedAvg by hand."""

from collections.abc import Callable

import pytest

Combine = Callable[..., list[float]]


ANSWERS = [(1.0, 5, 1.0), (2.0, 1, 0.5), (4.0, 1, 0.25)]  # weight, patients, loss


@pytest.mark.parametrize(
    ("q", "start", "expected"), [(0, 0.0, 7 / 3), (1, 0.0, 6 / 87.5), (2, 0.0, 3.5 / 58.625), (1, 1.0, 1 + 2.5 / 43.5)]
)
def test_qfedavg(combine: Combine, q: float, start: float, expected: float) -> None:
    """Rate .5, so L = 2; from 0, g = -2, -4, -8, with squares 4, 16, 64.

    q = 0: the mean without weights, 7 / 3.
    q = 1: sum F g = -2 - 2 - 2 = -6; sum |g|² + 2 F = 84 + 3.5 = 87.5.
    q = 2: sum F² g = -2 - 1 - .5 = -3.5; sum 2 F |g|² + 2 F² = (8 + 2) + (16 + .5) + (32 + .125) = 58.625.
    q = 1 from 1: g = 0, -2, -6; sum F g = -1 - 1.5 = -2.5; sum |g|² + 2 F = 40 + 3.5 = 43.5.
    """
    assert combine("QFedAvg", ANSWERS, start=start, q=q, client_learning_rate=0.5) == pytest.approx([expected])


def test_qfedavg_takes_the_studys_step_size(combine: Combine) -> None:
    """The small study's .01: L = 100 and q = 1: g = -100, -200, -400; F g = -100 each; |g|² + 100 F = 210000 + 175."""
    assert combine("QFedAvg", ANSWERS, q=1) == pytest.approx([300 / 210175])


def test_qfedavg_goes_on_from_the_new_model(combine: Combine) -> None:
    """Round 2 of q = 0 ends where round 1 did; of q = 1, from w = 6 / 87.5, as if it had begun there."""
    assert combine("QFedAvg", ANSWERS, ANSWERS, q=0, client_learning_rate=0.5) == pytest.approx([7 / 3, 7 / 3])
    first, second = combine("QFedAvg", ANSWERS, ANSWERS, q=1, client_learning_rate=0.5)
    assert combine("QFedAvg", ANSWERS, start=first, q=1, client_learning_rate=0.5) == [second]
