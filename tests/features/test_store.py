"""Rows on disk that any process may fill in."""

from pathlib import Path

import numpy as np
import pytest

from fedmammo.features.store import FeatureStore


def store(folder: Path) -> FeatureStore:
    return FeatureStore(folder / "key", images=5, length=lambda: 3)


def row(value: float) -> np.ndarray:
    return np.full(3, value, np.float32)


def test_rows_come_back_in_any_order_and_to_another_process(tmp_path: Path) -> None:
    first = store(tmp_path)
    other = store(tmp_path)
    assert other.done("whole", np.arange(5)).tolist() == [False] * 5
    for number in (4, 1):
        first.put("whole", number, row(number))
    assert other.done("whole", np.arange(5)).tolist() == [False, True, False, False, True]
    assert other.read("whole", np.array([4, 1, 4])).tolist() == [[4] * 3, [1] * 3, [4] * 3]


def test_looks_are_kept_apart(tmp_path: Path) -> None:
    made = store(tmp_path)
    made.put("whole", 0, row(1))
    assert not made.done("whole-lr", np.array([0]))[0]
    assert sorted(path.name for path in made.folder.iterdir()) == [
        "whole-lr.done.npy", "whole-lr.npy", "whole.done.npy", "whole.npy",
    ]  # fmt: skip


def test_what_was_never_computed_is_not_read(tmp_path: Path) -> None:
    made = store(tmp_path)
    made.put("whole", 0, row(1))
    with pytest.raises(KeyError, match=r"features in .*key are incomplete"):
        made.read("whole", np.array([0, 1]))


def test_the_length_is_asked_only_where_a_file_is_made(tmp_path: Path) -> None:
    store(tmp_path).put("whole", 0, row(1))

    def unwanted() -> int:
        raise AssertionError

    assert FeatureStore(tmp_path / "key", 5, unwanted).read("whole", np.array([0])).tolist() == [[1] * 3]
