"""Pretraining is training on a pool, in rounds, continued where it stopped; and patients with images beside them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fedmammo.config.study import StudyConfig, parse
from fedmammo.errors import StudyError
from fedmammo.models.classifier import initial_model
from fedmammo.randomness import generator_of
from fedmammo.synthesis.drawn import draw_phantoms
from fedmammo.synthesis.pool import Pool, write_pool
from fedmammo.synthesis.sources import FromPhantom
from fedmammo.training import hospital, steps
from fedmammo.training.hospital import work
from fedmammo.training.pretraining import pretrain
from fedmammo.training.site import open_inputs
from fedmammo.training.task import Cell, Task

CELL = Cell("federated", "pretrained", 3, 0, 0)


@pytest.fixture
def study(phantom_study: dict[str, Any]) -> StudyConfig:
    """Three rounds of two steps on half the images, from a pool of 12."""
    phantom_study["federation"] = {"rounds": 3, "local_steps": 2}
    phantom_study["diagnosis"] |= {"patient_fraction": 0.5, "train": "last_blocks:1"}
    phantom_study |= {"synthesis": {"source": "phantom", "images": 12}, "settings": ["real", "augmented", "pretrained"]}
    return parse(phantom_study, "small")


@pytest.fixture
def pool(study: StudyConfig, tmp_path: Path) -> Pool:
    """The study's pool in the folder of a run, its features computed by two of three nodes."""
    source = FromPhantom(source="phantom", images=12)
    pool = write_pool(tmp_path / "synthetic", draw_phantoms(source, 128), {}, "none")
    for node in (2, 0):
        task = Task("features", CELL, 0, study.model_dump_json(), str(tmp_path), pool=pool.digest, among=(0, 2))
        assert work(task, node, {}) == ({}, {"remaining": 0.0})
    return pool


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """In order, too: some of Flower's strategies go by it."""
    return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)


def pretrained(
    study: StudyConfig, pool: Pool, run: Path, seed: int = 3
) -> tuple[dict[str, Tensor], list[float], list[int]]:
    """The model, the loss of each round, and the rounds that were taken."""
    rounds: list[int] = []
    model, losses = pretrain(study, seed, run, pool.digest, initial_model(study.diagnosis, seed), rounds.append)
    return model, losses, rounds


def test_nodes_compute_the_features_between_them(study: StudyConfig, pool: Pool, tmp_path: Path) -> None:
    """Node 2, the second of two, computes every other image from the second on; rows stand behind the cohort's 46."""
    inputs = open_inputs(study.model_dump_json(), str(tmp_path), pool.digest)
    assert inputs.images_of_patients == 46 and len(inputs.malignant) == 58
    assert inputs.malignant[46:].tolist() == [False, True] * 6
    assert len(inputs.missing(np.arange(46, 58))) == 0
    with torch.no_grad():
        expected = inputs.classifier.prefix(inputs.views[1].of(pool.patches[7]))[0]
    assert torch.equal(inputs.read(np.array([53]), np.array([1]))[0], expected)
    assert np.array_equal(inputs.patch(53), pool.patches[7])


def test_it_is_training_with_each_image_a_patient(study: StudyConfig, pool: Pool, tmp_path: Path) -> None:
    """Three rounds by hand: the stream of each round, the optimiser's state passed on."""
    inputs = open_inputs(study.model_dump_json(), str(tmp_path), pool.digest)
    model, state, losses = initial_model(study.diagnosis, 3), {}, []
    for number in (1, 2, 3):
        generator = generator_of(3, "pretraining", pool.digest, number)
        images = [np.array([row]) for row in range(46, 58)]
        model, numbers, state = steps.train(inputs, images, study.diagnosis, 2, generator, model, state)
        losses.append(numbers["loss"])
    found, told, rounds = pretrained(study, pool, tmp_path)
    assert equal(found, model)
    assert (told, rounds) == (losses, [1, 2, 3])
    assert not equal(found, initial_model(study.diagnosis, 3))


def test_it_is_shared_where_it_would_be_the_same(study: StudyConfig, pool: Pool, tmp_path: Path) -> None:
    """By arms and settings, but not by seeds, nor by settings that learn at another rate."""
    first, losses, _ = pretrained(study, pool, tmp_path)
    again, told, rounds = pretrained(study.for_cell("local", "augmented", 0), pool, tmp_path)
    assert equal(first, again) and told == losses and rounds == []
    faster = study.model_copy(update={"settings": {"real": {"diagnosis.optimizer.learning_rate": 0.02}}})
    for other, seed in ((study, 4), (faster.for_cell("local", "real", 0), 3)):
        found, _, rounds = pretrained(other, pool, tmp_path, seed)
        assert not equal(found, first) and rounds == [1, 2, 3]


@pytest.mark.parametrize("stopped_in", [1, 2, 3])
def test_it_goes_on_after_the_last_round_kept(
    study: StudyConfig, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_in: int
) -> None:
    """Killed in a round, before its state was kept: the same model, losses and files in the end."""
    expected, losses, _ = pretrained(study, pool, tmp_path)
    kept = {path: path.read_bytes() for path in tmp_path.glob("cells/**/*.safetensors")}
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
            pretrained(study, pool, tmp_path)
    found, told, rounds = pretrained(study, pool, tmp_path)
    assert equal(found, expected) and told == losses
    assert rounds == [1, 2, 3][stopped_in - 1 :]
    assert {path: path.read_bytes() for path in tmp_path.glob("cells/**/*.safetensors")} == kept


def test_a_model_that_is_not_finite_is_told(phantom_study: dict[str, Any], pool: Pool, tmp_path: Path) -> None:
    phantom_study["diagnosis"]["optimizer"] = {"name": "sgd", "learning_rate": 3e38}
    with pytest.raises(StudyError, match="pretraining: the model is not finite"):
        pretrained(parse(phantom_study, "small"), pool, tmp_path)


# Patients with synthetic images beside them


def features_of_patients(study: StudyConfig, run: Path) -> None:
    for node in range(3):
        while work(Task("features", CELL, 0, study.model_dump_json(), str(run)), node, {})[1]["remaining"]:
            pass


def augmented(study: StudyConfig, pool: Pool, run: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The synthetic images that hospital-1 learns from in a round, by their rows."""
    seen: list[np.ndarray] = []
    train = steps.train

    def spy(inputs: Any, patients: Any, *rest: Any) -> Any:
        seen.extend(patients)
        return train(inputs, patients, *rest)

    cell = replace(CELL, setting="augmented")
    deployed = study.for_cell("federated", "augmented", 0)
    task = Task("train", cell, number, deployed.model_dump_json(), str(run), pool=pool.digest)
    with monkeypatch.context() as watched:
        watched.setattr(hospital.steps, "train", spy)
        _, numbers = work(task, 0, {"arrays": initial_model(study.diagnosis, 0)})
    real = [patient for patient in seen if (patient < 46).all()]
    synthetic = [patient for patient in seen if (patient >= 46).all()]
    assert numbers["num-examples"] == len(real), "averaging goes by patients"
    assert len(real) + len(synthetic) == len(seen) and all(len(image) == 1 for image in synthetic)
    return [int(image[0]) for image in synthetic]


@pytest.mark.parametrize(("ratio", "images"), [(1.0, 6), (0.5, 3), (3.0, 18)])
def test_images_beside_patients_are_drawn_anew_each_round(
    phantom_study: dict[str, Any], study: StudyConfig, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    ratio: float, images: int,
) -> None:  # fmt: skip
    """Hospital 1 trains on 6 patients; of the pool's 12 none comes twice, unless more are wanted than there are."""
    phantom_study["synthesis"] = {"source": "phantom", "images": 12, "synthetic_per_real": ratio}
    study = parse(phantom_study, "small")
    features_of_patients(study, tmp_path)
    first, again, second = (augmented(study, pool, tmp_path, number, monkeypatch) for number in (1, 1, 2))
    assert first == again != second
    assert len(first) == len(second) == images
    assert len(set(first)) == images or images > 12


# Sharing


def share(pool: Pool, study: StudyConfig, run: Path, spoil: str = "") -> None:
    files = {name: torch.from_numpy(content.copy()) for name, content in pool.files().items()}
    if spoil:
        files[spoil][-2] ^= 1
    work(Task("share", CELL, 0, study.model_dump_json(), str(run), pool=pool.digest), 1, {"pool": files})


def test_a_hospital_keeps_the_pool_that_it_is_sent(study: StudyConfig, pool: Pool, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    share(pool, study, elsewhere)
    share(pool, study, elsewhere)
    received = Pool.open(elsewhere / "synthetic", pool.digest)
    assert np.array_equal(received.patches, pool.patches)


@pytest.mark.parametrize("name", ["patches.npy", "images.csv"])
def test_a_hospital_refuses_other_images_than_those_named(
    study: StudyConfig, pool: Pool, tmp_path: Path, name: str
) -> None:
    with pytest.raises(StudyError, match="its images are not those that the server named"):
        share(pool, study, tmp_path / "elsewhere", spoil=name)
    with pytest.raises(StudyError, match="no such pool"):
        open_inputs(study.model_dump_json(), str(tmp_path / "elsewhere"), pool.digest)
