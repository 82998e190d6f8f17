"""A GAN's first steps on drawn patches: how many, in which rounds, and how they go on."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from fedmammo.models.mcgan import build_mcgan
from fedmammo.synthesis.sources import FromGan
from fedmammo.training import phantom_gan as module
from fedmammo.training.phantom_gan import phantom_gan

CPU = torch.device("cpu")


def source(steps: int) -> FromGan:
    return FromGan(source="gan", image_size=32, width=4, batch=4, local_steps=2, phantom_steps=steps)


def trained(folder: Path, steps: int) -> tuple[dict[str, Tensor], list[int]]:
    """The GAN, and the rounds that were taken."""
    rounds: list[int] = []
    return phantom_gan(source(steps), folder, CPU, rounds.append), rounds


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)


def test_no_steps_leave_the_gan_as_it_is_built(tmp_path: Path) -> None:
    gan, rounds = trained(tmp_path, 0)
    assert equal(gan, build_mcgan(source(0)).state_dict()) and rounds == []
    assert not list(tmp_path.iterdir())


def test_the_last_round_has_the_steps_that_are_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """5 steps in rounds of 2: steps 0 and 1, 2 and 3, and 4 alone; then nothing is left to do."""
    taken: list[range] = []
    train = module.train_gan

    def spy(*arguments: object) -> object:
        taken.append(arguments[4])
        return train(*arguments)

    monkeypatch.setattr(module, "train_gan", spy)
    first, rounds = trained(tmp_path, 5)
    assert rounds == [1, 2, 3] and taken == [range(2), range(2, 4), range(4, 5)]
    again, rounds = trained(tmp_path, 5)
    assert rounds == [] and len(taken) == 3
    assert equal(first, again)


@pytest.mark.parametrize("stopped_in", [1, 2, 3])
def test_it_goes_on_after_the_last_round_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_in: int) -> None:
    """Killed in a round, before its state was kept: the same GAN in the end, and no round is taken twice."""
    expected, _ = trained(tmp_path / "whole", 5)
    train, calls = module.train_gan, []

    def killed(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == stopped_in:
            raise KeyboardInterrupt
        return train(*arguments)

    with monkeypatch.context() as broken:
        broken.setattr(module, "train_gan", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "stopped", 5)
    found, rounds = trained(tmp_path / "stopped", 5)
    assert equal(found, expected)
    assert rounds == [1, 2, 3][stopped_in - 1 :]
