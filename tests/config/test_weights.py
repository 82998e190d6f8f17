"""Weights are named by what a file holds, wherever it lies."""

import hashlib
import os
from pathlib import Path

import pytest

from fedmammo.config.weights import NO_FILE, name_of_weights
from fedmammo.errors import InputError


@pytest.mark.parametrize("name", NO_FILE)
def test_what_is_no_file_keeps_its_name(name: str) -> None:
    assert name_of_weights(name) == name


def test_a_file_is_named_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a block of it; a copy and a relative path have the same name."""
    content = bytes(range(256)) * 5000
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(content)
    expected = hashlib.sha256(content).hexdigest()
    monkeypatch.chdir(tmp_path)
    assert {name_of_weights(path) for path in (str(tmp_path / "a"), str(tmp_path / "b"), "a")} == {expected}


def test_a_file_that_changes_has_another_name(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    before = name_of_weights(str(path))
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))  # clocks of file systems are coarse
    assert name_of_weights(str(path)) == hashlib.sha256(b"two").hexdigest() != before


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^diagnosis\.weights: .*nowhere cannot be read \(No such file") as caught:
        name_of_weights(str(tmp_path / "nowhere"))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="Is a directory"):
        name_of_weights(str(tmp_path))
