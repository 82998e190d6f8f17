"""FedTrimmedAvg by hand."""

from collections.abc import Callable

Combine = Callable[..., list[float]]


def test_fedtrimmedavg(combine: Combine) -> None:
    """A fifth at each end of five is one: the mean of 1, 2 and 6 is 3. Two hospitals lose nobody: 1.5."""
    assert combine("FedTrimmedAvg", [(2.0, 1), (-50.0, 1), (6.0, 1), (99.0, 1), (1.0, 1)], beta=0.2) == [3.0]
    assert combine("FedTrimmedAvg", [(1.0, 1), (2.0, 3)], beta=0.2) == [1.5]
