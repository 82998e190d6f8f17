"""Fréchet and kernel distance: by hand, against the textbook's formula, and what sample sizes do to them."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from fedmammo.synthesis.distances import frechet_distance, kernel_distance


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


def test_kernel_distance_by_hand() -> None:
    """(xy + 1)^3: within 0, 1: 1; within 1, 2: 27; between: 1, 1, 8 and 27, mean 9.25. 1 + 27 - 2 x 9.25 = 9.5."""
    assert kernel_distance([[0.0], [1.0]], [[1.0], [2.0]]) == pytest.approx(9.5)


def test_the_kernel_divides_by_the_number_of_columns() -> None:
    """Every column said twice gives what it gave once."""
    first, second = np.array([[0.0, 3.0], [1.0, -1.0]]), np.array([[1.0, 0.5], [2.0, 2.0]])
    twice = kernel_distance(np.hstack([first, first]), np.hstack([second, second]))
    assert twice == pytest.approx(kernel_distance(first, second))


@pytest.mark.parametrize("images", [3, 30])
def test_the_kernel_distance_of_like_images_is_zero_on_average_whatever_their_number(images: int) -> None:
    generator = np.random.default_rng(images)
    found = [kernel_distance(*generator.normal(size=(2, images, 4))) for _ in range(400)]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(400)


def test_the_frechet_distance_of_like_images_falls_with_their_number() -> None:
    """Why nothing but values at equal numbers may be compared."""
    generator = np.random.default_rng(0)
    few, many = (frechet_distance(*generator.normal(size=(2, images, 20))) for images in (25, 400))
    assert few > 5 * many > 0
