"""Pretraining is training on a pool, in rounds, continued where it stopped."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fedmammo.config.deployment import Deployment
from fedmammo.config.study import StudyConfig, parse
from fedmammo.errors import StudyError
from fedmammo.features.inputs import Inputs
from fedmammo.models.classifier import initial_model
from fedmammo.randomness import generator_of
from fedmammo.synthesis.drawn import draw_phantoms
from fedmammo.synthesis.pool import Pool, write_pool
from fedmammo.synthesis.sources import FromPhantom
from fedmammo.training import steps
from fedmammo.training.pretraining import pretrain, pretraining_name


@pytest.fixture
def study(small_study: dict[str, Any]) -> StudyConfig:
    """Three rounds of two steps on half the images, from a pool of 12; no cohort is there."""
    small_study["federation"] = {"rounds": 3, "local_steps": 2}
    small_study["diagnosis"] |= {"patient_fraction": 0.5, "train": "last_blocks:1"}
    small_study |= {"synthesis": {"source": "phantom", "images": 12}, "settings": ["real", "augmented", "pretrained"]}
    return parse(small_study, "small")


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return write_pool(tmp_path / "synthetic", draw_phantoms(FromPhantom(source="phantom", images=12), 64), {}, "none")


def public(study: StudyConfig, arm: Any = "federated", setting: str = "pretrained", seed: int = 3) -> Deployment:
    return study.pretraining(study.deployment(arm, setting, seed))


def opened(deployment: Deployment, pool: Pool, features: Path) -> Inputs:
    return Inputs(None, deployment.diagnosis, torch.device("cpu"), None, features).joined(pool)


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """In order, too: some of Flower's strategies go by it."""
    return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)


def pretrained(deployment: Deployment, pool: Pool, run: Path) -> tuple[dict[str, Tensor], list[float], list[int]]:
    """The model, the loss of each round, and the rounds that were taken."""
    told: list[tuple[str, int]] = []
    inputs, folder = opened(deployment, pool, run / "features"), run / pretraining_name(pool.digest, deployment)
    first = initial_model(deployment.diagnosis, deployment.seed)
    model, losses = pretrain(inputs, pool.digest, deployment, folder, first, lambda *what: told.append(what))
    assert told[0] == ("features", 12)
    return model, losses, [number for stage, number in told if stage == "pretrain"]


def test_it_is_training_with_each_image_a_patient(study: StudyConfig, pool: Pool, tmp_path: Path) -> None:
    """Three rounds by hand: the stream of each round, the optimiser's state passed on."""
    deployment = public(study)
    inputs = opened(deployment, pool, tmp_path / "features")
    assert inputs.images_of_patients == 0 and inputs.malignant.tolist() == [False, True] * 6
    inputs.compute(np.arange(12))
    model, losses = initial_model(deployment.diagnosis, 3), []
    state: dict[str, Tensor] = {}
    for number in (1, 2, 3):
        generator = generator_of(3, "pretraining", pool.digest, number)
        images = [np.array([row]) for row in range(12)]
        (model, _), numbers, state = steps.train(inputs, images, deployment.diagnosis, 2, generator, model, state)
        losses.append(numbers["loss"])
    found, told, rounds = pretrained(deployment, pool, tmp_path)
    assert equal(found, model)
    assert (told, rounds) == (losses, [1, 2, 3])
    assert not equal(found, initial_model(deployment.diagnosis, 3))


def test_it_is_shared_where_it_would_be_the_same(study: StudyConfig, pool: Pool, tmp_path: Path) -> None:
    """By arms and settings, what settings override for patients too; but not by seeds, nor by another rate for all."""
    first, losses, _ = pretrained(public(study), pool, tmp_path)
    again, told, rounds = pretrained(public(study, "local", "augmented"), pool, tmp_path)
    assert equal(first, again) and told == losses and rounds == []
    content = study.model_dump()
    patients = parse(content | {"settings": {"real": {"diagnosis.optimizer.learning_rate": 0.02}}}, "small")
    assert pretrained(public(patients, "local", "real"), pool, tmp_path)[2] == []
    faster = parse(content | {"arms": {"local": {"diagnosis.optimizer.learning_rate": 0.02}}}, "small")
    for other in (public(study, seed=4), public(faster, "local")):
        found, _, rounds = pretrained(other, pool, tmp_path)
        assert not equal(found, first) and rounds == [1, 2, 3]


@pytest.mark.parametrize("stopped_in", [1, 2, 3])
def test_it_goes_on_after_the_last_round_kept(
    study: StudyConfig, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_in: int
) -> None:
    """Killed in a round, before its state was kept: the same model, losses and files in the end."""
    deployment = public(study)
    expected, losses, _ = pretrained(deployment, pool, tmp_path)
    kept = {path: path.read_bytes() for path in tmp_path.glob("pretraining-*/*.safetensors")}
    assert kept
    for path in kept:
        path.unlink()

    train, calls = steps.train, []

    def killed(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == stopped_in:
            raise KeyboardInterrupt
        return train(*arguments)

    with monkeypatch.context() as broken:
        broken.setattr(steps, "train", killed)
        with pytest.raises(KeyboardInterrupt):
            pretrained(deployment, pool, tmp_path)
    found, told, rounds = pretrained(deployment, pool, tmp_path)
    assert equal(found, expected) and told == losses
    assert rounds == [1, 2, 3][stopped_in - 1 :]
    assert {path: path.read_bytes() for path in tmp_path.glob("pretraining-*/*.safetensors")} == kept


def test_a_model_that_is_not_finite_is_told(study: StudyConfig, pool: Pool, tmp_path: Path) -> None:
    content = study.model_dump()
    content["diagnosis"]["optimizer"] = {"name": "sgd", "learning_rate": 3e38}
    with pytest.raises(StudyError, match="pretraining: the model is not finite"):
        pretrained(public(parse(content, "small")), pool, tmp_path)
