import warnings
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import binom
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from fedmammo.evaluation import calibration
from fedmammo.evaluation.calibration import (
    FEWEST,
    Line,
    brier,
    error,
    fit,
    fit_shift,
    in_bin,
    intercept,
    log_odds,
    recalibration,
    slope,
)
from fedmammo.evaluation.tested import Floats, Measure, UndefinedError
from fedmammo.evaluation.tested import Tested as Units  # a name that pytest takes for no test

TRUTH = np.array([0, 1, 1, 0, 0, 0, 0, 0, 0, 0])
TOLD = np.array([0.01, 0.01, 0.24, 0.22, 0.02, 0.1, 0.03, 0.12, 0.04, 0.01])


FEWEST_UNITS = calibration.FEWEST_UNITS


@pytest.fixture(autouse=True)
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a calibration error be worked out by hand."""
    monkeypatch.setattr(calibration, "FEWEST_UNITS", 1)


def test_a_calibration_error_needs_a_hundred_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "FEWEST_UNITS", FEWEST_UNITS)
    label = [0, 1] * 50
    with pytest.raises(UndefinedError, match=r"^fewer than 100 tested$"):
        error(units(label[1:], [0.5] * 99))
    assert error(units(label, [0.5] * 100)).value == 0


Derivative = Callable[[Measure, Units], Floats]


def units(label: list[int] | np.ndarray, score: list[float] | Floats, patient: np.ndarray | None = None) -> Units:
    count = len(label)
    none, fold = np.full(count, np.nan), np.zeros(count, dtype=np.int64)
    owner = np.arange(count) if patient is None else patient
    return Units(np.array(label, dtype=np.int64), np.array(score, dtype=float), owner, fold, none, none, none)


def test_slope_and_intercept_that_others_publish() -> None:
    """Ten predictions of github.com/tuur/CalibrationSlopeInterceptPython, whose readme prints slope and intercept.

    Calibration in the large: the shift of log odds after which the sum of probabilities is 2, found by bisection here.
    """
    line = fit(TRUTH, TOLD)
    assert line.slope == pytest.approx(0.16386382554885154, abs=1e-6)
    assert line.intercept == pytest.approx(-0.8927315726785341, abs=1e-6)
    one = units(TRUTH, TOLD)
    assert slope(one).value == line.slope
    expected = brentq(lambda shift: expit(logit(TOLD) + shift).sum() - 2, -5, 5, xtol=1e-14)
    assert expected == pytest.approx(1.23795561, abs=1e-8)
    assert intercept(one).value == pytest.approx(expected, abs=1e-8)


@settings(max_examples=15)
@given(st.integers(0, 1000), st.floats(-2, 2), st.floats(0.2, 3))
def test_fit_equals_scikit_learn(seed: int, low: float, steep: float) -> None:
    rng = np.random.default_rng(seed)
    score = rng.uniform(0.02, 0.98, 80)
    label = (rng.random(80) < expit(low + steep * logit(score))).astype(int)
    if min(label.sum(), (1 - label).sum()) < 5:
        return
    found = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logit(score)[:, None], label)
    try:
        line = fit(label, score)
    except UndefinedError:  # scikit-learn's slope then grows as far as it is let
        assert score[label == 0].max() < score[label == 1].min()
        return
    assert line == pytest.approx((found.intercept_[0], found.coef_[0, 0]), rel=1e-4, abs=1e-4)


def test_a_line_turns_scores_back() -> None:
    """Scores that tell half the log odds, shifted by 1: intercept -2, slope 2 undo it."""
    score = np.array([0.1, 0.5, 0.9])
    told = expit(1 + logit(score) / 2)
    assert Line(-2.0, 2.0).of(told) == pytest.approx(score)
    assert Line().of(score) == pytest.approx(score)
    assert np.isfinite(log_odds(np.array([0.0, 1.0]))).all()


@pytest.mark.parametrize("measure", [brier, slope, intercept])
def test_influence_is_the_derivative_by_a_units_weight(measure: Measure, derivative: Derivative) -> None:
    one = units([0, 0, 1, 0, 1, 0, 1, 1], [0.1, 0.25, 0.3, 0.45, 0.5, 0.6, 0.7, 0.95])
    found = measure(one).influence
    assert found == pytest.approx(derivative(measure, one), rel=2e-3, abs=1e-4)
    assert found.sum() == pytest.approx(0, abs=1e-8)


def test_standard_errors_of_a_right_model_agree_with_the_likelihoods() -> None:
    """4000 probabilities that are right: robust (from influences) and model-based errors estimate the same.

    Model-based: the inverse of the information, sums of p (1 - p), p (1 - p) x and p (1 - p) x squared.
    """
    rng = np.random.default_rng(0)
    score = rng.uniform(0.05, 0.95, 4000)
    one = units((rng.random(4000) < score).astype(int), score)
    weight, odds = score * (1 - score), logit(score)
    information = np.array([[weight.sum(), weight @ odds], [weight @ odds, weight @ odds**2]])
    robust = [np.sqrt((measure(one).influence ** 2).sum()) for measure in (slope, intercept)]
    assert robust[0] == pytest.approx(np.sqrt(np.linalg.inv(information)[1, 1]), rel=0.05)
    assert robust[1] == pytest.approx(1 / np.sqrt(weight.sum()), rel=0.05)
    assert abs(slope(one).value - 1) < 3 * robust[0] and abs(intercept(one).value) < 3 * robust[1]


def test_brier_by_hand() -> None:
    """(.1^2 + .6^2 + .2^2) / 3 = .41 / 3; each influences by (square - mean) / 3."""
    found = brier(units([0, 1, 1], [0.1, 0.4, 0.8]))
    assert found.value == pytest.approx(0.41 / 3)
    assert found.influence == pytest.approx((np.array([0.01, 0.36, 0.04]) - 0.41 / 3) / 3)


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=20))
def test_brier_equals_scikit_learn(pairs: list[tuple[int, float]]) -> None:
    label, score = (list(column) for column in zip(*pairs, strict=True))
    expected = brier_score_loss(label, score, labels=[0, 1])
    assert brier(units(label, score)).value == pytest.approx(expected, abs=1e-12)


def test_calibration_error_by_hand() -> None:
    """Five told .8 of whom one is malignant, five told .2 of whom four are: both are off by .6.

    Of .6^2 chance takes .2 x .8 / (5 - 1) = .04 (Kumar et al. 2019), .32 is left in both bins, the root is .5657. With
    all ten right no difference is left.
    """
    score = np.repeat([0.8, 0.2], 5)
    found = error(units([0, 0, 1, 0, 0, 1, 1, 0, 1, 1], score))
    assert found.value == pytest.approx(np.sqrt(0.32))
    assert np.isnan(found.influence).all()
    assert error(units([1, 1, 1, 1, 0, 0, 0, 0, 0, 1], score)).value == 0


def test_bins_of_the_calibration_error() -> None:
    """Ten bins, a border belongs to the upper one, 1 to the last; a unit that is alone in its bin does not count.

    .3 twice, both malignant: .7 off, in a bin of its own beside .29 (alone). .95 and 1, both benign: products .95 x 1.
    """
    found = error(units([1, 1, 0, 0, 0], [0.3, 0.3, 0.29, 0.95, 1.0]))
    assert found.value**2 == pytest.approx((2 * 0.49 + 2 * 0.95) / 4)


@pytest.mark.parametrize("truth", [0.3, 0.7])
@pytest.mark.parametrize("images", [1, 2])
def test_calibration_error_has_no_bias(truth: float, images: int) -> None:
    """6 patients told .7, each malignant with a chance of `truth`: the expected square is (.7 - truth)^2.

    The expectation is exact, over all numbers of malignant patients. What is squared is cut at 0, so two bins that are
    off by .9 for certain keep it above, and are taken out again. Two images of a patient are one observation.
    """
    count, sure = 6, 20
    expected = 0.0
    for malignant in range(count + 1):
        label = np.repeat([1] * malignant + [0] * (count - malignant) + [0, 1] * (sure // 2), images)
        score = np.repeat([0.7] * count + [0.9, 0.1] * (sure // 2), images)
        patient = np.repeat(np.arange(count + sure), images)
        square = error(units(label, score, patient)).value ** 2
        expected += binom.pmf(malignant, count, truth) * square
    assert (expected * (count + sure) - sure * 0.81) / count == pytest.approx((0.7 - truth) ** 2, abs=1e-12)


def test_calibration_error_of_a_right_model_in_simulation() -> None:
    """600 samples of 100 right probabilities: the mean square is 0 within 3.5 standard errors.

    Without correction p (1 - p) / n of each of eight bins would be left, in all 8 x .197 / 100 = .016. In the first and
    the last bin fifty more units are off by .99 for certain, as above.
    """
    rng = np.random.default_rng(1)
    squares = []
    for _ in range(600):
        score = rng.uniform(0.1, 0.9, 100)
        label = np.append((rng.random(100) < score).astype(int), [0, 1] * 25)
        found = error(units(label, np.append(score, [0.99, 0.01] * 25)))
        squares.append((found.value**2 * 150 - 50 * 0.99**2) / 100)
    assert abs(np.mean(squares)) < 3.5 * np.std(squares) / np.sqrt(600) < 0.004


@pytest.mark.parametrize(
    ("label", "score"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]),  # apart
        ([0, 0, 1, 1], [0.1, 0.5, 0.5, 0.9]),  # but for a tie
        ([1, 1, 0, 0], [0.0, 0.2, 0.8, 1.0]),  # the wrong way round
        ([0, 1, 0, 1], [0.5] * 4),
        ([0] * 20 + [1] * 20, [0.0] * 20 + [1.0] * 20),
    ],
)
def test_no_slope_where_classes_do_not_overlap(label: list[int], score: list[float]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UndefinedError, match=r"separate the classes$"):
            slope(units(label, score))
        assert np.isfinite(intercept(units(label, score)).value)


@pytest.mark.parametrize("measure", [slope, intercept])
@pytest.mark.parametrize(("label", "why"), [([0, 0], "malignant"), ([1], "benign")])
def test_one_class_is_not_calibrated(measure: Measure, label: list[int], why: str) -> None:
    with pytest.raises(UndefinedError, match=f"^nobody {why} tested$"):
        measure(units(label, [0.5] * len(label)))
    assert brier(units(label, [0.5] * len(label))).value == 0.25
    with pytest.raises(UndefinedError, match=r"^nobody tested$"):
        brier(units([], []))


@pytest.mark.parametrize(("benign", "malignant"), [*product((0, 1, FEWEST - 1, FEWEST, 30), repeat=2)])
def test_a_hospital_fits_a_slope_with_ten_of_each_class(benign: int, malignant: int) -> None:
    rng = np.random.default_rng(2)
    label = np.repeat([0, 1], [benign, malignant])
    score = expit(rng.normal(0.8 * label, 1.2))
    found = recalibration(label, score)
    if not benign or not malignant:
        assert found is None
    elif min(benign, malignant) < FEWEST:
        assert found == Line(fit_shift(label, score), 1.0)
    else:
        assert found == fit(label, score) and found.slope != 1
    if found:  # the sum of probabilities is right
        assert found.of(score).sum() == pytest.approx(malignant, abs=1e-6)


def test_a_hospital_whose_classes_do_not_overlap_is_shifted_alone() -> None:
    label, score = np.repeat([0, 1], 15), np.append(np.linspace(0.05, 0.3, 15), np.linspace(0.4, 0.6, 15))
    found = recalibration(label, score)
    assert found == Line(fit_shift(label, score), 1.0)


def test_a_bin_by_hand() -> None:
    """Five units of four patients; .2 and .21 of patient 0, and .29 lie in the third bin, .3 and 1 in later ones."""
    one = units([0, 1, 0, 1, 0], [0.2, 0.21, 0.29, 0.3, 1.0], np.array([0, 0, 1, 2, 3]))
    inside, malignant, told, patients, positives = in_bin(one, 2)
    assert (inside.value, malignant.value, told.value) == pytest.approx((3 / 5, 1 / 5, 0.7 / 5))
    assert (patients.value, positives.value) == (2, 1)
    assert inside.influence == pytest.approx(np.array([2, 2, 2, -3, -3]) / 25)
    assert [in_bin(one, number)[0].value for number in range(10)] == [0, 0, 3 / 5, 1 / 5, 0, 0, 0, 0, 0, 1 / 5]
    with pytest.raises(UndefinedError, match=r"^nobody tested$"):
        in_bin(units([], []), 0)
