"""Private steps: who is in them, what is divided by what, and the training loop around them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from fedmammo.cohort.store import Cohort
from fedmammo.config.sections import DiagnosisConfig
from fedmammo.features.inputs import Inputs
from fedmammo.hospitals.records import true_records
from fedmammo.models.classifier import initial_model
from fedmammo.privacy import gradients
from fedmammo.privacy.mechanism import Mechanism
from fedmammo.privacy.noise import discrete_gaussian, from_grid
from fedmammo.privacy.secret import Secret
from fedmammo.privacy.steps import PrivateSteps
from fedmammo.randomness import generator_of
from fedmammo.training.steps import train

SECRET = Secret.of(Path("hospital"), 1)
WHOLE = Mechanism("train", 1.0, 1.0, 1.0, 1, 3)


def steps_of(patients: int, public: int = 0, sums: bool = False, request: str = "r", **keys: Any) -> PrivateSteps:
    return PrivateSteps(replace(WHOLE, **keys), SECRET, request, patients, public, sums)


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
    """Not by how many were sampled: 3 patients of gradient 1/8 make 3/8 over the divisor, and a step of noise."""
    private = steps_of(40, public, rate=rate, noise_multiplier=1e-9)
    parameter = nn.Parameter(torch.zeros(1))
    (total,) = private.descend([parameter], 0, [[torch.full((3, 1), 0.125)]])
    step = private.grid([parameter]).step
    assert private.divisor == divisor
    assert total.item() * step == 0.375
    assert abs(parameter.grad.item() - 0.375 / divisor) <= 6 * step / divisor


# One noised sum of clipped patients


def summed(gradients: list[Tensor], chunks: int = 1, **keys: Any) -> list[Tensor]:
    """The sum before noise, in units of gradients."""
    private, like = steps_of(1, **keys), [gradient[0] for gradient in gradients]
    parts = [[part.tensor_split(chunks)[chunk] for part in gradients] for chunk in range(chunks)]
    return [total * private.grid(like).step for total in private.total(like, parts)]


def test_every_patient_is_clipped_over_all_parameters_together() -> None:
    """Patient A is (3; 4), of norm 5: at norm 1 it counts as (.6; .8). B is (.1; 0) and stays."""
    found = summed([torch.tensor([[3.0], [0.1]]), torch.tensor([[4.0], [0.0]])])
    assert [part.item() for part in found] == pytest.approx([0.7, 0.8], abs=2e-3)


@given(seed=st.integers(0, 99), patients=st.integers(1, 9), chunks=st.integers(1, 5), norm=st.floats(0.1, 10))
def test_chunks_make_no_difference(seed: int, patients: int, chunks: int, norm: float) -> None:
    """To the last bit: sums are of integers."""
    generator = torch.Generator().manual_seed(seed)
    gradients = [torch.randn(patients, *shape, generator=generator) for shape in ((3, 2), (4,))]
    once, apart = summed(gradients, clipping_norm=norm), summed(gradients, chunks, clipping_norm=norm)
    assert all(torch.equal(one, other) for one, other in zip(once, apart, strict=True))


@given(seed=st.integers(0, 99), scale=st.sampled_from([1e-3, 1.0, 1e3, 1e18]), norm=st.floats(0.01, 100))
def test_one_patient_adds_no_more_than_the_norm(seed: int, scale: float, norm: float) -> None:
    """But for rounding, a 1024th of it. Also where its squared norm is too large for float32."""
    generator = torch.Generator().manual_seed(seed)
    gradients = [scale * torch.randn(1, *shape, generator=generator) for shape in ((5, 2), (4,))]
    found = torch.cat([part.flatten() for part in summed(gradients, clipping_norm=norm)])
    assert found.double().norm().item() <= norm * (1 + 1 / 1024)


def test_half_precision_is_clipped_after_it_was_widened() -> None:
    """1000 times the same bfloat16 gradient of norm above 1: each counts with norm 1, not with bfloat16's 3 digits."""
    one = torch.randn(1, 64, generator=torch.Generator().manual_seed(0)).bfloat16()
    (found,) = summed([one.repeat(1000, 1)])
    exact = 1000 * one.double()[0] / one.double().norm()
    step = steps_of(1).grid([one[0]]).step
    assert (found.double() - exact).abs().max().item() <= 1000 * step / 2 + 1e-2
    assert torch.equal(found, 1000 * summed([one])[0])


@pytest.mark.parametrize("fault", [torch.nan, torch.inf, -torch.inf])
def test_a_patient_that_is_not_finite_counts_as_zero(fault: float) -> None:
    """In one number of one parameter: all its numbers of all parameters are zero, the others' are what they were."""
    first, second = torch.full((3, 2), 0.125), torch.full((3, 1), 0.25)
    first[1, 0] = fault
    found = summed([first, second])
    assert torch.cat([part.flatten() for part in found]).tolist() == [0.25, 0.25, 0.5]


@pytest.mark.parametrize("chunks", [0, 1])
def test_a_step_without_patients_is_noised_all_the_same(chunks: int) -> None:
    """With the stream's own numbers, parameter by parameter, over the divisor."""
    private = steps_of(4, clipping_norm=3.0, noise_multiplier=2.0)
    parameters = [nn.Parameter(torch.zeros(3, 2)), nn.Parameter(torch.zeros(5))]
    grid, stream = private.grid(parameters), SECRET.stream("r", "noise", 1)
    total = private.descend(parameters, 1, [[torch.zeros(0, 3, 2), torch.zeros(0, 5)]] * chunks)
    assert not any(part.any() for part in total)
    for parameter in parameters:
        expected = discrete_gaussian(stream, grid.deviation, parameter.numel()) * grid.step / 4
        assert parameter.grad.flatten().tolist() == pytest.approx(expected.tolist(), rel=1e-6)
    assert grid.deviation * grid.step == pytest.approx(6, rel=2e-3)


def test_every_step_has_noise_of_its_own() -> None:
    private, parameters, found = steps_of(1), [nn.Parameter(torch.zeros(20)), nn.Parameter(torch.zeros(20))], []
    for step in range(3):
        private.descend(parameters, step, [])
        found += [parameter.grad.numpy().copy() for parameter in parameters]
    assert abs(np.corrcoef(found)[np.triu_indices(6, 1)]).max() < 0.9
    assert len(np.unique(np.concatenate(found))) > 115


def test_a_sum_that_is_not_noised_sets_no_gradient() -> None:
    parameter = nn.Parameter(torch.zeros(2))
    (total,) = steps_of(1, sums=True).descend([parameter], 0, [[torch.tensor([[0.5, 0.25]])]])
    assert parameter.grad is None and total.dtype == torch.int64 and total[0] == 2 * total[1] > 0


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
    return train(inputs, patients, config, steps, generator_of(0, "test"), model, {}, private=private)[0].model


@pytest.mark.parametrize(
    ("mode", "chunk"), [("head", 2**29), ("head", 1), ("last_blocks:1", 1), ("bias", 2**29), ("all", 2**29)]
)
def test_without_noise_and_clipping_it_is_training_on_all_patients(
    phantom_cohort: Cohort,
    patients: list[np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    fine_grid: None,
    mode: str,
    chunk: int,
) -> None:
    """At a norm that nobody reaches, hardly any noise: three steps, in one chunk or a chunk a patient."""
    monkeypatch.setattr(gradients, "CHUNK_BYTES", chunk)
    norm = 100.0 if mode in ("head", "bias") else 1e3
    private = steps_of(len(patients), clipping_norm=norm, noise_multiplier=1e-14)
    found = learned(phantom_cohort, patients, private, 3, train=mode)
    expected = learned(phantom_cohort, patients, None, 3, train=mode)
    start = initial_model(DiagnosisConfig(network="test_vit", weights="none", image_size=32, train=mode,
                                          optimizer={"learning_rate": 1}), 0)  # fmt: skip
    assert any((expected[name] - start[name]).abs().max() > 1e-2 for name in expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5 if norm == 100 else 1e-4)


def test_images_of_nobody_weigh_as_much_as_patients(
    phantom_cohort: Cohort, patients: list[np.ndarray], fine_grid: None
) -> None:
    """The last patients' first images stand in for synthetic ones, each a patient of its own: the same as all together,
    where nothing is clipped or noised.
    """
    mixed = [*patients[:12], *(rows[:1] for rows in patients[12:])]
    private = steps_of(12, 8, clipping_norm=100.0, noise_multiplier=1e-14)
    found, expected = (learned(phantom_cohort, mixed, one, 3) for one in (private, None))
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5)


def test_where_a_trusted_server_noises_the_sum_in_integers_is_what_leaves(
    phantom_cohort: Cohort, patients: list[np.ndarray]
) -> None:
    """Clipped at norm .01, which everybody passes: the mean has at most that norm, and a step of .4 goes along it."""
    private = steps_of(len(patients), sums=True, clipping_norm=0.01, local_steps=1)
    sums = learned(phantom_cohort, patients, private, 1)
    assert all(tensor.dtype == torch.int64 for tensor in sums.values())
    grid = private.grid(list(sums.values()))
    gradient = dict(zip(sums, from_grid(list(sums.values()), grid, len(patients)), strict=True))
    norm = torch.cat([tensor.flatten() for tensor in gradient.values()]).norm().item()
    assert 0.001 < norm <= 0.01 * (1 + 1 / 1024)
    tiny = steps_of(len(patients), clipping_norm=0.01, noise_multiplier=1e-12, local_steps=1)
    stepped = learned(phantom_cohort, patients, tiny, 1)
    config = DiagnosisConfig(network="test_vit", weights="none", image_size=32, optimizer={"learning_rate": 1})
    for name, tensor in initial_model(config, 0).items():
        expected = tensor - 0.4 * gradient[name].float()
        torch.testing.assert_close(stepped[name], expected, rtol=0, atol=0.4 * 6 * grid.step / len(patients) + 1e-7)
