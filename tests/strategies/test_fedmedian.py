"""FedMedian by hand."""

from collections.abc import Callable

Combine = Callable[..., list[float]]


def test_fedmedian(combine: Combine) -> None:
    """The middle of three whatever their patients; of two, the mean without weights."""
    assert combine("FedMedian", [(1.0, 1), (9.0, 99), (2.0, 1)]) == [2.0]
    assert combine("FedMedian", [(1.0, 1), (2.0, 3)]) == [1.5]
