import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from fedmammo.evaluation.metrics import Scored, Thresholds, Value, weighted_metrics
from fedmammo.evaluation.statistics import (
    draw_resamples,
    holm,
    mean_over_repeats,
    p_value,
    paired_difference,
    percentile_interval,
)

ANY = Thresholds(Value(0.5), Value(0.5))


def test_a_draw_has_as_many_patients_and_seeds_as_there_are_and_repeats() -> None:
    draw = draw_resamples(patients=30, seeds=3, draws=1, resamples=500, seed=7)
    assert draw.patients.shape == (500, 30) and draw.repeats.shape == (500, 3)
    assert (draw.patients.sum(axis=1) == 30).all() and (draw.repeats.sum(axis=1) == 3).all()
    assert np.array_equal(draw.patients, draw_resamples(30, 3, 1, 500, 7).patients)
    assert not np.array_equal(draw.patients, draw_resamples(30, 3, 1, 500, 8).patients)
    # with replacement: a patient's weight is nearly Poisson, variance 1 - 1/30
    assert draw.patients.var() == pytest.approx(1 - 1 / 30, abs=0.03)


def test_mean_over_repeats_by_hand() -> None:
    """Weights (2, 1, 0): (2 x .6 + .9) / 3 = .7, as the undefined third seed was not drawn. Drawn, it counts."""
    values = np.array([[0.6, 0.6], [0.9, 0.9], [np.nan, np.nan]])
    found = mean_over_repeats(values, np.array([[2.0, 1.0, 0.0], [1.0, 1.0, 1.0]]))
    assert found == pytest.approx([0.7, np.nan], nan_ok=True)


def test_seeds_widen_the_interval_as_two_seeds_must() -> None:
    """Two seeds with .6 and .8 for every patient draw: means .6, .7, .8 with chances 1/4, 1/2, 1/4."""
    draw = draw_resamples(patients=5, seeds=2, draws=1, resamples=4000, seed=0)
    found = mean_over_repeats(np.repeat([[0.6], [0.8]], 4000, axis=1), draw.repeats)
    assert [np.isclose(found, value).mean() for value in (0.6, 0.7, 0.8)] == pytest.approx([0.25, 0.5, 0.25], abs=0.03)


def test_interval_is_the_middle_95_percent_and_tells_what_it_left_out() -> None:
    """0 ... 1000: the 2.5 % quantile is 25, the 97.5 % quantile 975."""
    values = np.random.default_rng(0).permutation(np.arange(1001.0))
    assert percentile_interval(values) == (pytest.approx(25), pytest.approx(975), "")
    partly = percentile_interval(np.append(values, np.full(9, np.nan)))
    assert partly == (pytest.approx(25), pytest.approx(975), "interval over 1001 of 1010 resamples")
    mostly = percentile_interval(np.append(values, np.full(1100, np.nan)))
    assert np.isnan(mostly.low) and np.isnan(mostly.high)
    assert mostly.note == "no interval: defined in 1001 of 2101 resamples"


@pytest.mark.parametrize(
    ("below", "zero", "above", "expected"),
    [(0, 0, 39, 0.05), (1, 0, 38, 0.1), (38, 0, 1, 0.1), (3, 2, 34, 0.3), (20, 0, 19, 1.0), (0, 39, 0, 1.0)],
)
def test_p_by_hand(below: int, zero: int, above: int, expected: float) -> None:
    """39 resamples: p = 2 (k + 1) / 40 with k in the smaller tail, zeros in both, at most 1."""
    assert p_value(np.repeat([-1.0, 0.0, 1.0], [below, zero, above])) == pytest.approx(expected)


@given(st.floats(-4, 4), st.integers(0, 5))
def test_p_inverts_the_interval(shift: float, seed: int) -> None:
    resampled = np.random.default_rng(seed).normal(shift, 1, 1999)
    p, interval = p_value(resampled), percentile_interval(resampled)
    assert 0 < p <= 1
    if p < 0.048:
        assert not interval.low <= 0 <= interval.high
    if p > 0.052:
        assert interval.low <= 0 <= interval.high


def test_holm_by_hand() -> None:
    """Sorted .005 x 4, .01 x 3, .03 x 2, .04 x 1 = .02, .03, .06, .04, made monotone: .06 for the last."""
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.01, np.nan, 0.6])) == pytest.approx([0.02, np.nan, 0.6], nan_ok=True)
    assert holm(np.array([0.7, 0.8])) == pytest.approx([1.0, 1.0])
    assert holm(np.array([])).shape == (0,)


@given(st.lists(st.floats(1e-4, 1), min_size=1, max_size=8))
def test_holm_lies_between_no_adjustment_and_bonferroni_and_keeps_the_order(p: list[float]) -> None:
    raw = np.array(p)
    adjusted = holm(raw)
    assert (adjusted >= raw).all() and (adjusted <= np.minimum(1, raw * len(raw)) + 1e-15).all()
    assert (np.diff(adjusted[np.argsort(raw)]) >= 0).all()


def test_identical_arms_differ_by_0_with_p_1_even_after_rounding() -> None:
    resampled = np.random.default_rng(0).random(200)
    same = np.mean([resampled * 3, resampled * 3, resampled * 3], axis=0) / 3  # equal but for the last bits
    assert (same != resampled).any()
    assert paired_difference(0.7, 0.7 + 1e-16, resampled, same) == (0, 0, 0, 0, 1)


def test_what_is_lost_at_most_has_one_side() -> None:
    """Resampled differences -.100, -.099 ... 0: a twentieth of them lies below -.095, a fortieth below -.0975."""
    lost = paired_difference(0.75, 0.8, np.linspace(-0.1, 0, 101), np.zeros(101))
    assert lost.at_least == pytest.approx(-0.095) and lost.low == pytest.approx(-0.0975)


def test_an_undefined_difference_has_no_interval_and_no_p() -> None:
    resampled = np.linspace(0, 1, 100)
    found = paired_difference(np.nan, 0.5, resampled, resampled[::-1])
    assert np.isnan(found).all()
    rarely = paired_difference(0.6, 0.5, np.where(resampled < 0.3, resampled, np.nan), resampled)
    assert rarely.difference == pytest.approx(0.1) and np.isnan(rarely[1:]).all()


@pytest.mark.parametrize(("images", "spread_within_patient"), [(1, 0.0), (3, 0.3)])
def test_the_interval_covers_the_true_auroc_because_patients_stay_whole(
    images: int, spread_within_patient: float
) -> None:
    """Binormal scores: benign N(0, 1 + w^2), malignant N(1, 1 + w^2), so the AUROC is Phi(1 / sqrt(2 (1 + w^2))).

    95 % must be met in 300 studies within 3 standard errors (.013 each). Three images of a patient are nearly
    one observation: an interval that resamples images instead would be much narrower and fall far short.
    """
    rng = np.random.default_rng(11)
    studies, patients = 300, 60
    label = np.repeat(np.arange(patients) % 2, images)
    owner = np.repeat(np.arange(patients), images)
    truth = norm.cdf(1 / np.sqrt(2 * (1 + spread_within_patient**2)))
    by_patient = by_image = 0
    for study in range(studies):
        raw = label + rng.normal(size=patients)[owner] + spread_within_patient * rng.normal(size=len(label))
        score = norm.cdf(raw)  # into [0, 1]; the order, and so the AUROC, stays
        for whole in (True, False):
            scored = Scored(label, score, owner if whole else np.arange(len(label)))
            draw = draw_resamples(patients if whole else len(label), 1, 1, 250, study)
            interval = percentile_interval(weighted_metrics(scored, ANY, draw.patients)["auroc"])
            by_patient += whole and interval.low <= truth <= interval.high
            by_image += not whole and interval.low <= truth <= interval.high
    assert 0.91 <= by_patient / studies <= 0.985
    if images > 1:
        assert by_image / studies < 0.85


def test_seeds_and_draws_of_hospitals_are_crossed() -> None:
    """A repeat's weight is its seed's times its draw's, so 2 seeds x 3 draws are a table of rank one, sum 6."""
    draw = draw_resamples(patients=5, seeds=2, draws=3, resamples=200, seed=0)
    tables = draw.repeats.reshape(200, 2, 3)
    assert (tables.sum(axis=(1, 2)) == 6).all()
    assert (tables.sum(axis=2) % 3 == 0).all() and (tables.sum(axis=1) % 2 == 0).all()
    assert all(np.linalg.matrix_rank(table) == 1 for table in tables)
    assert np.array_equal(draw.patients, draw_resamples(5, 2, 1, 200, 0).patients)
