"""The kernel distance: by hand, against a plain double loop, unbiased over patients, and its p."""

import numpy as np
import pytest

from fedmammo.hospitals.kernel_distance import kernel_distances


def test_four_patients_by_hand() -> None:
    """Values 0, 1 at hospital a and 2, 4 at b. Distances between patients: 1, 2, 4, 1, 3, 2, median of squares 4.

    k = exp(-d^2 / 8): within a exp(-1/8) = .882497, within b exp(-4/8) = .606531; between: the mean of exp(-4/8),
    exp(-16/8), exp(-1/8), exp(-9/8) = (.606531 + .135335 + .882497 + .324652) / 4 = .487254. So the distance is
    .882497 + .606531 - 2 x .487254 = .51452, for both.
    """
    table = kernel_distances([[0.0], [1.0], [2.0], [4.0]], ["p", "q", "r", "s"], list("aabb"), seed=0)
    assert table["hospital"].tolist() == ["a", "b"]
    assert table["feature distance"].tolist() == pytest.approx([0.51452] * 2, abs=1e-5)


def test_images_of_one_patient_are_not_paired() -> None:
    """Against sums over pairs of images of different patients, written out."""
    generator = np.random.default_rng(3)
    features = generator.normal(size=(12, 4))
    patient = np.array([0, 0, 1, 2, 2, 2, 3, 4, 4, 5, 6, 6])
    hospital = np.where(np.isin(patient, [1, 2, 5]), "a", "b")
    squared = ((features[:, None] - features[None]) ** 2).sum(2)
    apart = patient[:, None] != patient[None]
    kernel = np.exp(-squared / (2 * np.median(squared[apart])))

    def mean(left: str, right: str) -> float:
        pairs = apart & np.outer(hospital == left, hospital == right)
        return float(kernel[pairs].mean())

    expected = mean("a", "a") + mean("b", "b") - 2 * mean("a", "b")
    table = kernel_distances(features, patient, hospital, seed=0)
    assert table["feature distance"].tolist() == pytest.approx([expected] * 2)


def test_hospitals_alike_are_at_zero_on_average_and_p_is_uniform() -> None:
    """40 cohorts of 30 patients with 3 nearly equal images each: no image-level resampling would survive that."""
    found, p = [], []
    for seed in range(40):
        generator = np.random.default_rng(seed)
        patient = np.repeat(np.arange(30), 3)
        features = generator.normal(size=(30, 5))[patient] + 0.01 * generator.normal(size=(90, 5))
        table = kernel_distances(features, patient, np.where(patient % 3 == 0, "a", "b"), seed)
        found.append(table["feature distance"][0])
        p.append(table["p"][0])
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(40)
    assert 0.35 < np.mean(p) < 0.65


def test_a_hospital_that_differs_is_found() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(60, 5))
    features[:20] += 1.5
    table = kernel_distances(features, np.arange(60), ["a"] * 20 + ["b"] * 20 + ["c"] * 20, seed=0)
    assert table["p"][0] == pytest.approx(0.001)
    assert table["feature distance"][0] > 2 * table["feature distance"][1]


def test_the_order_of_images_does_not_matter_and_the_seed_hardly() -> None:
    generator = np.random.default_rng(1)
    features, patient = generator.normal(size=(40, 3)), np.repeat(np.arange(20), 2)
    hospital = np.where(patient < 8, "a", "b")
    order = generator.permutation(40)
    table = kernel_distances(features, patient, hospital, seed=0)
    again = kernel_distances(features[order], patient[order], hospital[order], seed=0)
    other = kernel_distances(features, patient, hospital, seed=1)
    np.testing.assert_allclose(again["feature distance"], table["feature distance"])
    np.testing.assert_allclose(again["p"], table["p"], atol=0.002)
    np.testing.assert_allclose(other["p"], table["p"], atol=0.1)


def test_one_patient_or_one_hospital_has_no_distance() -> None:
    table = kernel_distances(np.eye(4), list("pqrs"), list("abbb"), seed=0)
    assert table[["feature distance", "p"]].isna().all(axis=None)
    assert kernel_distances(np.eye(3), list("pqr"), list("aaa"), seed=0)["p"].isna().all()
    equal = kernel_distances(np.zeros((4, 2)), list("pqrs"), list("aabb"), seed=0)
    assert equal["feature distance"].tolist() == [0, 0]
    assert equal["p"].tolist() == [1, 1]
