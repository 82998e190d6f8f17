"""State between rounds: which file a round begins with, and tensors of several kinds in one."""

import os
from pathlib import Path

import pytest
import torch

from fedmammo.training.state import commit_state, join_kinds, load_state, of_kind


def test_a_round_starts_from_the_last_finished_one_before_it(tmp_path: Path) -> None:
    """Also where hospitals failed in between, and where a later round was done for a server that was then killed."""
    assert load_state(tmp_path, before=1) == {}
    commit_state(tmp_path, 2, {"step": torch.tensor(2.0)})
    commit_state(tmp_path, 5, {"step": torch.tensor(5.0)})
    assert load_state(tmp_path, before=2) == {}
    assert load_state(tmp_path, before=3)["step"] == 2
    assert load_state(tmp_path, before=5)["step"] == 2
    assert load_state(tmp_path, before=6)["step"] == 5


def test_the_last_two_states_are_kept(tmp_path: Path) -> None:
    for number in range(1, 6):
        commit_state(tmp_path, number, {"step": torch.tensor(float(number))})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "round-00004.safetensors",
        "round-00005.safetensors",
    ]
    commit_state(tmp_path, 5, {"step": torch.tensor(55.0)})
    assert load_state(tmp_path, before=5)["step"] == 4
    assert load_state(tmp_path, before=6)["step"] == 55


def test_states_of_rounds_that_the_server_does_not_keep_last_until_it_keeps_one(tmp_path: Path) -> None:
    """A server that is stopped asks again for what follows its last checkpoint: round 1's, then round 4's state."""
    for number, keep in ((1, True), (2, False), (3, False)):
        commit_state(tmp_path, number, {"step": torch.tensor(float(number))}, keep, flush=False)
    assert [load_state(tmp_path, before=number)["step"].item() for number in (2, 3, 4)] == [1, 2, 3]
    commit_state(tmp_path, 4, {"step": torch.tensor(4.0)})
    assert [load_state(tmp_path, before=number)["step"].item() for number in (2, 3, 5)] == [1, 1, 4]
    commit_state(tmp_path, 2, {"step": torch.tensor(22.0)}, keep=False)
    assert [load_state(tmp_path, before=number)["step"].item() for number in (2, 3, 5)] == [1, 22, 4]


def test_a_state_that_cannot_be_written_leaves_those_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        commit_state(tmp_path, number, {"step": torch.tensor(float(number))})

    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        commit_state(tmp_path, 3, {"step": torch.tensor(3.0)})
    assert load_state(tmp_path, before=4)["step"] == 2
    assert load_state(tmp_path, before=2)["step"] == 1


def test_kinds_are_joined_and_taken_apart_by_name_and_in_order() -> None:
    """A name may itself have parts; a kind is not another that begins alike; none of a kind is nothing."""
    gan = {"b.weight": torch.tensor(1.0), "a": torch.tensor(2.0)}
    state = {"discriminator/exp_avg/b.weight": torch.tensor(3.0)}
    joined = join_kinds(gan=gan, state=state, losses={})
    assert list(joined) == ["gan/b.weight", "gan/a", "state/discriminator/exp_avg/b.weight"]
    assert of_kind(joined, "gan") == gan and list(of_kind(joined, "gan")) == list(gan)
    assert of_kind(joined, "state") == state
    assert of_kind(of_kind(joined, "state"), "discriminator") == {"exp_avg/b.weight": torch.tensor(3.0)}
    assert of_kind(joined, "losses") == of_kind(joined, "ga") == of_kind({}, "gan") == {}
