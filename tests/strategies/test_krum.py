"""Krum by hand."""

from collections.abc import Callable

Combine = Callable[..., list[float]]


def test_krum(combine: Combine) -> None:
    """One malicious hospital of five: squared distances to the 5 - 1 - 2 = 2 closest, whatever hospitals' patients.

    1: 1 + 9 = 10; 2: 1 + 4 = 5; 4: 4 + 9 = 13; 8: 16 + 36 = 52; 100: more than 92².
    With none, to the 3 closest: 1: 10 + 49 = 59; 2: 5 + 36 = 41; 4: 13 + 16 = 29; 8: 52 + 49 = 101.
    """
    answers = [(100.0, 9), (1.0, 9), (8.0, 1), (2.0, 1), (4.0, 1)]
    assert combine("Krum", answers, num_malicious_nodes=1) == [2.0]
    assert combine("Krum", answers, num_malicious_nodes=0) == [4.0]


def test_krum_tells_models_apart_that_are_close(combine: Combine) -> None:
    """The same distances / 256 around 4096, whose square has a distance of 2 to the next number in float32."""
    answers = [(4096 + value / 256, 1) for value in (100, 1, 8, 2, 4)]
    assert combine("Krum", answers, num_malicious_nodes=1) == [4096 + 2 / 256]
