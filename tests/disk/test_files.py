"""Files appear whole or not at all, and the same content gives the same bytes."""

import os
from pathlib import Path

import pytest
import torch

from fedmammo.disk.files import read_tensors, write_bytes, write_tensors, write_text


def test_folders_are_made_and_nothing_is_left_beside(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.txt"
    write_text(path, "Größe\n")
    write_text(path, "größer\n")
    assert path.read_bytes() == "größer\n".encode()
    assert [item.name for item in path.parent.iterdir()] == ["file.txt"]


def test_a_failure_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk refuses at the last moment: after the content was written, before the rename."""
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_bytes(path, b"newer and longer")
    assert path.read_bytes() == b"old"


def test_tensors_come_back_with_type_shape_and_metadata(tmp_path: Path) -> None:
    tensors = {
        "turned": torch.arange(6.0).reshape(2, 3).T,
        "whole": torch.tensor([2**40, -1]),
        "half": torch.tensor([0.5], dtype=torch.bfloat16),
        "number": torch.tensor(3.0),
        "none": torch.empty(0, 4),
    }
    write_tensors(tmp_path / "a", tensors, {"round": "3"})
    found, metadata = read_tensors(tmp_path / "a")
    assert metadata == {"round": "3"}
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_the_same_tensors_give_the_same_bytes(tmp_path: Path) -> None:
    tensors = {name: torch.full((3,), number) for number, name in enumerate("zab")}
    write_tensors(tmp_path / "a", tensors)
    write_tensors(tmp_path / "b", dict(sorted(tensors.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_tensors(tmp_path / "a")[1] == {}


def test_one_tensor_under_two_names_and_a_part_of_another(tmp_path: Path) -> None:
    """As where no hospital answered in the first round: every local model is still the same initial one."""
    tensor = torch.arange(4.0)
    write_tensors(tmp_path / "a", {"one": tensor, "two": tensor, "part": tensor[1:3]})
    found, _ = read_tensors(tmp_path / "a")
    assert found["one"].tolist() == found["two"].tolist() == [0, 1, 2, 3]
    assert found["part"].tolist() == [1, 2]


def test_a_parameter_is_written_without_its_gradient(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    write_tensors(tmp_path / "a", {"weight": parameter})
    assert not read_tensors(tmp_path / "a")[0]["weight"].requires_grad
