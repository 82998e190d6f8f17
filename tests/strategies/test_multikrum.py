"""MultiKrum by hand."""

from collections.abc import Callable

Combine = Callable[..., list[float]]


def test_multikrum(combine: Combine) -> None:
    """Scores as in Krum's test: 2 and 1 are best, weighted by 3 and 1 patients 1.75; then 4 of 4 patients: 23 / 8."""
    answers = [(100.0, 9), (1.0, 1), (8.0, 1), (2.0, 3), (4.0, 4)]
    assert combine("MultiKrum", answers, num_malicious_nodes=1, num_nodes_to_select=1) == [2.0]
    assert combine("MultiKrum", answers, num_malicious_nodes=1, num_nodes_to_select=2) == [1.75]
    assert combine("MultiKrum", answers, num_malicious_nodes=1, num_nodes_to_select=3) == [2.875]
