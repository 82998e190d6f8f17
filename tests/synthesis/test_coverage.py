"""Precision, recall, density and coverage: by hand on a line, and what they tell apart."""

import numpy as np
import pytest

from fedmammo.synthesis.coverage import coverage_of


def column(*values: float) -> np.ndarray:
    return np.array(values)[:, None]


def test_by_hand() -> None:
    """Nearest neighbours give radii 1, 1, 2, 3, 1, 1 to the real and 3, 1, 1, 9.5 to the synthetic images.

    Synthetic 0.5 lies in the balls of 0 and 1; 3.5 and 4.5 in those of 3 and 6; -9 in none: precision 3/4, density
    6/4; the balls of 50 and 51 are empty: coverage 4/6. Real 0, 1 and 3 lie in 0.5's ball, 6 in none: recall 3/6.
    """
    found = coverage_of(column(0, 1, 3, 6, 50, 51), column(0.5, 3.5, 4.5, -9), neighbours=1)
    assert found == pytest.approx((3 / 4, 3 / 6, 6 / 4, 4 / 6))


def test_the_edge_of_a_ball_is_outside() -> None:
    """2 is as far from 1 as 0 is."""
    assert coverage_of(column(0, 1), column(2, 9), neighbours=1).precision == 0


def test_the_image_itself_is_not_its_neighbour() -> None:
    """Second neighbours: 0's is 3, so its ball holds 2; first neighbours would leave it out."""
    assert coverage_of(column(0, 1, 3), column(-2, 90, 91), neighbours=2).precision == pytest.approx(1 / 3)


def test_like_images_cover_each_other() -> None:
    real, synthetic = np.random.default_rng(0).normal(size=(2, 300, 4))
    found = coverage_of(real, synthetic)
    assert min(found) > 0.85
    assert found.density == pytest.approx(1, abs=0.1)


def test_a_generator_that_knows_one_image_is_precise_and_covers_nothing() -> None:
    generator = np.random.default_rng(0)
    real = generator.normal(size=(300, 4))
    found = coverage_of(real, 0.01 * generator.normal(size=(300, 4)))
    assert found.precision == 1
    assert found.recall < 0.01
    assert found.coverage < 0.2


def test_a_generator_that_spreads_too_far_recalls_everything_and_is_not_precise() -> None:
    generator = np.random.default_rng(0)
    found = coverage_of(generator.normal(size=(300, 4)), 5 * generator.normal(size=(300, 4)))
    assert found.precision < 0.2
    assert found.recall > 0.8
