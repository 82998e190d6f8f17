"""What is planned is what a finished study finds: the analysis of variance, forwards and backwards."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from fedmammo.evaluation.variance import Sample, covariance_of, spread_of
from fedmammo.planning.pilot import components_of
from fedmammo.planning.precision import Components, Repeats, precision_of, why_no_interval

PARTS = Components(seeds=0.0, draws=4e-4, rest=0.0, alone=9e-4, shared=5e-4, patients=100, freedom=98)


def sample_of(seeds: int, draws: int, patients: int, seed: int) -> Sample:
    """A difference that patients move alike in all repeats, and otherwise in each."""
    drawn = np.random.default_rng(seed)
    label = drawn.permutation(np.arange(patients) % 2)
    has = np.stack([label == 0, label == 1])
    moved = drawn.normal(size=(1, 1, 2, patients)) + drawn.normal(size=(seeds, draws, 2, patients))
    values = drawn.normal(0.05, 0.02, (seeds, draws)) + drawn.normal(0, 0.02, (seeds, 1))
    return Sample(values, moved * has / patients, has, patients // 2)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(10, 60), st.integers(0, 10**6))
def test_a_study_like_its_pilot_is_as_sure_as_the_pilot_was(seeds: int, draws: int, patients: int, seed: int) -> None:
    """But where both factors vary, and either explains less than nothing, or less than these patients alone do.

    A finished study then takes what is larger, of numbers that are not kept.
    """
    sample = sample_of(seeds, draws, patients, seed)
    parts = components_of(sample, patients)
    found, spread = precision_of(parts, Repeats(seeds, draws)), spread_of(sample)
    if min(seeds, draws) > 1:
        least = float(covariance_of(sample).mean())
        if min(parts.seeds, parts.draws) <= 0 or max(spread.error, found.error) ** 2 <= least * 1.5:
            return
    assert found.error == pytest.approx(spread.error)
    assert found.freedom == pytest.approx(spread.freedom)
    assert found.of_repeats == pytest.approx(spread.of_repeats)
    assert found.half_width == pytest.approx(spread.error * student.ppf(0.975, spread.freedom))


def test_an_error_by_hand() -> None:
    """Ten draws: .0004 / 10 + .0005 = .00054, of which 7.4 % comes from draws; one: patients alone."""
    found = precision_of(PARTS, Repeats(1, 10))
    assert found.error == pytest.approx(0.00054**0.5) and found.of_repeats == pytest.approx(0.04 / 0.54)
    assert found.freedom == pytest.approx(0.54**2 / (0.04**2 / 9 + 0.5**2 / 98))
    alone = precision_of(PARTS, Repeats(1, 1))
    assert (alone.error, alone.of_repeats, alone.freedom) == (pytest.approx(0.03), 0.0, pytest.approx(98))


def test_crossed_factors_by_hand() -> None:
    """Variances 2, 3, 6 of seeds, draws and both: 2 / 2 + 3 / 3 + 6 / 6 = 3."""
    parts = Components(2.0, 3.0, 6.0, 1.0, 0.5, 100, 98)
    found = precision_of(parts, Repeats(2, 3))
    assert found.error**2 == pytest.approx(3.5) and found.of_repeats == pytest.approx(3 / 3.5)
    assert precision_of(parts, Repeats(1, 3)).error ** 2 == pytest.approx((3 + 6) / 3 + 0.5)
    assert precision_of(parts, Repeats(2, 1)).error ** 2 == pytest.approx((2 + 6) / 2 + 0.5)


def test_more_patients_leave_what_comes_from_who_learned() -> None:
    """Draws differ by .0004, all of it because other patients tell (.0009 - .0005): four times as many, a quarter."""
    more = PARTS.with_patients(400)
    assert more == pytest.approx((0.0, 1e-4, 0.0, 2.25e-4, 1.25e-4, 400, 392))
    learned = PARTS._replace(draws=1.4e-3).with_patients(400)
    assert learned.draws == pytest.approx(1e-3 + 1e-4)
    assert PARTS.with_patients(100) == pytest.approx(PARTS)


def test_who_will_have_no_interval_is_told_before() -> None:
    assert why_no_interval(Repeats(1, 10), 50) == (
        "no interval: fewer than 20 draws of hospitals; each stands in its own row"
    )
    assert why_no_interval(Repeats(2, 1), 50) == "no interval: two seeds do not show how they differ"
    assert why_no_interval(Repeats(1, 20), 9) == "no interval: fewer than 10 patients of a class"
    assert why_no_interval(Repeats(3, 20), 10) == why_no_interval(Repeats(1, 1), 10) == ""
