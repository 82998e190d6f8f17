import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2
from scipy.stats import t as student

from fedmammo.evaluation.random_effects import LEVELS, _by_confidence, fit, predicted

# Colditz et al. 1994 (JAMA 271:698), as in metadat's dat.bcg: tuberculosis and not, with and without vaccine; latitude
BCG = np.array([
    (4, 119, 11, 128, 44), (6, 300, 29, 274, 55), (3, 228, 11, 209, 42), (62, 13536, 248, 12619, 52),
    (33, 5036, 47, 5761, 13), (180, 1361, 372, 1079, 44), (8, 2537, 10, 619, 19), (505, 87886, 499, 87892, 13),
    (29, 7470, 45, 7232, 27), (17, 1699, 65, 1600, 42), (186, 50448, 141, 27197, 18), (5, 2493, 3, 2338, 33),
    (27, 16886, 29, 17825, 33),
])  # fmt: skip


@pytest.fixture(scope="module")
def vaccine() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log risk ratios, their variances, and absolute latitudes of 13 trials."""
    sick, well, sick_without, well_without, latitude = BCG.T.astype(float)
    with_it, without = sick + well, sick_without + well_without
    ratio = np.log(sick / with_it / (sick_without / without))
    return ratio, 1 / sick - 1 / with_it + 1 / sick_without - 1 / without, latitude


def test_vaccine_trials_as_published(vaccine: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """As metafor prints rma(yi, vi, data = dat.bcg, test = "knha") (Viechtbauer 2010, J Stat Softw 36(3))."""
    found = fit(*vaccine[:2])
    far = student.ppf(0.975, 12) * found.errors[0]
    assert found.estimates[0] == pytest.approx(-0.7145, abs=5e-5)
    assert found.errors[0] == pytest.approx(0.1808, abs=5e-5)
    assert (found.estimates[0] - far, found.estimates[0] + far) == pytest.approx((-1.1084, -0.3206), abs=5e-5)
    assert (found.tau2, found.q, found.freedom) == pytest.approx((0.3132, 152.2330, 12), abs=5e-5)
    assert found.i2 == pytest.approx(0.9222, abs=5e-5)


def test_vaccine_trials_by_hand(vaccine: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """The estimating equation of restricted likelihood, written out for a mean, and Hartung and Knapp's formulae.

    tau² = sum(w² ((y - m)² - v)) / sum(w²) + 1 / sum(w) with w = 1 / (v + tau²) (Viechtbauer 2005, equation for REML).
    """
    effects, variances, _ = vaccine
    found = fit(effects, variances)
    weights = 1 / (variances + found.tau2)
    mean = (weights * effects).sum() / weights.sum()
    again = (weights**2 * ((effects - mean) ** 2 - variances)).sum() / (weights**2).sum() + 1 / weights.sum()
    assert found.tau2 == pytest.approx(again, rel=1e-9)
    assert found.estimates[0] == pytest.approx(mean)
    observed = (weights * (effects - mean) ** 2).sum() / (12 * weights.sum())
    assert observed > 1 / weights.sum(), "the guard changes nothing here"
    assert found.errors[0] ** 2 == pytest.approx(observed)
    fixed = 1 / variances
    q = (fixed * (effects - (fixed * effects).sum() / fixed.sum()) ** 2).sum()
    typical = 12 * fixed.sum() / (fixed.sum() ** 2 - (fixed**2).sum())  # Higgins and Thompson 2002, equation 9
    assert (found.q, found.i2) == pytest.approx((q, found.tau2 / (found.tau2 + typical)))
    far = student.ppf(0.975, 11) * (found.tau2 + observed) ** 0.5
    low, high = predicted(found)
    assert low <= mean - far and mean + far <= high, "Higgins's, or further out"
    assert high - low < 1.1 * 2 * far


def test_latitude_explains_the_vaccine_trials(vaccine: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """As metafor prints the mixed model: intercept .2515, slope -.0291, tau² .0764, Q 30.7331 on 11, I² 68.39 %.

    The error is Knapp and Hartung's: that of weighted least squares, by what is left of each trial.
    """
    effects, variances, latitude = vaccine
    found = fit(effects, variances, np.column_stack([np.ones(13), latitude]))
    assert found.estimates == pytest.approx([0.2515, -0.0291], abs=5e-5)
    assert (found.q, found.freedom) == pytest.approx((30.7331, 11), abs=5e-5)
    assert found.tau2 == pytest.approx(0.0764, abs=5e-5 + 1e-5)  # where its iterations stop
    assert found.i2 == pytest.approx(0.6839, abs=5e-4)
    weights = 1 / (variances + found.tau2)
    centred = latitude - (weights * latitude).sum() / weights.sum()
    left = effects - found.estimates[0] - found.estimates[1] * latitude
    error2 = (weights * left**2).sum() / 11 / (weights * centred**2).sum()
    assert found.errors[1] ** 2 == pytest.approx(error2)


def test_three_alike_hospitals_by_hand() -> None:
    """0, .1 and .2, each with variance .0025: their own variance is .01, so tau² .0075 and the error's square .01 / 3.

    Q = .02 / .0025 = 8 on 2 degrees: I² = .75. A new hospital: t of 1 degree, 12.706, times root(.0075 + .01 / 3).
    """
    found = fit(np.array([0.0, 0.1, 0.2]), np.full(3, 0.0025))
    assert found.estimates[0] == pytest.approx(0.1)
    assert found.errors[0] ** 2 == pytest.approx(0.01 / 3)
    assert (found.tau2, found.q, found.i2) == pytest.approx((0.0075, 8, 0.75))
    assert found.lines[0] == pytest.approx([1 / 3] * 3)
    assert predicted(found)[1] == pytest.approx(0.1 + 12.7062 * (0.0075 + 0.01 / 3) ** 0.5, abs=1e-5)


def test_hospitals_that_agree_too_well_do_not_make_it_surer() -> None:
    """.1 three times: no tau, and the error of a fixed effect, where Hartung and Knapp's alone would be 0."""
    found = fit(np.full(3, 0.1), np.array([0.01, 0.02, 0.04]))
    assert (found.tau2, found.i2) == (0, 0)
    assert found.errors[0] ** 2 == pytest.approx(1 / (100 + 50 + 25))


def test_a_slope_by_hand() -> None:
    """0 .1 .3 .4 over 0 1 2 3: slope .7 / 5; left .01 -.03 .03 -.01, so .002 / 2 = .001 = .0004 + tau²."""
    design = np.column_stack([np.ones(4), np.arange(4.0)])
    found = fit(np.array([0.0, 0.1, 0.3, 0.4]), np.full(4, 0.0004), design)
    assert found.estimates == pytest.approx([-0.01, 0.14])
    assert found.tau2 == pytest.approx(0.0006)
    assert found.errors[1] ** 2 == pytest.approx(0.001 / 5)


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 9), st.integers(0, 10_000), st.floats(-1, 1), st.floats(0.01, 100))
def test_moved_and_stretched(hospitals: int, seed: int, away: float, by: float) -> None:
    drawn = np.random.default_rng(seed)
    effects, variances = drawn.normal(0, 0.1, hospitals), drawn.uniform(0.001, 0.02, hospitals)
    one, other = fit(effects, variances), fit(by * (effects + away), by**2 * variances)
    assert other.estimates[0] == pytest.approx(by * (one.estimates[0] + away), abs=1e-6 * by)
    assert other.errors[0] == pytest.approx(by * one.errors[0], rel=1e-6)
    assert other.tau2 == pytest.approx(by**2 * one.tau2, rel=1e-5, abs=1e-9 * by**2)
    assert one.lines.sum() == pytest.approx(1) and one.errors[0] ** 2 >= 1 / (1 / variances).sum() - 1e-15


@pytest.mark.parametrize(("hospitals", "tau"), [(4, 0.0), (4, 0.05), (8, 0.05)])
def test_intervals_cover(hospitals: int, tau: float) -> None:
    """In 300 data sets of hospitals of unequal size: the mean in 95 %, or more where the guard holds.

    Those of Higgins et al. alone would hold the new one of eight in .87.
    """
    drawn, variances = np.random.default_rng(1), np.linspace(0.0005, 0.006, hospitals)
    mean = new = 0
    for _ in range(300):
        effects = 0.05 + tau * drawn.normal(size=hospitals) + variances**0.5 * drawn.normal(size=hospitals)
        found = fit(effects, variances)
        mean += abs(found.estimates[0] - 0.05) < student.ppf(0.975, found.freedom) * found.errors[0]
        low, high = predicted(found)
        new += low < 0.05 + tau * drawn.normal() < high
    assert mean / 300 > 0.91 and (tau == 0 or mean / 300 < 0.99)
    assert new / 300 > 0.92


def test_a_new_hospital_among_alike_ones_by_hand() -> None:
    """Effects 0, .1 and .2 with variance v each: generalised Q is .02 / (v + tau²), so tau² = .02 / chi² - v, or 0.

    The mixture of normal distributions around .1, each of variance tau² + (tau² + v) / 3, has 2.5 % above its limit.
    """
    variance, levels = 0.002, (np.arange(LEVELS) + 0.5) / LEVELS
    drawn = np.random.default_rng(0)
    tau2 = np.maximum(0.02 / chi2.ppf(levels, 2) - variance, 0)
    many = 0.1 + drawn.normal(size=(4000, LEVELS)) * np.sqrt(tau2 + (tau2 + variance) / 3)
    found = fit(np.array([0.0, 0.1, 0.2]), np.full(3, variance))

    assert _by_confidence(found, 0.0)[1] == pytest.approx(np.quantile(many, 0.975), rel=0.02)
    assert predicted(found, 0.01)[1] > predicted(found)[1]
