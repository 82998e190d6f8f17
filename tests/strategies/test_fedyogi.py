"""FedYogi by hand."""

from collections.abc import Callable

import pytest

Combine = Callable[..., list[float]]

FIRST = [(0.0, 1), (2.0, 1), (3.0, 2)]  # mean over patients 2
SECOND = [(3.0, 1), (1.0, 1), (0.0, 2)]  # mean over patients 1


def test_fedyogi(combine: Combine) -> None:
    """From 0 with eta 1, b1 .5, b2 .75, tau 1; the second moment rises in round 1 and falls in round 2.

    Round 1: d = 2; m = .5 d = 1; v = 0 + .25 x 4 = 1; weight 1 / (1 + 1) = .5.
    Round 2: d = .5; m = .5 x 1 + .5 d = .75; v = 1 - .25 x .25 = .9375, root .9682458;
    weight .5 + .75 / 1.9682458 = .8810499.
    """
    found = combine("FedYogi", FIRST, SECOND, eta=1, beta_1=0.5, beta_2=0.75, tau=1)
    assert found == pytest.approx([0.5, 0.8810499], abs=1e-6)
