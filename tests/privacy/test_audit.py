"""Audits find what is there to be found, and certify no more than their canaries can."""

from math import log
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binom

from fedmammo.cohort.store import Cohort
from fedmammo.config.study import parse
from fedmammo.features.inputs import Inputs
from fedmammo.hospitals.records import records_of
from fedmammo.privacy.audit import (
    attack_bounds,
    attack_membership,
    canary_bounds,
    epsilon_of_guesses,
    likelihood_ratios,
    plant_canaries,
)
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


@pytest.mark.parametrize(("canaries", "ceiling"), [(50, 2.77), (200, 4.14), (400, 4.78), (4000, 5.92)])
def test_all_guesses_right_certify_what_so_many_canaries_can(canaries: int, ceiling: float) -> None:
    """At delta 1e-4; at delta 0 the chance of so many right guesses, p^canaries, is 5 % at e^epsilon = p / (1 - p)."""
    assert epsilon_of_guesses(canaries, canaries, canaries, 1e-4) == pytest.approx(ceiling, abs=0.005)
    right = 0.05 ** (1 / canaries)
    assert epsilon_of_guesses(canaries, canaries, canaries, 0.0) == pytest.approx(log(right / (1 - right)), abs=1e-4)


def test_guesses_by_luck_certify_nothing_and_delta_only_lowers() -> None:
    """60 of 100 right: at epsilon 0 the chance of as many is .028, so a little is certified; of 55 it is .184."""
    assert epsilon_of_guesses(55, 100, 100, 0.0) == 0
    found = epsilon_of_guesses(60, 100, 100, 0.0)
    assert binom(100, 1 / (1 + np.exp(-found))).sf(59) == pytest.approx(0.05, abs=1e-4) and found > 0
    assert epsilon_of_guesses(60, 100, 100, 1e-3) < found


@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_canaries_of_little_noise_are_all_found(audited: tuple[Inputs, list[np.ndarray], Any], rate: float) -> None:
    """Mu is sqrt(steps) / noise = 20 where everybody is in every step: no canary is mistaken."""
    inputs, patients, config = audited
    there, found = plant_canaries(inputs, patients, config, Mechanism("train", 1.0, 0.1, rate, 1, 4), 60, seed=3)
    bounds = canary_bounds(there, found, 1e-4)
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
    mu = canary_bounds(there, found, 1e-4)["mu"]
    assert mu.low < 1 < mu.high and mu.high - mu.low < 1.2
    assert abs(found[~there].mean()) < 0.6 and 0.6 < found[~there].std() < 1.4


def test_what_halves_have_in_common_is_no_sign_of_membership() -> None:
    """Confidence that is a model's own, and opposite in the model of the other half, says nothing of a patient."""
    generator = np.random.default_rng(0)
    halves = generator.permuted(np.tile(np.arange(400) < 200, (50, 1)), axis=1)
    shift = generator.normal(size=(50, 1))
    confidence = np.concatenate([shift, -shift]) + 0.1 * generator.normal(size=(100, 400))
    inside = np.concatenate([halves, ~halves])
    bound = attack_bounds(inside, likelihood_ratios(inside, confidence), 0)["attack's AUROC"]
    assert bound.value == pytest.approx(0.5, abs=0.01) and bound.low < 0.5 < bound.high


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
