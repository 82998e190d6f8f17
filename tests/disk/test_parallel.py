"""Results in order, few in flight, a piece that crashes its process costs only itself."""

import ctypes
import math
from collections.abc import Iterator

from fedmammo.disk.parallel import in_order


def test_order_and_pieces_in_flight() -> None:
    """Square roots of 0 to 99, drawn at most 2 x 2 + 1 ahead of what was taken."""
    drawn = 0

    def pieces() -> Iterator[int]:
        nonlocal drawn
        while drawn < 100:
            drawn += 1
            yield drawn

    taken = []
    for result in in_order(math.sqrt, pieces(), 2, math.sqrt):
        taken.append(result)
        assert drawn - len(taken) <= 2 * 2 + 1
    assert taken == [math.sqrt(number) for number in range(1, 101)]


def test_a_crash_costs_only_its_piece() -> None:
    """string_at gives bytes back, and crashes at the address 0."""
    pieces = [b"a", b"b", 0, b"c", b"d", b"e", b"f", b"g", b"h", 0, b"i"]
    results = list(in_order(ctypes.string_at, pieces, 2, lambda piece: f"lost {piece}"))
    assert results == ["lost 0" if piece == 0 else piece for piece in pieces]
