"""The private discriminator: gradients of patients against plain autograd, what a patient can change, noise."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fedmammo.models.mcgan import Mcgan, build_mcgan
from fedmammo.privacy.mechanism import Mechanism
from fedmammo.privacy.noise import Grid
from fedmammo.privacy.secret import Secret
from fedmammo.privacy.steps import PrivateSteps
from fedmammo.randomness import seed_of
from fedmammo.synthesis.sources import FromGan
from fedmammo.training import gan as plain
from fedmammo.training.augmentation import augment, mirror
from fedmammo.training.gan import Patients
from fedmammo.training.private_gan import patient_gradients, train_discriminator

SOURCE = FromGan(source="gan", image_size=32, width=4)
IMAGES_OF = (1, 2, 6, 1)  # of each patient


@pytest.fixture
def gan() -> Mcgan:
    return build_mcgan(SOURCE)


@pytest.fixture
def patients() -> Patients:
    count = sum(IMAGES_OF)
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(count, 1, 32, 32, generator=draw) * 2 - 1
    return Patients(images, torch.randint(0, 2, (count,), generator=draw), np.split(np.arange(count), [1, 3, 9]))


def steps(sigma: float, norm: float, rate: float = 1.0, count: int = 1, request: str = "one") -> PrivateSteps:
    return PrivateSteps(Mechanism("generator", norm, sigma, rate, 1, count), Secret(bytes(32)), request, 4)


def loss_of_patient(gan: Mcgan, patients: Patients, index: int, seed: int, step: int) -> Tensor:
    """The mean over a patient's images, image by image: -log of the probability of being real, and R1 at step 0."""
    own = patients.images_of[index]
    torch.manual_seed(seed_of(seed, step, index))
    changed = gan.bands(augment(mirror(patients.images[own])))
    losses = []
    for bands, malignant in zip(changed, patients.malignant[own], strict=True):
        seen = bands[None].clone().requires_grad_()
        score = gan.discriminator(seen, malignant[None])
        loss = functional.softplus(-score).sum()
        if step == 0:
            (slope,) = torch.autograd.grad(score.sum(), seen, create_graph=True)
            loss = loss + 4 * 0.3 / 2 * slope.square().sum()
        losses.append(loss)
    return torch.stack(losses).mean()


def sums(chunks: Sequence[list[Tensor]]) -> Tensor:
    """Each patient's gradient, flat: (patients, numbers)."""
    return torch.cat([torch.cat([part.flatten(1) for part in gradients], dim=1) for gradients in chunks])


@pytest.mark.parametrize("step", [0, 1])
def test_patients_gradients_are_those_of_a_loop(gan: Mcgan, patients: Patients, step: int) -> None:
    """With the penalty (step 0) and without."""
    found = sums(list(patient_gradients(gan, patients, np.arange(4), 7, step)))
    for index in range(4):
        parts = torch.autograd.grad(
            loss_of_patient(gan, patients, index, 7, step), list(gan.discriminator.parameters())
        )
        expected = torch.cat([part.flatten() for part in parts])
        assert float((found[index] - expected).norm() / expected.norm()) < 1e-5


def test_a_patients_gradient_does_not_depend_on_who_else_is_there(gan: Mcgan, patients: Patients) -> None:
    """Nor do its images' changes: the others' gradients are the same when one is left out."""
    together = sums(list(patient_gradients(gan, patients, np.arange(4), 7, 3)))
    without = sums(list(patient_gradients(gan, patients, np.array([0, 2, 3]), 7, 3)))
    torch.testing.assert_close(together[[0, 2, 3]], without, atol=1e-6, rtol=1e-5)


def trained(patients: Patients, private: PrivateSteps, steps: range = range(1, 2)) -> dict[str, Tensor]:
    """A new discriminator after some steps."""
    gan = build_mcgan(SOURCE)
    train_discriminator(gan, patients, 4, steps, np.random.default_rng(0), {}, private)
    return gan.tensors("discriminator")


def gradient_seen(
    patients: Patients, private: PrivateSteps, monkeypatch: pytest.MonkeyPatch, step: int = 1
) -> dict[str, Tensor]:
    """What a step's optimiser steps along."""
    seen: dict[str, Tensor] = {}

    class Watched(torch.optim.SGD):
        def step(self, closure: None = None) -> None:  # type: ignore[override]
            for name, parameter in names.items():
                assert parameter.grad is not None
                seen[name] = parameter.grad.clone()

    gan = build_mcgan(SOURCE)
    names = dict(gan.discriminator.named_parameters())
    with monkeypatch.context() as patch:
        patch.setattr("fedmammo.training.private_gan.adam_of", lambda *_: Watched(names.values()))
        generator = np.random.default_rng(0)
        train_discriminator(gan, patients, 4, range(step, step + 1), generator, {}, private)
    return seen


def grid_of(gan: Mcgan, norm: float, sigma: float = 1e-12) -> Grid:
    return steps(sigma, norm).grid(list(gan.discriminator.parameters()))


def test_with_a_clip_that_nobody_reaches_and_the_least_noise_it_is_the_plain_mean_gradient(
    gan: Mcgan, patients: Patients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mean over patients of their losses, and that over synthetic images, to two steps of the grid.

    Rounding moves a mean by half a step at most, the least noise, of one step, by 6 / 4 hardly ever.
    """
    seed = int(np.random.default_rng(0).integers(2**63))
    norm = 1.01 * float(sums(list(patient_gradients(gan, patients, np.arange(4), seed, 1))).norm(dim=1).max())
    found = gradient_seen(patients, steps(1e-12, norm), monkeypatch)
    step = grid_of(gan, norm).step
    real = torch.stack([loss_of_patient(gan, patients, index, seed, 1) for index in range(4)]).mean()
    torch.manual_seed(seed_of(seed, 1))
    with plain.half_precision(torch.device("cpu")):
        synthetic = functional.softplus(plain.scores_of_synthetic(gan, torch.arange(4) % 2)).mean()
    parameters = dict(gan.discriminator.named_parameters())
    expected = torch.autograd.grad(real + synthetic, list(parameters.values()))
    for name, value in zip(parameters, expected, strict=True):
        torch.testing.assert_close(found[name], value, atol=2 * step, rtol=1e-4)
    assert max(float(value.abs().max()) for value in expected) > 1000 * step, "far more than the tolerance"


@pytest.mark.parametrize("left_out", range(4))
def test_one_patient_moves_the_sum_by_the_clipping_norm_at_most(
    gan: Mcgan, patients: Patients, monkeypatch: pytest.MonkeyPatch, left_out: int
) -> None:
    """Zeroed out, as by a gradient that is not finite; the sum is over 4 expected patients, and noise is the same.

    With what rounding to the grid adds, it is the grid's sensitivity, less than a hundredth more than the norm.
    """
    neighbour = Patients(patients.images.clone(), patients.malignant, patients.images_of)
    neighbour.images[patients.images_of[left_out]] = torch.nan
    both = [gradient_seen(each, steps(1e-12, 0.01), monkeypatch) for each in (patients, neighbour)]
    moved = torch.cat([4 * (both[0][name] - both[1][name]).flatten() for name in both[0]])
    grid = grid_of(gan, 0.01)
    assert 0 < float(moved.norm()) <= grid.sensitivity * grid.step * (1 + 1e-4)
    assert 0.01 <= grid.sensitivity * grid.step < 0.0101


def test_who_is_not_sampled_moves_nothing(patients: Patients, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of sixteen requests at rate .5, in those whose step is without patient 2, its images are worth nothing."""
    neighbour = Patients(patients.images.clone(), patients.malignant, patients.images_of)
    neighbour.images[patients.images_of[2]] = 0.0
    members = set()
    for number in range(16):
        private = steps(1e-12, 1.0, rate=0.5, request=f"request {number}")
        (sample,) = private.samples()
        both = [gradient_seen(each, private, monkeypatch) for each in (patients, neighbour)]
        assert all(torch.equal(both[0][name], both[1][name]) for name in both[0]) == (2 not in sample)
        members.add(2 in sample)
    assert members == {True, False}


def test_noise_has_its_size_and_is_there_where_nobody_was_sampled(
    patients: Patients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a rate of 1e-12 nobody is sampled; two requests differ by noise alone: sqrt(2) x sigma C / (q n)."""
    both = [
        gradient_seen(patients, steps(2.0, 0.5, rate=1e-12, request=request), monkeypatch) for request in ("a", "b")
    ]
    difference = torch.cat([(both[0][name] - both[1][name]).flatten() for name in both[0]])
    assert float(difference.std()) == pytest.approx(2**0.5 * 2.0 * 0.5 / (1e-12 * 4), rel=0.02)


def test_the_same_request_gives_the_same_bytes_and_another_one_others(patients: Patients) -> None:
    first, again = (trained(patients, steps(1.0, 1.0, 0.5, 2), range(2)) for _ in range(2))
    other = trained(patients, steps(1.0, 1.0, 0.5, 2, "two"), range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_rounds_take_as_many_steps_as_were_agreed_to(patients: Patients) -> None:
    with pytest.raises(ValueError, match="shorter"):
        trained(patients, steps(1.0, 1.0, count=2), range(3))
