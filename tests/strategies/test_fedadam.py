"""FedAdam by hand."""

from collections.abc import Callable

import pytest

Combine = Callable[..., list[float]]

ANSWERS = [(1.0, 1), (2.0, 3)]  # weights 1 and 2 from hospitals of 1 and 3 patients: mean 1.75


def test_fedadam(combine: Combine) -> None:
    """From 0 with eta .1, b1 .9, b2 .99, tau .001; Flower's eta x sqrt(1 - b2^(t+1)) / (1 - b1^(t+1)) in round t.

    Round 1: d = 1.75; m = .1 d = .175; v = .01 d² = .030625, root .175; eta x .1410674 / .19 = .0742460;
    weight .0742460 x .175 / .176 = .0738241.
    Round 2: d = 1.6761759; m = .9 x .175 + .1 d = .3251176; v = .99 x .030625 + .01 d² = .0584144, root .2416908;
    eta x .1723398 / .271 = .0635940; weight .0738241 + .0635940 x .3251176 / .2426908 = .1590171.
    """
    found = combine("FedAdam", ANSWERS, ANSWERS, eta=0.1, beta_1=0.9, beta_2=0.99, tau=0.001)
    assert found == pytest.approx([0.0738241, 0.1590171], abs=1e-6)
