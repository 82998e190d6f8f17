"""What the server keeps is what it reads again, and is there whole or not at all."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from fedmammo.federation.checkpoint import Checkpoint


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "deployments" / "one" / "checkpoint.safetensors"
    rows = [{"arm": "local", "round": 1, "hospital": "größte", "loss": 0.1, "epsilon_spent": None}]
    model = {"head.weight": torch.arange(3.0), "head.bias": torch.tensor(0.5)}
    strategies = {"all": {"m_t/head.weight": np.arange(3, dtype=np.float32), "m_t/head.bias": np.asarray(2.5)}}
    kept = {"all": {"mean/head.bias": torch.tensor(0.25), "strategy/head.bias": torch.tensor(2, dtype=torch.int64)}}
    Checkpoint({"all": model}, strategies, 7, rows, kept).write(path)
    found = Checkpoint.read(path)
    assert (found.round, found.rows) == (7, rows)
    assert list(found.models) == list(found.strategies) == ["all"]
    assert list(found.models["all"]) == list(model), "in the order of the model, not of the alphabet"
    for name, tensor in model.items():
        assert torch.equal(found.models["all"][name], tensor)
    assert found.kept == kept and list(found.kept["all"]) == list(kept["all"])
    assert found.kept["all"]["strategy/head.bias"].dtype == torch.int64
    for name, array in strategies["all"].items():
        assert np.array_equal(found.strategies["all"][name], array)
        assert found.strategies["all"][name].dtype == array.dtype


def test_hospitals_that_all_still_have_the_initial_model(tmp_path: Path) -> None:
    """Where nobody answered in the first round, every local model is one and the same object."""
    initial = {"head.weight": torch.ones(2, 2)}
    Checkpoint({f"hospital-{number}": initial for number in range(3)}).write(tmp_path / "checkpoint")
    found = Checkpoint.read(tmp_path / "checkpoint")
    assert list(found.models) == ["hospital-0", "hospital-1", "hospital-2"]
    assert all(torch.equal(model["head.weight"], initial["head.weight"]) for model in found.models.values())
    assert (found.round, found.rows, found.strategies) == (0, [], {})


def test_the_same_checkpoint_has_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        model = {"one": torch.ones(2), "two": torch.zeros(1)}
        Checkpoint({"all": model}, {"all": {"v_t/one": np.ones(2)}}, 1, [{"round": 1}]).write(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_round_that_cannot_be_kept_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint"
    Checkpoint({"all": {"weight": torch.ones(1)}}, round=1).write(path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        Checkpoint({"all": {"weight": torch.zeros(1)}}, round=2).write(path)
    assert Checkpoint.read(path).round == 1
