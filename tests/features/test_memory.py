"""What heads read, kept in memory: each row worked out alone, once, for as long as there is room."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fedmammo.features import memory
from fedmammo.features.memory import Table, forget, table_of

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    forget()
    yield
    forget()


def test_a_row_is_read_once_and_worked_out_alone() -> None:
    """Rows 3, 1, 3 of features 10 row + column, halved; then 1 and 2: only 2 is new."""
    table, asked, widths = Table(5, 2, CPU), [], []

    def read(rows: np.ndarray) -> np.ndarray:
        asked.append(rows.tolist())
        return (10 * rows[:, None] + np.arange(2)).astype(np.float32)

    def halved(features: Tensor) -> Tensor:
        widths.append(tuple(features.shape))
        return features / 2

    assert table.read(np.array([3, 1, 3]), read, halved).tolist() == [[15, 15.5], [5, 5.5], [15, 15.5]]
    assert table.read(np.array([1, 2]), read, halved).tolist() == [[5, 5.5], [10, 10.5]]
    assert asked == [[1, 3], [2]]
    assert widths == [(1, 2)] * 3


def test_a_read_that_fails_leaves_nothing_that_looks_read() -> None:
    table = Table(2, 1, CPU)

    def fails(_: np.ndarray) -> np.ndarray:
        raise KeyError("features are incomplete")

    with pytest.raises(KeyError):
        table.read(np.array([0]), fails, lambda features: features)
    found = table.read(np.array([0]), lambda rows: np.full((1, 1), 7, np.float32), lambda features: features)
    assert found.tolist() == [[7]]


def test_tables_are_shared_by_file_and_constants_and_the_oldest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes 4 x 2 x 4 = 32 bytes; 64 hold two."""
    monkeypatch.setattr(memory, "MOST_BYTES", 64)

    def of(name: str, constants: str = "a") -> Table:
        return table_of(Path(name), constants, 4, 2, CPU)

    first, second = of("first"), of("second")
    assert first is not second and of("first", "b") is not first  # "first", of other constants: the third
    assert of("second") is second
    assert of("first") is not first
    assert of("second") is second
