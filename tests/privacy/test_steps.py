"""Private steps: who is in them, what is divided by what, and the training loop around them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fedmammo.cohort.store import Cohort
from fedmammo.config.sections import DiagnosisConfig
from fedmammo.features.inputs import Inputs
from fedmammo.hospitals.records import true_records
from fedmammo.models.classifier import initial_model
from fedmammo.privacy import gradients
from fedmammo.privacy.mechanism import Mechanism
from fedmammo.privacy.secret import Secret
from fedmammo.privacy.steps import PrivateSteps
from fedmammo.randomness import generator_of
from fedmammo.training.steps import train

SECRET = Secret.of(Path("hospital"), 1)
WHOLE = Mechanism("train", 1.0, 1.0, 1.0, 1, 3)


def steps_of(patients: int, public: int = 0, noised: bool = True, request: str = "r", **keys: Any) -> PrivateSteps:
    return PrivateSteps(replace(WHOLE, **keys), SECRET, request, patients, public, noised)


# Who is in a step


def test_without_sampling_everybody_is_in_every_step() -> None:
    assert [sample.tolist() for sample in steps_of(5).samples()] == 3 * [[0, 1, 2, 3, 4]]


def test_sampling_is_poissons() -> None:
    """400 steps of 50 patients at .3: every patient's and every step's count within 5 deviations of binomial ones; the
    variance of steps' sizes is that of independent patients (50 x .21 = 10.5, within 5 deviations).
    """
    drawn = list(steps_of(50, rate=0.3, local_steps=400).samples())
    by_patient, by_step = np.bincount(np.concatenate(drawn), minlength=50), np.array([len(sample) for sample in drawn])
    assert (abs(by_patient - 120) < 5 * np.sqrt(400 * 0.21)).all()
    assert (abs(by_step - 15) < 5 * np.sqrt(50 * 0.21)).all()
    assert abs(by_step.var() - 10.5) < 5 * 10.5 * np.sqrt(2 / 400)
    taken = np.array([np.isin(np.arange(50), sample) for sample in drawn], float)
    assert abs(np.corrcoef(taken[:-1].ravel(), taken[1:].ravel())[0, 1]) < 5 / np.sqrt(taken.size)


def test_a_step_may_be_empty() -> None:
    assert any(len(sample) == 0 for sample in steps_of(2, rate=0.1, local_steps=50).samples())


def test_samples_come_from_secret_and_request() -> None:
    first, same, other = (
        [sample.tolist() for sample in steps_of(50, rate=0.5, request=request).samples()] for request in "aab"
    )
    assert first == same != other
    stranger = PrivateSteps(replace(WHOLE, rate=0.5), Secret.of(Path("other"), 1), "a", 50)
    assert [sample.tolist() for sample in stranger.samples()] != first


@pytest.mark.parametrize(("rate", "public", "divisor"), [(1.0, 0, 40), (0.25, 0, 10), (1.0, 20, 60), (0.25, 20, 15)])
def test_sums_are_divided_by_what_is_declared(rate: float, public: int, divisor: float) -> None:
    """Not by how many were sampled: 3 patients of gradient 1 make 3/divisor."""
    private = steps_of(40, public, noised=False, rate=rate)
    parameter = nn.Parameter(torch.zeros(1))
    private.gradient(optimizer := private.optimizer(torch.optim.SGD([parameter], lr=1.0)), 0, [[torch.ones(3, 1)]])
    assert private.divisor == divisor == optimizer.expected_patients
    assert parameter.grad.item() == pytest.approx(3 / divisor, rel=1e-5)


def test_every_step_has_noise_of_its_own() -> None:
    private, parameter = steps_of(1), nn.Parameter(torch.zeros(20))
    optimizer, found = private.optimizer(torch.optim.SGD([parameter], lr=1.0)), []
    for step in range(3):
        private.gradient(optimizer, step, [])
        found.append(parameter.grad.numpy().copy())
    assert len(np.unique(np.concatenate(found))) == 60


# Training


@pytest.fixture
def patients(phantom_cohort: Cohort) -> list[np.ndarray]:
    """The rows of the 20 training patients."""
    manifest = phantom_cohort.manifest.reset_index(drop=True)
    trained = manifest[manifest["split"] == "train"]
    return [rows.to_numpy() for _, rows in trained.index.to_series().groupby(trained["patient"])]


def learned(
    cohort: Cohort, patients: list[np.ndarray], private: PrivateSteps | None, steps: int, **keys: Any
) -> dict[str, Tensor]:
    """The model after some steps. Flips are not drawn: all images in one view."""
    config = DiagnosisConfig.model_validate(
        {
            "network": "test_vit",
            "weights": "none",
            "image_size": 32,
            "optimizer": {"name": "sgd", "learning_rate": 0.4, "momentum": 0.5},
            "augmentation": {"flips": "none"},
            **keys,
        }
    )
    inputs = Inputs(cohort, config, torch.device("cpu"), true_records(cohort))
    inputs.compute(np.concatenate(patients))
    model = initial_model(config, 0)
    return train(inputs, patients, config, steps, generator_of(0, "test"), model, {}, private=private)[0]


@pytest.mark.parametrize(
    ("mode", "chunk"), [("head", 2**29), ("head", 1), ("last_blocks:1", 1), ("bias", 2**29), ("all", 2**29)]
)
def test_without_noise_and_clipping_it_is_training_on_all_patients(
    phantom_cohort: Cohort, patients: list[np.ndarray], monkeypatch: pytest.MonkeyPatch, mode: str, chunk: int
) -> None:
    """A norm of 10^6 that nobody reaches, a multiplier of 10^-14: three steps, in one chunk or a chunk a patient."""
    monkeypatch.setattr(gradients, "CHUNK_BYTES", chunk)
    private = steps_of(len(patients), clipping_norm=1e6, noise_multiplier=1e-14)
    found = learned(phantom_cohort, patients, private, 3, train=mode)
    expected = learned(phantom_cohort, patients, None, 3, train=mode)
    start = initial_model(DiagnosisConfig(network="test_vit", weights="none", image_size=32, train=mode,
                                          optimizer={"learning_rate": 1}), 0)  # fmt: skip
    assert any((expected[name] - start[name]).abs().max() > 1e-2 for name in expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5)


def test_images_of_nobody_weigh_as_much_as_patients(phantom_cohort: Cohort, patients: list[np.ndarray]) -> None:
    """The last patients' first images stand in for synthetic ones, each a patient of its own: the same as all together,
    where nothing is clipped or noised.
    """
    mixed = [*patients[:12], *(rows[:1] for rows in patients[12:])]
    private = steps_of(12, 8, clipping_norm=1e6, noise_multiplier=1e-14)
    found, expected = (learned(phantom_cohort, mixed, one, 3) for one in (private, None))
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5)


def test_where_a_trusted_server_noises_the_gradient_is_what_leaves(
    phantom_cohort: Cohort, patients: list[np.ndarray]
) -> None:
    """Clipped at norm .01, which everybody passes: their mean has at most that norm, and a step of .4 goes along it."""
    private = steps_of(len(patients), noised=False, clipping_norm=0.01, local_steps=1)
    gradient = learned(phantom_cohort, patients, private, 1)
    norm = torch.cat([tensor.flatten() for tensor in gradient.values()]).norm().item()
    assert 0.001 < norm <= 0.01
    tiny = steps_of(len(patients), clipping_norm=0.01, noise_multiplier=1e-12, local_steps=1)
    stepped = learned(phantom_cohort, patients, tiny, 1)
    config = DiagnosisConfig(network="test_vit", weights="none", image_size=32, optimizer={"learning_rate": 1})
    for name, tensor in initial_model(config, 0).items():
        torch.testing.assert_close(stepped[name], tensor - 0.4 * gradient[name])
