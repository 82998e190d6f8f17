"""Audits find what is there to be found."""

from typing import Any

import numpy as np
import pytest
import torch

from fedmammo.cohort.store import Cohort
from fedmammo.config.study import parse
from fedmammo.evaluation.attacks import attack_bounds
from fedmammo.features.inputs import Inputs
from fedmammo.hospitals.records import true_records
from fedmammo.privacy.audit import attack_membership
from fedmammo.privacy.mechanism import Mechanism


@pytest.fixture
def audited(phantom_study: dict[str, Any], phantom_cohort: Cohort) -> tuple[Inputs, list[np.ndarray], Any]:
    """The small study's inputs, its training patients, and how it trains: a head on 64 features, by plain descent."""
    phantom_study["diagnosis"]["optimizer"] = {"name": "sgd", "learning_rate": 0.1}
    study = parse(phantom_study, "small").deployment("centralized", "real")
    inputs = Inputs(phantom_cohort, study.diagnosis, torch.device("cpu"), true_records(phantom_cohort))
    training = phantom_cohort.manifest[phantom_cohort.manifest["split"] == "train"]
    patients = [rows.to_numpy() for rows in training.groupby("patient").groups.values()]
    inputs.compute(np.concatenate(patients))
    return inputs, patients, study.diagnosis


def test_membership_is_found_where_nothing_protects_and_not_under_much_noise(
    audited: tuple[Inputs, list[np.ndarray], Any],
) -> None:
    inputs, patients, config = audited
    open_, private = (
        attack_bounds(*attack_membership(inputs, patients, config, 60, mechanism, models=8, seed=1), seed=1)
        for mechanism in (None, Mechanism("train", 0.1, 50.0, 1.0, 1, 60))
    )
    assert open_["attack's AUROC"].low > 0.5
    assert private["attack's AUROC"].low < 0.5 < private["attack's AUROC"].high
    assert open_["attack's AUROC"].value > private["attack's AUROC"].value
