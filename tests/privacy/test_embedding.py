"""Sums of features: vectors of patients by hand, their length, what noise does to what is read from them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fedmammo.privacy.embedding import ClassMeans, cut, vectors_of_patients
from fedmammo.privacy.mechanism import Mechanism
from fedmammo.privacy.secret import Secret
from fedmammo.privacy.steps import PrivateSteps
from fedmammo.stages.embedding import private_mean

NOISE = 2.0


def steps(
    patients: int, request: str = "a request", sigma: float = NOISE, norm: float = 1.0, sums: bool = False
) -> PrivateSteps:
    mechanism = Mechanism("embedding", norm, sigma, 1.0, 1, 1)
    return PrivateSteps(mechanism, Secret(bytes(32)), request, patients, sums=sums)


def test_vectors_of_two_patients_by_hand() -> None:
    """Four features, of typical length 2: (2, 0, 0, 0) → (1, 0, 0, 0); (6, 8, 0, 0) → (3, 4, 0, 0) → (.6, .8, 0, 0).

    With norm 10 an image's vector is (2.8, 9.6 x features). Patient 0 has the first image, benign, and a malignant one
    of features 0; so half of each. Patient 1 has the second image, malignant.
    """
    features = torch.tensor([[2.0, 0, 0, 0], [0, 0, 0, 0], [6, 8, 0, 0]])
    vectors = vectors_of_patients(cut(features, 2.0), torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), 2, 10.0)
    expected = torch.tensor(
        [
            [[1.4, 4.8, 0, 0, 0], [1.4, 0, 0, 0, 0]],
            [[0, 0, 0, 0, 0], [2.8, 5.76, 7.68, 0, 0]],
        ]
    )
    torch.testing.assert_close(vectors, expected)


@given(st.integers(0, 10**6), st.integers(1, 14), st.floats(0.01, 100))
def test_no_patient_is_longer_than_the_norm_whatever_its_classes(seed: int, images: int, norm: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    features = 10 * torch.randn(images, 5, generator=draw)
    malignant = torch.randint(0, 2, (images,), generator=draw)
    features = cut(features, 5**0.5)
    vectors = vectors_of_patients(features, malignant, torch.zeros(images, dtype=torch.int64), 1, norm)
    assert float(vectors.norm()) <= norm * (1 + 1e-6)


def test_features_are_cut_to_a_length_of_one() -> None:
    drawn = 3 * torch.randn(50, 9, generator=torch.Generator().manual_seed(0))
    lengths = drawn.norm(dim=1) / 3
    torch.testing.assert_close(cut(drawn, 3.0).norm(dim=1), lengths.clamp(max=1))
    assert torch.equal(cut(torch.zeros(1, 9), 3.0), torch.zeros(1, 9))


def cohort(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Six patients with 1, 2, 6, 14, 1 and 3 images: features, classes, whose."""
    draw = torch.Generator().manual_seed(seed)
    whose = torch.repeat_interleave(torch.arange(6), torch.tensor([1, 2, 6, 14, 1, 3]))
    return cut(4 * torch.randn(27, 8, generator=draw), 10.0), torch.randint(0, 2, (27,), generator=draw), whose


@pytest.mark.parametrize("left_out", range(6))
def test_without_noise_neighbouring_sums_differ_by_the_norm_at_most(left_out: int) -> None:
    """In integers; also where an image's features are not numbers, or a vector arrives longer than it should."""
    features, malignant, whose = cohort()
    vectors = vectors_of_patients(features, malignant, whose, 6, 0.5) * 1.7
    vectors[2, 0, 3] = torch.nan
    neighbour = vectors.clone()
    neighbour[left_out] = 0
    private = steps(6, norm=0.5, sums=True)
    sums, grid = [private_mean(each, private) for each in (vectors, neighbour)], private.grid([vectors[0]])
    moved = [first - second for first, second in zip(*(one.flatten().tolist() for one in sums), strict=True)]
    assert sums[0].dtype == torch.int64
    assert sum(number**2 for number in moved) <= grid.sensitivity**2 and grid.sensitivity * grid.step < 0.502


def test_noise_is_there_and_comes_from_secret_and_request() -> None:
    """Of 6 patients' mean, noise has a spread of sigma x norm / 6 on each number; 2 x 1001 numbers."""
    vectors = torch.zeros(6, 2, 1001)
    released = private_mean(vectors, steps(6, norm=3.0))
    assert float(released.std()) == pytest.approx(NOISE * 3 / 6, rel=0.08)
    assert torch.equal(released, private_mean(vectors, steps(6, norm=3.0)))
    assert not private_mean(vectors, steps(6, norm=3.0, sums=True)).any()
    other = private_mean(vectors, steps(6, "another request", norm=3.0))
    assert abs(float(np.corrcoef(released.flatten(), other.flatten())[0, 1])) < 0.1


def test_means_are_read_back_exactly_without_noise() -> None:
    """The mean over images, each as a part of its patient."""
    features, malignant, whose = cohort()
    weights = (1 / torch.bincount(whose)[whose]).double()
    found = ClassMeans.of(vectors_of_patients(features, malignant, whose, 6, 2.5).mean(dim=0), 2.5, 0.0)
    for label in (0, 1):
        own = weights * (malignant == label)
        assert float(found.share[label]) == pytest.approx(float(own.sum() / 6), abs=1e-6)
        expected = (own[:, None] * features).sum(0) / own.sum()
        torch.testing.assert_close(found.means[label], expected, atol=1e-5, rtol=1e-5)
    assert found.noise == 0 and found.noise_over_contrast == 0


def test_noise_over_contrast_is_estimated_from_the_noised_means() -> None:
    """A contrast of .5 in one of 400 numbers; noise of .01 on each number, of shares .5 and norm 1.

    Its length in the difference of means is sqrt(400 x 2) x .01 / (.96 x .5) = .5893: the ratio is near 1.18. Without
    a contrast the difference is now longer, now shorter than expected: about every second time there is no ratio.
    """
    draw = torch.Generator().manual_seed(0)

    def ratio(contrast: float) -> float | None:
        released = torch.zeros(2, 401)
        released[:, 0] = 0.28 * 0.5
        released[1, 1] = 0.96 * 0.5 * contrast
        released[:, 1:] += 0.01 * torch.randn(2, 400, generator=draw)
        found = ClassMeans.of(released, 1.0, 0.01)
        assert found.noise == pytest.approx(0.5893, rel=1e-3)
        return found.noise_over_contrast

    ratios = [ratio(0.5) for _ in range(50)]
    assert np.median([each for each in ratios if each is not None]) == pytest.approx(0.5893 / 0.5, rel=0.1)
    assert 10 <= sum(ratio(0.0) is None for _ in range(50)) <= 40


def test_a_class_that_nobody_has_keeps_a_share() -> None:
    features, _, whose = cohort()
    benign = vectors_of_patients(features, torch.zeros(27, dtype=torch.int64), whose, 6, 1.0).mean(dim=0)
    found = ClassMeans.of(benign, 1.0, 0.0)
    assert float(found.share[1]) == 0.01 and found.means.isfinite().all()
