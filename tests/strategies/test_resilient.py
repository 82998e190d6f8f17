"""Strategies that bear a hospital which sends anything."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

Combine = Callable[..., list[float]]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("FedMedian", {}),
        ("FedTrimmedAvg", {"beta": 0.2}),
        ("Krum", {"num_malicious_nodes": 1}),
        ("MultiKrum", {"num_malicious_nodes": 1, "num_nodes_to_select": 3}),
        ("Bulyan", {"num_malicious_nodes": 1}),
    ],
)
@settings(max_examples=30, deadline=None)
@given(
    honest=st.lists(st.floats(-10, 10, width=32), min_size=6, max_size=6),
    sent=st.floats(width=32, allow_nan=False, allow_infinity=False),
)
def test_one_of_seven_hospitals_moves_a_weight_but_little(
    combine: Combine, name: str, parameters: dict[str, float], honest: list[float], sent: float
) -> None:
    """No further from the honest than twice their spread, whatever it sends.

    A model that Krum takes has a score of at most an honest one's, 4 spread², so each of the 4 that it is closest to
    lies within 2 spread, and they are honest. Of the values that Bulyan averages each is as close to the median, which
    lies among the honest, as some honest one that it leaves out.
    """
    (found,) = combine(name, [(sent, 1), *((value, 1) for value in honest)], **parameters)
    spread = max(honest) - min(honest)
    assert min(honest) - 2 * spread - 1e-5 <= found <= max(honest) + 2 * spread + 1e-5


def test_a_mean_is_moved_as_far_as_one_likes(combine: Combine) -> None:
    """(7e30 + 6 x 0) / 7 = 1e30."""
    assert combine("FedAvg", [(7e30, 1), *[(0.0, 1)] * 6]) == pytest.approx([1e30])
