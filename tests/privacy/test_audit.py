"""Audits find what is there to be found."""

from typing import Any

import numpy as np
import pytest
import torch

from fedmammo.cohort.store import Cohort
from fedmammo.config.study import parse
from fedmammo.evaluation.attacks import attack_bounds, canary_bounds
from fedmammo.features.inputs import Inputs
from fedmammo.hospitals.records import records_of
from fedmammo.privacy.audit import attack_membership, plant_canaries
from fedmammo.privacy.mechanism import Mechanism


@pytest.fixture
def audited(phantom_study: dict[str, Any], phantom_cohort: Cohort) -> tuple[Inputs, list[np.ndarray], Any]:
    """The small study's inputs, its training patients, and how it trains: a head on 64 features, by plain descent."""
    phantom_study["diagnosis"]["optimizer"] = {"name": "sgd", "learning_rate": 0.1}
    study = parse(phantom_study, "small").for_cell("centralized", "real", 0)
    inputs = Inputs(phantom_cohort, study.diagnosis, torch.device("cpu"), records_of(phantom_cohort, study))
    training = phantom_cohort.manifest[phantom_cohort.manifest["split"] == "train"]
    patients = [rows.to_numpy() for rows in training.groupby("patient").groups.values()]
    inputs.compute(np.concatenate(patients))
    return inputs, patients, study.diagnosis


@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_canaries_of_little_noise_are_all_found(audited: tuple[Inputs, list[np.ndarray], Any], rate: float) -> None:
    """Mu is sqrt(steps) / noise = 20 where everybody is in every step: no canary is mistaken."""
    inputs, patients, config = audited
    there, found = plant_canaries(inputs, patients, config, Mechanism("train", 1.0, 0.1, rate, 1, 4), 60, seed=3)
    bounds = canary_bounds(there, found, 50, 1e-4)
    assert (
        bounds["epsilon is at least"].value == pytest.approx(bounds["epsilon is at least"].ceiling, abs=0.2) or rate < 1
    )
    assert (found[there].min() > found[~there].max()) or rate < 1
    assert rate < 1 or bounds["mu"].value == pytest.approx(20, abs=1)


def test_the_estimate_of_mu_covers_that_of_the_mechanism(audited: tuple[Inputs, list[np.ndarray], Any]) -> None:
    """Four steps of noise 2: mu = 1. Those who were not there are normal around 0, of spread 1 by construction."""
    inputs, patients, config = audited
    there, found = plant_canaries(inputs, patients, config, Mechanism("train", 0.5, 2.0, 1.0, 1, 4), 65, seed=0)
    assert len(there) == 65, "a weight and 64 features: as many canaries as numbers"
    mu = canary_bounds(there, found, 40, 1e-4)["mu"]
    assert mu.low < 1 < mu.high and mu.high - mu.low < 1.2
    assert abs(found[~there].mean()) < 0.6 and 0.6 < found[~there].std() < 1.4


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
