"""Rounds of the classifier at a hospital: images of nobody beside patients, and what a trusted server is sent."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedmammo.models.classifier import initial_model
from fedmammo.stages.stage import Tensors
from fedmammo.synthesis.pool import Pool
from fedmammo.training import steps


def augmented(hospitals: Any, pool: Pool, number: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The synthetic images that hospital-1 learns from in a round, by their rows."""
    seen: list[np.ndarray] = []
    train = steps.train

    def spy(inputs: Any, patients: Any, *rest: Any) -> Any:
        seen.extend(patients)
        return train(inputs, patients, *rest)

    deployment = hospitals.config.deployment("federated", "augmented")
    incoming = {"arrays": initial_model(deployment.diagnosis, 0)}
    with monkeypatch.context() as watched:
        watched.setattr(steps, "train", spy)
        answer = hospitals.work("hospital-1", deployment, "train", number, incoming, pool=pool.digest)
    real = [patient for patient in seen if (patient < 46).all()]
    synthetic = [patient for patient in seen if (patient >= 46).all()]
    assert answer.numbers["num-examples"] == len(real), "averaging goes by patients"
    assert len(real) + len(synthetic) == len(seen) and all(len(image) == 1 for image in synthetic)
    return [int(image[0]) for image in synthetic]


@pytest.mark.parametrize(("ratio", "images"), [(1.0, 6), (0.5, 3), (3.0, 18)])
def test_images_beside_patients_are_drawn_anew_each_round(
    content: dict[str, Any], hospitals_of: Any, pool: Pool, files_of_pool: Tensors, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, ratio: float, images: int,
) -> None:  # fmt: skip
    """Hospital 1 trains on 6 patients; of the pool's 12 none comes twice, unless more are wanted than there are."""
    content["synthesis"] = {"source": "phantom", "images": 12, "synthetic_per_real": ratio}
    hospitals = hospitals_of(content, tmp_path / "run" / "hospitals")
    deployment = hospitals.config.deployment("federated", "augmented")
    hospitals.begin(deployment)
    hospitals.work("hospital-1", deployment, "share", 0, {"arrays": files_of_pool}, pool=pool.digest)
    hospitals.work("hospital-1", deployment, "features", 1, pool=pool.digest, parts=1)
    first, again, second = (augmented(hospitals, pool, number, monkeypatch) for number in (1, 1, 2))
    assert first == again != second
    assert len(first) == len(second) == images
    assert len(set(first)) == images or images > 12


def test_a_trusted_server_is_sent_a_sum_in_integers_and_no_state_is_kept(
    content: dict[str, Any], hospitals_of: Any, tmp_path: Path
) -> None:
    """Of a step along it the server keeps the state; images of nobody are not there, and nothing is beside the sum."""
    content |= {"settings": ["real-epsilon-6"], "privacy": {"trust": "central", "secret_seed": 1}}
    content |= {"federation": {"rounds": 2, "local_steps": 1}}
    hospitals = hospitals_of(content, tmp_path)
    deployment = hospitals.config.deployment("federated", "real-epsilon-6")
    plan = hospitals.begin(deployment)
    incoming = {"arrays": initial_model(deployment.diagnosis, 0)}
    answer = hospitals.work("hospital-1", deployment, "train", 1, incoming, plan=plan.digest)
    assert {name: tensor.shape for name, tensor in answer.tensors.items()} == {
        name: tensor.shape for name, tensor in incoming["arrays"].items()
    }
    assert {tensor.dtype for tensor in answer.tensors.values()} == {torch.int64}
    assert answer.numbers.keys() == {"num-examples", "epsilon"} and answer.beside == {}
