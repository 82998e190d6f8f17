"""Variances of AUROCs, and sample sizes: published numbers, other programs, scores drawn and counted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from fedmammo.planning.auroc import (
    Sizes,
    binormal_variance,
    design_effect,
    detectable,
    malignant_needed,
    power_of,
    variance,
    variance_of_difference,
)


def test_the_published_standard_error() -> None:
    """Hanley and McNeil 1982, 58 normal and 51 abnormal computed tomograms, area .893: .032."""
    assert variance(0.893, Sizes(58, 51)) ** 0.5 == pytest.approx(0.032, abs=6e-4)


@pytest.mark.parametrize(("power", "published"), [(0.8, 652), (0.9, 897), (0.95, 1131)])
def test_the_published_sample_sizes(power: float, published: int) -> None:
    """Hanley and McNeil 1982, table III: areas .70 and .75, one-sided 5 %; they round quantiles to three digits."""
    assert malignant_needed(0.70, 0.75, power=power) == pytest.approx(published, rel=3e-3)


def test_a_sample_size_by_hand() -> None:
    """Areas .8 and .9 that correlate by .5, as many benign as malignant.

    Q1 = .8 / 1.2, Q2 = 1.28 / 1.8, V1 = Q1 + Q2 - 1.28 = .097778; .9 / 1.1 + 1.62 / 1.9 - 1.62 = .050813 for .9.
    Null: V1, as 2 V1 (1 - .5); true: V1 + V2 - sqrt(V1 V2) = .078103. (1.6449 x .31270 + .8416 x .27947)^2 / .01.
    """
    assert malignant_needed(0.8, 0.9, 0.5) == pytest.approx(
        (1.64485 * 0.312694 + 0.841621 * 0.279469) ** 2 / 0.01, rel=1e-4
    )


def test_the_power_that_another_program_tells() -> None:
    """Tests of pROC: power.roc.test(ncases=41, ncontrols=72, auc=.73) has a power of .9897453, two-sided 5 %."""
    null, true = (binormal_variance(area, Sizes(72, 41)) ** 0.5 for area in (0.5, 0.73))
    power = norm.cdf((0.23 - norm.ppf(0.975) * null) / true)
    assert power == pytest.approx(0.9897453, abs=5e-6)


def test_it_is_the_variance_of_exponential_scores() -> None:
    """Benign scores of rate 1 and malignant ones of rate r: area 1 / (1 + r), with and without two folds."""
    drawn, area = np.random.default_rng(0), 0.75
    benign = drawn.exponential(1.0, (20_000, 12))
    malignant = drawn.exponential(area / (1 - area), (20_000, 8))
    right = malignant[:, :, None] > benign[:, None, :]
    assert right.mean(axis=(1, 2)).var() == pytest.approx(variance(area, Sizes(12, 8)), rel=0.03)
    in_folds = (right[:, :4, :6].mean(axis=(1, 2)) + right[:, 4:, 6:].mean(axis=(1, 2))) / 2
    assert in_folds.var() == pytest.approx(variance(area, Sizes(12, 8, folds=2)), rel=0.03)


def test_two_ways_to_tell_it_are_near_each_other() -> None:
    """Normal scores give a little more than exponential ones, as Obuchowski 1994 found, and more so as areas near 1."""
    for area in (0.6, 0.7, 0.8):
        sizes = Sizes(300, 200)
        assert binormal_variance(area, sizes) == pytest.approx(variance(area, sizes), rel=0.2)


def test_the_design_effect_by_hand() -> None:
    """Patients with 1, 1 and 4 lesions: the mean lesion has 18 / 6 - 1 = 2 others beside it."""
    assert design_effect([1, 1, 4], 0.5) == 2.0
    assert design_effect([1] * 9, 0.5) == design_effect([3, 2], 0.0) == 1.0
    assert variance(0.8, Sizes(50, 50, effect=2.0)) == 2 * variance(0.8, Sizes(50, 50))


def test_a_difference_by_hand() -> None:
    assert variance_of_difference(0.04, 0.01, 0.5) == pytest.approx(0.03)
    assert variance_of_difference(0.04, 0.04, 1.0) == pytest.approx(0.0)


def test_what_is_detectable_has_that_power() -> None:
    """1.960 + .842 standard errors in large samples; more with few degrees of freedom."""
    assert detectable(0.01) == pytest.approx(0.0280159, rel=1e-5)
    assert detectable(0.01, 9) == pytest.approx(0.01 * (2.262157 + 0.883404), rel=1e-5)
    for freedom in (3.0, 9.0, np.inf):
        assert power_of(detectable(0.02, freedom), 0.02, freedom) == pytest.approx(0.8)
        assert power_of(0.0, 0.02, freedom) == pytest.approx(0.025)


@given(st.floats(0.51, 0.99), st.integers(2, 400), st.integers(2, 400), st.floats(1.1, 9.0))
def test_more_patients_never_make_it_less_sure(area: float, benign: int, malignant: int, more: float) -> None:
    sizes = Sizes(benign, malignant)
    for known in (variance, binormal_variance):
        assert 0 < known(area, sizes.times(more)) < known(area, sizes)
