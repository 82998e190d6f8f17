"""A hospital at work: what it answers, and the state that it keeps between rounds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fedmammo.cohort.store import Cohort
from fedmammo.config.deployment import Deployment
from fedmammo.features.store import FeatureStore
from fedmammo.models.classifier import initial_model
from fedmammo.privacy.answer import Answer
from fedmammo.privacy.reasons import RefusalError
from fedmammo.stages.hospital import work
from fedmammo.stages.opened import inputs_of
from fedmammo.stages.stage import Job
from fedmammo.training.steps import score

NAMES = ("hospital-1", "hospital-2", "hospital-3")


@pytest.fixture
def content(phantom_study: dict[str, Any]) -> dict[str, Any]:
    """A study of three hospitals."""
    phantom_study["diagnosis"] |= {"patient_fraction": 0.5, "train": "last_blocks:1"}
    phantom_study["seeds"] = [0, 1, 2]
    return phantom_study


@pytest.fixture
def hospitals(content: dict[str, Any], hospitals_of: Any, tmp_path: Path) -> Any:
    """The hospitals, which have read the federated deployment and computed features."""
    found = hospitals_of(content, tmp_path / "hospitals")
    found.begin(found.config.deployment("federated", "real"))
    return found


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")


def initial(deployment: Deployment) -> dict[str, dict[str, Tensor]]:
    return {"arrays": initial_model(deployment.diagnosis, 0)}


def test_features_are_computed_some_at_a_time(
    content: dict[str, Any], own_cohort: Cohort, hospitals_of: Any, tmp_path: Path
) -> None:
    """The holder of all 46 images computes 32, then 14."""
    content["cohort"]["path"] = str(own_cohort.folder)
    hospitals = hospitals_of(content, tmp_path)
    deployment = hospitals.config.deployment("centralized", "real")
    hospitals.begin(deployment, features=False)
    answers = [hospitals.work("all", deployment, "features", 1) for _ in range(3)]
    assert answers == [Answer(numbers={"remaining": remaining}) for remaining in (14.0, 0.0, 0.0)]


def test_a_round_of_training(hospitals: Any) -> None:
    deployment = hospitals.config.deployment("federated", "real")
    incoming = initial(deployment)
    answer = hospitals.work("hospital-2", deployment, "train", 1, incoming)
    assert answer.tensors.keys() == incoming["arrays"].keys()
    assert not any(torch.equal(answer.tensors[name], before) for name, before in incoming["arrays"].items())
    assert answer.numbers["num-examples"] == len(hospitals.sites["hospital-2"].holder(deployment).training)
    assert answer.numbers.keys() == {"num-examples", "loss", "images"}
    assert all(type(number) is float for number in answer.numbers.values())
    assert answer.beside == {}
    folder = hospitals.folder / "hospital-2" / "federated-real-seed0-draw0-fold0"
    assert [path.name for path in folder.iterdir()] == ["passing-00001.safetensors"]


def test_the_holder_of_all_patients(hospitals: Any) -> None:
    pooled = hospitals.config.deployment("centralized", "real")
    hospitals.begin(pooled)
    everybody = hospitals.work("all", pooled, "train", 1, initial(pooled)).numbers
    deployment = hospitals.config.deployment("federated", "real")
    alone = [hospitals.work(name, deployment, "train", 1, initial(deployment)).numbers for name in NAMES]
    assert everybody["num-examples"] == sum(one["num-examples"] for one in alone)
    assert (hospitals.folder / "all" / pooled.name).is_dir()


def test_an_answer_depends_on_neither_order_nor_neighbours(hospitals: Any) -> None:
    deployment = hospitals.config.deployment("federated", "real")
    first, second = (
        {name: hospitals.work(name, deployment, "train", 1, initial(deployment)).tensors for name in names}
        for names in (NAMES, (NAMES[2], NAMES[0], NAMES[1]))
    )
    assert all(equal(first[name], second[name]) for name in NAMES)
    assert not equal(first[NAMES[0]], first[NAMES[1]])


def test_a_round_that_is_asked_again_gives_the_same(hospitals: Any) -> None:
    """As by a server that was killed after the hospital had answered, before it wrote its checkpoint."""
    deployment = hospitals.config.deployment("federated", "real")
    first = hospitals.work("hospital-1", deployment, "train", 1, initial(deployment)).tensors
    second = hospitals.work("hospital-1", deployment, "train", 2, {"arrays": first}).tensors
    kept = hospitals.files()
    again = hospitals.work("hospital-1", deployment, "train", 2, {"arrays": first}).tensors
    assert equal(again, second)
    assert hospitals.files() == kept


def test_rounds_seeds_and_arms_are_different_streams(hospitals: Any) -> None:
    config = hospitals.config
    asked = [
        (config.deployment("federated", "real"), 1),
        (config.deployment("federated", "real", seed=1), 1),
        (config.deployment("local", "real"), 1),
        (config.deployment("federated", "real", seed=2), 2),
    ]
    answers = []
    for deployment, number in asked:
        hospitals.begin(deployment)
        answer = hospitals.work("hospital-1", deployment, "train", number, initial(asked[0][0]))
        answers.append(answer.tensors["head.weight"])
    assert len({tuple(answer.flatten().tolist()) for answer in answers}) == len(answers)


@pytest.mark.parametrize("fault", ["model", "features", "disk"])
def test_a_hospital_that_raises_keeps_its_state(
    hospitals: Any, hospitals_of: Any, content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:  # fmt: skip
    """And answers the same as if nothing had happened when it is asked again."""
    deployment = hospitals.config.deployment("federated", "real")
    first = hospitals.work("hospital-1", deployment, "train", 1, initial(deployment)).tensors
    kept = hospitals.files()
    with monkeypatch.context() as broken, pytest.raises((RefusalError, KeyError, OSError)):
        incoming = dict(first)
        if fault == "model":
            del incoming["head.bias"]
        elif fault == "features":
            broken.setattr(FeatureStore, "files", lambda *_: (None, np.zeros(46, np.uint8)))
        else:
            broken.setattr(Path, "replace", no_space)
        hospitals.work("hospital-1", deployment, "train", 2, {"arrays": incoming})
    left = {path: content for path, content in hospitals.files().items() if not Path(path).name.startswith(".")}
    assert left == kept
    answer = hospitals.work("hospital-1", deployment, "train", 2, {"arrays": first})
    fresh = hospitals_of(content, tmp_path / "fresh")
    fresh.begin(deployment)
    fresh.work("hospital-1", deployment, "train", 1, initial(deployment))
    assert equal(answer.tensors, fresh.work("hospital-1", deployment, "train", 2, {"arrays": first}).tensors)


def test_scores_of_every_model_on_tested_and_validation_patients(hospitals: Any) -> None:
    deployment = hospitals.config.deployment("federated", "real")
    models = {name: initial_model(deployment.diagnosis, seed) for seed, name in enumerate(("all", "hospital-1"))}
    incoming = {f"model/{name}": model for name, model in models.items()}
    answer = hospitals.work("hospital-3", deployment, "score", 0, incoming)
    site = hospitals.sites["hospital-3"]
    own, inputs, manifest = site.holder(deployment), inputs_of(site, deployment), site.cohort.manifest
    rows = [*own.test, *own.validation]
    assert answer.numbers == {} and len(own.test) and len(own.validation)
    assert answer.tensors.keys() == {
        "patient", "breast", "lesion", "image", "test", "label", "center", "scale", "score/all", "score/hospital-1",
        "about/density", "about/subtlety", "about/lesion_type", "about/view", "about/assessment",
    }  # fmt: skip
    assert torch.equal(answer.tensors["center"], inputs.classifier.center)
    for kind in ("patient", "image"):
        told = [bytes(one.tolist()).hex() for one in answer.tensors[kind]]
        assert told == [site.cohort.pseudonym(kind, name) for name in manifest[kind].iloc[rows]]
    views = [bytes(one.tolist()).rstrip(b"\0").decode() for one in answer.tensors["about/view"]]
    assert views == manifest["view"].iloc[rows].tolist()
    assert answer.tensors["label"].tolist() == manifest["malignant"].iloc[rows].astype(int).tolist()
    assert answer.tensors["test"].tolist() == [1] * len(own.test) + [0] * len(own.validation)
    for name, model in models.items():
        assert answer.tensors[f"score/{name}"].tolist() == score(inputs, np.array(rows), model).tolist()


def test_threads_are_those_of_the_site_file(hospitals: Any) -> None:
    """The processor's default would be all of them, and sums depend on it."""
    torch.set_num_threads(2)
    hospitals.work("hospital-1", hospitals.config.deployment("federated", "real"), "features", 1)
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        (Job("train", "0" * 64, 1), "no deployment of this digest was agreed to here"),
        (Job("train", "../" * 21 + "x", 1), "that is not a digest"),
        (Job("everything", "0" * 64), "nobody knows this stage here"),
        (Job("declare", "0" * 64), "not a deployment that is understood here"),
    ],
)
def test_what_was_not_agreed_to_is_refused(hospitals: Any, job: Job, reason: str) -> None:
    kept = hospitals.files()
    with pytest.raises(RefusalError, match=f"^refused: {reason}$"):
        work(hospitals.sites["hospital-1"], job, {}, "{}")
    assert hospitals.files() == kept


def test_a_deployment_is_the_one_that_its_digest_names(hospitals: Any) -> None:
    """A server that changes a word of what people approved is refused."""
    deployment = hospitals.config.deployment("federated", "real")
    other = deployment.model_copy(update={"seed": 7}).model_dump_json()
    with pytest.raises(RefusalError, match="the deployment is not the one that its digest names"):
        work(hospitals.sites["hospital-1"], Job("declare", deployment.digest), {}, other)
