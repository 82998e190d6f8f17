"""The parts of a privacy audit that run on the real training loop and optimiser, with fixed seeds.

They look for faults, and prove nothing: a mechanism that passes may still be broken.
"""

from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chi2, norm
from torch import Tensor, nn

from fedmammo.cohort.store import Cohort
from fedmammo.config.sections import DiagnosisConfig
from fedmammo.features import opening
from fedmammo.features.inputs import Inputs
from fedmammo.hospitals.records import true_records
from fedmammo.models.classifier import initial_model
from fedmammo.privacy.accounting import epsilon, epsilon_of_mu
from fedmammo.privacy.mechanism import Mechanism
from fedmammo.privacy.noise import Grid
from fedmammo.privacy.secret import Secret
from fedmammo.privacy.steps import PrivateSteps
from fedmammo.randomness import generator_of
from fedmammo.training.steps import train

SECRET = Secret.of(Path("hospital"), 1)
ONE = Mechanism("train", 1.0, 1.0, 1.0, 1, 1)
SWIN = "swin_tiny_patch4_window7_224"


# (a) Without noise, a patient moves the sum by no more than the clipping norm


class Hospital:
    """Five patients, of whom the first has some images, and whatever images a test gives it; others have two each.

    Where a patient is zeroed out its one image has features that are not numbers, so that it counts as nothing.
    """

    def __init__(self, cohort: Cohort, clipping_norm: float, **keys: Any) -> None:
        content = {"network": "test_vit", "weights": "none", "image_size": 32, "optimizer": {"learning_rate": 1}}
        self.config = DiagnosisConfig.model_validate(content | keys)
        self.inputs = Inputs(cohort, self.config, torch.device("cpu"), true_records(cohort))
        self.others = [np.array([first, first + 1]) for first in (14, 16, 18, 20)]
        self.inputs.compute(np.array([*range(14), *np.concatenate(self.others)]))
        self.nothing = 24
        _, store = self.inputs._sets[0]
        for view in self.inputs.views:
            store.put(view.name, self.nothing, np.full(self.inputs._length(), np.nan, np.float32))
        self.norm = clipping_norm

    def sums(self, images: list[int]) -> tuple[np.ndarray, Grid]:
        """The sum of clipped gradients over the five patients: what a trusted server gets, in steps of the grid."""
        patients = [np.array(images), *self.others]
        private = PrivateSteps(replace(ONE, clipping_norm=self.norm), SECRET, "r", len(patients), sums=True)
        model = initial_model(self.config, 0)
        sent, _, _ = train(
            self.inputs, patients, self.config, 1, generator_of(0, "published"), model, {}, private=private
        )
        assert all(tensor.dtype == torch.int64 for tensor in sent.model.values())
        total = torch.cat([tensor.flatten() for tensor in sent.model.values()]).numpy()
        return total, private.grid(list(model.values()))


@pytest.mark.parametrize(
    ("keys", "counts"),
    [
        ({}, [1, 2, 6, 14]),
        ({"augmentation": {"flips": "both", "views_per_step": 2}, "label_smoothing": 0.1}, [1, 2, 6, 14]),
        ({"train": "last_blocks:1"}, [1, 2, 6, 14]),
        ({"network": SWIN, "image_size": 64, "train": "last_blocks:1", "augmentation": {"flips": "none"}}, [6]),
    ],
    ids=["head", "views", "blocks", "swin"],
)
def test_a_patient_moves_the_sum_by_no_more_than_the_norm(
    own_cohort: Cohort, monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any], counts: list[int]
) -> None:
    """With so many images against nothing: at a norm that all pass the difference is the norm, exactly in integers.

    Views are drawn and paths dropped from published seeds: who knows these must not see others move.
    """
    monkeypatch.setattr(opening, "STAND_INS", 8)
    hospital = Hospital(own_cohort, 0.01, **keys)
    without, grid = hospital.sums([hospital.nothing])
    for images in counts:
        there, _ = hospital.sums(list(range(images)))
        apart = there - without
        assert int(abs(apart).max()) ** 2 * len(apart) < 2**63, "the sum of squares is exact"
        square = int(apart @ apart)
        assert (grid.sensitivity // 2) ** 2 < square <= grid.sensitivity**2


# (b) The noise has the variance that is claimed


def noise_of(mechanism: Mechanism, request: str, secret: Secret = SECRET, size: int = 400) -> np.ndarray:
    """What is released of patients without gradients, of sum 0, step by step: (steps, 2 x size)."""
    parameters = [nn.Parameter(torch.zeros(size)), nn.Parameter(torch.zeros(size // 4, 4))]
    private = PrivateSteps(mechanism, secret, request, 10)
    found = []
    for step, _ in enumerate(private.samples()):
        private.descend(parameters, step, [[torch.zeros(3, *parameter.shape) for parameter in parameters]])
        found.append(np.concatenate([parameter.grad.numpy().ravel() for parameter in parameters]))
    return private.divisor * np.array(found, np.float64)


def assert_variance(noise: np.ndarray, deviation: float) -> None:
    """Chi-square, two sides, one in 10^4 false alarms."""
    low, high = chi2.ppf([5e-5, 1 - 5e-5], noise.size)
    assert low < ((noise / deviation) ** 2).sum() < high


@pytest.mark.parametrize(("sigma", "clip", "rate"), [(1.0, 1.0, 1.0), (0.7, 3.0, 1.0), (5.0, 0.01, 0.2)])
def test_the_noise_on_a_sum_is_the_multiplier_times_the_norm(sigma: float, clip: float, rate: float) -> None:
    mechanism = Mechanism("train", clip, sigma, rate, 1, 10)
    noise, grid = noise_of(mechanism, "r"), Grid.of(clip, sigma, 800)
    assert_variance(noise, grid.deviation * grid.step)
    assert sigma * clip <= grid.deviation * grid.step < sigma * clip * (1 + 1 / 500)


def test_a_hospitals_answer_carries_that_noise(deploy: Callable[..., Any]) -> None:
    """One step of SGD: the answer less a step along the exact gradient, which a trusting one sends, is the noise."""
    both = {"federation": {"rounds": 1, "local_steps": 1}, "diagnosis": {"augmentation": {"flips": "none"}}}
    local = deploy("local", **both)
    central = deploy("central", **both, privacy={"trust": "central"})
    mechanism, found = local.plan.mechanism("train"), []
    grid = Grid.of(mechanism.clipping_norm, mechanism.noise_multiplier, 65)
    for node in range(3):
        local.agree(node), central.agree(node)
        total, stepped = central.train(node)[0], local.train(node)[0]
        patients = local.sizes[f"hospital-{node + 1}"]
        assert all(tensor.dtype == torch.int64 for tensor in total.values())
        found += [
            (patients * (local.model[name] - stepped[name]) / 0.1 - grid.step * tensor).numpy().ravel()
            for name, tensor in total.items()
        ]
    noise = np.concatenate(found)
    assert_variance(noise, grid.deviation * grid.step)
    off_grid = noise / grid.step - np.round(noise / grid.step)
    assert abs(off_grid).max() < 0.1, "what is noised lies on the grid, as far as the float32 of a model tells"


# (c) Noises have nothing to do with each other


def test_noise_of_steps_requests_and_hospitals_is_independent() -> None:
    """800 numbers each: none are equal (but by chance in float32), no two sets of them correlate (5 deviations)."""
    two = replace(ONE, local_steps=3)
    found = np.concatenate(
        [noise_of(two, "r"), noise_of(two, "s"), noise_of(two, "r", Secret.of(Path("other"), 1)),
         noise_of(two, "r", Secret.of(Path("hospital"), 2))]
    )  # fmt: skip
    assert len(np.unique(found)) > 0.5 * found.size  # of a grid of some ten thousand steps
    correlations = np.corrcoef(found)[np.triu_indices(len(found), 1)]
    assert abs(correlations).max() < 5 / sqrt(800)


def test_noise_of_rounds_and_hospitals_is_independent(deploy: Callable[..., Any]) -> None:
    """Answers to the same model in two rounds, and of two hospitals: gradients cancel in differences, noises do not."""
    deployment = deploy(diagnosis={"optimizer": {"momentum": 0.0}}, federation={"local_steps": 1})
    asked = []
    for node in (0, 1):
        deployment.agree(node)
        for number in (1, 2):
            sent, _ = deployment.train(node, number)
            asked.append(torch.cat([(sent[name] - one).flatten() for name, one in deployment.model.items()]).numpy())
    found = np.array(asked)
    differences = [found[0] - found[1], found[2] - found[3]]
    sigma = deployment.plan.mechanism("train").noise_multiplier
    for node, difference in enumerate(differences):
        patients = deployment.sizes[f"hospital-{node + 1}"]
        deviation = sqrt(2) * 0.1 * sigma / patients
        assert 0.5 < difference.std() / deviation < 1.5
    assert abs(np.corrcoef(differences)[0, 1]) < 5 / sqrt(found.shape[1])


# (d) How well one patient is told from nobody


def test_an_estimate_of_mu_agrees_with_the_claim() -> None:
    """2000 releases of three steps each with a patient who passes the norm, and 2000 with that patient zeroed out.

    Along the patient's direction, both are normal; the distance of their means over their deviation is mu, which is
    sqrt(3) / sigma. The interval of the estimate (3.3 deviations, one in 1000) covers the claim.
    """
    sigma, releases = 2.0, 2000
    mechanism = replace(ONE, noise_multiplier=sigma, clipping_norm=0.5, local_steps=3)
    direction = torch.tensor([[3.0, 4.0]])
    others = torch.tensor([[0.1, -0.2], [-0.3, 0.1]])

    def statistic(request: str, patient: Tensor) -> float:
        parameter = nn.Parameter(torch.zeros(2))
        private = PrivateSteps(mechanism, SECRET, request, 3)
        total = 0.0
        for step in range(mechanism.local_steps):
            private.descend([parameter], step, [[torch.cat([patient, others])]])
            total += (parameter.grad @ direction[0] / 5).item()
        return total

    present = np.array([statistic(f"with {number}", direction) for number in range(releases)])
    absent = np.array([statistic(f"without {number}", 0 * direction) for number in range(releases)])
    deviation = sqrt((present.var(ddof=1) + absent.var(ddof=1)) / 2)
    estimate = (present.mean() - absent.mean()) / deviation
    spread = norm.ppf(1 - 5e-4) * sqrt(2 / releases + estimate**2 / (4 * releases))
    claimed = sqrt(mechanism.local_steps) / sigma
    assert spread < 0.15
    assert estimate - spread < claimed < estimate + spread
    assert epsilon(((1.0, sigma, 3),), 1e-4) == pytest.approx(epsilon_of_mu(claimed, 1e-4))
