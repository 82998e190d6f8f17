"""Fréchet and kernel distance: by hand, against the textbook's formula, what patients and sample sizes do to them."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import sqrtm

from fedmammo.synthesis.distances import extrapolated_frechet_distance, frechet_distance, kernel_distance


def pairs(patients: int, columns: int, generator: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Two images of each patient, each of variance 1, correlated by .7; whose they are."""
    patient = np.arange(2 * patients) // 2
    common, own = generator.normal(size=(patients, columns))[patient], generator.normal(size=(2 * patients, columns))
    return np.sqrt(0.7) * common + np.sqrt(0.3) * own, patient


def is_zero_on_average(found: list[float]) -> bool:
    return bool(abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(len(found)))


def test_frechet_distance_by_hand() -> None:
    """Means 1 and 5, variances 2 and 8: 4^2 + 2 + 8 - 2 root(2 x 8) = 18."""
    assert frechet_distance([[0.0], [2.0]], [[3.0], [7.0]]) == pytest.approx(18)


def test_frechet_distance_is_the_textbooks() -> None:
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(4, 4))
    first, second = generator.normal(size=(50, 4)), generator.normal(size=(70, 4)) @ mixing + 0.5
    root = sqrtm(np.cov(first.T) @ np.cov(second.T)).real
    expected = np.sum((first.mean(0) - second.mean(0)) ** 2) + np.trace(np.cov(first.T) + np.cov(second.T) - 2 * root)
    assert frechet_distance(first, second) == pytest.approx(expected)
    assert frechet_distance(second, first) == pytest.approx(expected)


def test_fewer_images_than_columns_are_no_trouble() -> None:
    """Shifted by 1 in each of 100 columns, with the same covariance: 100."""
    features = np.random.default_rng(0).normal(size=(7, 100))
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(features, features + 1) == pytest.approx(100)


def test_the_frechet_distance_of_like_images_falls_with_their_number() -> None:
    """Why it is extrapolated; where it is not, nothing but values at equal numbers may be compared."""
    generator = np.random.default_rng(0)
    few, many = (frechet_distance(*generator.normal(size=(2, images, 20))) for images in (25, 400))
    assert few > 5 * many > 0


def test_an_extrapolated_distance_by_hand() -> None:
    """Two patients who are each all the same: at every share 3^2 + 4^2, so on a level line."""
    first, second = np.zeros((4, 2)), np.tile([3.0, 4.0], (6, 1))
    found = extrapolated_frechet_distance(first, second, list("aabb"), list("cccddd"), np.random.default_rng(0))
    assert found == pytest.approx(25)


def test_a_line_is_fitted_to_distances_of_whole_patients(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of distances, 7 + 24 / patients: the line meets infinitely many at 7; half to all of 24 are seen."""
    seen = []

    def distance(first: NDArray, second: NDArray) -> float:
        numbers, images = np.unique(first, return_counts=True)
        assert (images == 2).all(), "patients are whole"
        seen.append((len(numbers), len(second)))
        return 7 + 24 / np.linspace(12, 24, 8)[len(seen) - 1]

    monkeypatch.setattr("fedmammo.synthesis.distances.frechet_distance", distance)
    patients, nobody = np.repeat(np.arange(24), 2), np.arange(100)
    found = extrapolated_frechet_distance(
        patients[:, None], nobody[:, None], patients, nobody, np.random.default_rng(0)
    )
    assert found == pytest.approx(7)
    assert seen == [(12, 50), (14, 57), (15, 64), (17, 71), (19, 79), (21, 86), (22, 93), (24, 100)]


@pytest.mark.parametrize("patients", [64, 200])
def test_the_extrapolated_distance_does_not_depend_on_the_number_of_patients(patients: int) -> None:
    """Like images 0; images shrunk to 70 % of the spread .3^2 in each of 16 columns; means .5 apart .5^2 in each."""
    generator, found = np.random.default_rng(patients), []
    for _ in range(40):
        (real, whose), nobody = pairs(patients, 16, generator), np.arange(300)
        drawn = generator.normal(size=(300, 16))
        found.append(
            [
                extrapolated_frechet_distance(real, other, whose, nobody, generator)
                for other in (drawn, 0.7 * drawn, drawn + 0.5)
            ]
        )
    errors = np.std(found, axis=0) / np.sqrt(len(found))
    assert (abs(np.mean(found, axis=0) - 16 * np.array([0, 0.3**2, 0.5**2])) < 3 * errors).all()
    assert (errors < 0.2).all()


def test_images_in_place_of_patients_would_leave_a_distance() -> None:
    generator = np.random.default_rng(0)
    found = []
    for _ in range(20):
        (first, one), (second, other) = (pairs(64, 16, generator) for _ in range(2))
        images = np.arange(len(first))
        found.append(
            [extrapolated_frechet_distance(first, second, *whose, generator) for whose in ((one, other), (images,) * 2)]
        )
    whole, single = np.transpose(found)
    assert is_zero_on_average(whole)
    assert single.mean() > 0.3


def test_kernel_distance_by_hand() -> None:
    """(xy + 1)^3: within 0, 1: 1; within 1, 2: 27; between: 1, 1, 8 and 27, mean 9.25. 1 + 27 - 2 x 9.25 = 9.5."""
    assert kernel_distance([[0.0], [1.0]], [[1.0], [2.0]], ["a", "b"], ["c", "d"]) == pytest.approx(9.5)


def test_pairs_of_one_patient_do_not_count_by_hand() -> None:
    """Within 0 of a, 1 and 2 of b: 1, 1; within 1 of a, 2 of c: 27; between without a with a: 1, 8, 27, 27, 125.

    1 + 27 - 2 x 188 / 5 = -47.2.
    """
    found = kernel_distance([[0.0], [1.0], [2.0]], [[1.0], [2.0]], ["a", "b", "b"], ["a", "c"])
    assert found == pytest.approx(-47.2)


def test_one_patient_alone_has_no_kernel_distance() -> None:
    features = np.ones((3, 2))
    assert np.isnan(kernel_distance(features, features, ["a", "a", "a"], ["b", "c", "d"]))
    assert np.isnan(kernel_distance(features, features, ["b", "c", "d"], ["a", "a", "a"]))


def test_the_kernel_divides_by_the_number_of_columns() -> None:
    """Every column said twice gives what it gave once."""
    first, second = np.array([[0.0, 3.0], [1.0, -1.0]]), np.array([[1.0, 0.5], [2.0, 2.0]])
    twice = kernel_distance(np.hstack([first, first]), np.hstack([second, second]), [0, 1], [2, 3])
    assert twice == pytest.approx(kernel_distance(first, second, [0, 1], [2, 3]))


@pytest.mark.parametrize("patients", [3, 30])
def test_the_kernel_distance_of_like_patients_is_zero_on_average_whatever_their_number(patients: int) -> None:
    """With pairs of one patient it is not, and the fewer patients the less."""
    generator = np.random.default_rng(patients)
    found = []
    for _ in range(400):
        (first, one), (second, other) = (pairs(patients, 4, generator) for _ in range(2))
        images = np.arange(len(first))
        found.append(
            [kernel_distance(first, second, *whose) for whose in ((one, patients + other), (images, 99 + images))]
        )
    apart, with_pairs = np.transpose(found)
    assert is_zero_on_average(apart)
    assert not is_zero_on_average(with_pairs)
    assert with_pairs.mean() > 0
