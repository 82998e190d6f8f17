"""A hospital at work: what it answers, and the state that it keeps between rounds."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fedmammo.cohort.store import Cohort
from fedmammo.config.study import StudyConfig, parse
from fedmammo.errors import InputError
from fedmammo.features.store import FeatureStore
from fedmammo.hospitals.holder import holders
from fedmammo.models.classifier import initial_model
from fedmammo.training.hospital import work
from fedmammo.training.site import open_site, pick_device
from fedmammo.training.steps import score
from fedmammo.training.task import Cell, Task


@pytest.fixture
def study(small_study: dict[str, Any], own_cohort: Cohort, tmp_path: Path) -> tuple[StudyConfig, Task]:
    """A study of three hospitals and the task to train its first round, with features computed."""
    small_study["cohort"]["path"] = str(own_cohort.folder)
    small_study["diagnosis"] |= {"patient_fraction": 0.5, "train": "last_blocks:1"}
    config = parse(small_study, "small")
    task = Task("train", Cell("federated", "real", 0, 0, 0), 1, config.model_dump_json(), str(tmp_path / "run"))
    for node in range(3):
        while work(replace(task, stage="features"), node, {})[1]["remaining"]:
            pass
    return config, task


def states(task: Task) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(Path(task.run).rglob("*")) if path.is_file()}


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def no_space(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_features_are_computed_some_at_a_time(small_study: dict[str, Any], own_cohort: Cohort, tmp_path: Path) -> None:
    """The holder of all 46 images computes 32, then 14."""
    small_study["cohort"]["path"] = str(own_cohort.folder)
    task = Task(
        "features",
        Cell("centralized", "real", 0, 0, 0),
        0,
        parse(small_study, "").model_dump_json(),
        str(tmp_path),
        True,
    )
    assert [work(task, 0, {}) for _ in range(3)] == [
        ({}, {"remaining": 14.0}),
        ({}, {"remaining": 0.0}),
        ({}, {"remaining": 0.0}),
    ]


def test_a_round_of_training(study: tuple[StudyConfig, Task]) -> None:
    config, task = study
    incoming = initial_model(config.diagnosis, 0)
    outgoing, numbers = work(task, 1, {"arrays": incoming})
    assert outgoing.keys() == incoming.keys()
    assert not any(torch.equal(outgoing[name], incoming[name]) for name in incoming)
    own = holders(open_site(task.study).cohort, config, 0, 0)["hospital-2"]
    assert numbers["num-examples"] == len(own.training)
    assert numbers.keys() == {"num-examples", "loss", "images"}
    assert all(type(number) is float for number in numbers.values())
    folder = Path(task.run) / "hospitals" / "hospital-2" / "federated-real-seed0-draw0-fold0"
    assert [path.name for path in folder.iterdir()] == ["round-00001.safetensors"]


def test_the_holder_of_all_patients(study: tuple[StudyConfig, Task]) -> None:
    config, task = study
    pooled = replace(task, pooled=True, cell=Cell("centralized", "real", 0, 0, 0))
    _, numbers = work(pooled, 0, {"arrays": initial_model(config.diagnosis, 0)})
    alone = [work(task, node, {"arrays": initial_model(config.diagnosis, 0)})[1] for node in range(3)]
    assert numbers["num-examples"] == sum(one["num-examples"] for one in alone)
    assert (Path(task.run) / "hospitals" / "all").is_dir()


def test_an_answer_depends_on_neither_order_nor_neighbours(study: tuple[StudyConfig, Task]) -> None:
    config, task = study
    incoming = {"arrays": initial_model(config.diagnosis, 0)}
    first = {node: work(task, node, incoming)[0] for node in (0, 1, 2)}
    second = {node: work(task, node, incoming)[0] for node in (2, 0, 1)}
    assert all(equal(first[node], second[node]) for node in range(3))
    assert not equal(first[0], first[1])


def test_a_round_that_is_asked_again_gives_the_same(study: tuple[StudyConfig, Task]) -> None:
    """As by a server that was killed after the hospital had answered, before it wrote its checkpoint."""
    config, task = study
    first, _ = work(task, 0, {"arrays": initial_model(config.diagnosis, 0)})
    second, _ = work(replace(task, round=2), 0, {"arrays": first})
    kept = states(task)
    again, _ = work(replace(task, round=2), 0, {"arrays": first})
    assert equal(again, second)
    assert states(task) == kept


def test_rounds_seeds_and_arms_are_different_streams(study: tuple[StudyConfig, Task]) -> None:
    config, task = study
    incoming = {"arrays": initial_model(config.diagnosis, 0)}
    others = [
        replace(task, cell=Cell("federated", "real", 1, 0, 0)),
        replace(task, cell=Cell("local", "real", 0, 0, 0)),
        replace(task, round=2, cell=Cell("federated", "real", 2, 0, 0)),
    ]
    answers = [work(other, 0, incoming)[0]["head.weight"] for other in (task, *others)]
    assert len({tuple(answer.flatten().tolist()) for answer in answers}) == len(answers)


@pytest.mark.parametrize("fault", ["model", "features", "disk"])
def test_a_hospital_that_raises_keeps_its_state(
    study: tuple[StudyConfig, Task], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """And answers the same as if nothing had happened when it is asked again."""
    config, task = study
    first, _ = work(task, 0, {"arrays": initial_model(config.diagnosis, 0)})
    kept = states(task)
    second = replace(task, round=2)
    with monkeypatch.context() as broken, pytest.raises((ValueError, KeyError, OSError)):
        incoming = dict(first)
        if fault == "model":
            del incoming["head.bias"]
        elif fault == "features":
            broken.setattr(FeatureStore, "files", lambda *_: (None, np.zeros(46, np.uint8)))
        else:
            broken.setattr(os, "fsync", no_space)
        work(second, 0, {"arrays": incoming})
    assert {path: content for path, content in states(task).items() if "/." not in path} == kept
    answer, _ = work(second, 0, {"arrays": first})
    fresh = replace(task, run=f"{task.run}-fresh")
    work(fresh, 0, {"arrays": initial_model(config.diagnosis, 0)})
    assert equal(answer, work(replace(fresh, round=2), 0, {"arrays": first})[0])


def test_scores_of_every_model_on_tested_and_validation_patients(study: tuple[StudyConfig, Task]) -> None:
    config, task = study
    models = {name: initial_model(config.diagnosis, seed) for seed, name in enumerate(("all", "hospital-1"))}
    answer, numbers = work(replace(task, stage="score"), 2, {f"model/{name}": models[name] for name in models})
    site = open_site(task.study)
    own = holders(site.cohort, config, 0, 0)["hospital-3"]
    rows = [*own.test, *own.validation]
    assert numbers == {}
    assert answer.keys() == {"rows", "test", "center", "scale", "score/all", "score/hospital-1"}
    assert torch.equal(answer["center"], site.inputs.classifier.center)
    assert answer["rows"].tolist() == rows
    assert answer["test"].tolist() == [1] * len(own.test) + [0] * len(own.validation)
    for name, model in models.items():
        assert answer[f"score/{name}"].tolist() == score(site.inputs, np.array(rows), model).tolist()


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto").type == pick_device("cpu").type == "cpu"
    with pytest.raises(InputError, match=r"^engine\.device: cuda, but no GPU is visible here"):
        pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto").type == pick_device("cuda").type == "cuda"
    assert pick_device("cpu").type == "cpu"


def test_threads_are_those_of_the_study(small_study: dict[str, Any], own_cohort: Cohort) -> None:
    """The processor's default would be all of them, and sums depend on it."""
    small_study["cohort"]["path"] = str(own_cohort.folder)
    torch.set_num_threads(2)
    open_site(parse(small_study, "").model_dump_json())
    assert torch.get_num_threads() == 1
