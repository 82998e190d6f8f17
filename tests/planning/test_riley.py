"""Riley's criteria, beside what the packages of their authors say.

pmsampsize 0.1.0 and pmvalsampsize 0.2.1 (PyPI) cannot be installed beside this software (pandas below 3, the first
Python 3.12): what they answered in an environment of their own stands here.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from fedmammo.planning.riley import (
    Acting,
    Developing,
    Widths,
    acting,
    cox_snell,
    developing,
    largest_cox_snell,
    normal_scores,
    parameters_borne,
    patients_for,
    scores_of,
    validating,
)


@pytest.mark.parametrize(
    ("r_squared", "parameters", "prevalence", "shrinkage", "answered"),
    [
        (0.288, 24, 0.174, 0.9, (623, 662, 221)),  # the example of their help page: 662
        (0.2908, 24, 0.174, 0.9, (615, 660, 221)),
        (0.15, 30, 0.5, 0.95, (3492, 723, 385)),
        (0.1849, 10, 0.5, 0.9, (435, 236, 385)),
    ],
)
def test_developing_agrees_with_pmsampsize(
    r_squared: float, parameters: int, prevalence: float, shrinkage: float, answered: tuple[int, int, int]
) -> None:
    found = developing(parameters, r_squared, prevalence, shrinkage)
    assert found == Developing(*answered) and found.needed == max(answered)


@pytest.mark.parametrize(("c", "prevalence", "answered"), [(0.89, 0.174, 0.2908), (0.75, 0.5, 0.1849)])
def test_the_r_squared_of_a_c_statistic_agrees_with_pmsampsize(c: float, prevalence: float, answered: float) -> None:
    """They draw a million scores; here the same distribution is integrated."""
    assert cox_snell(scores_of(c, prevalence)) == pytest.approx(answered, abs=5e-4)


@pytest.mark.parametrize(
    ("c", "prevalence", "scores", "width", "answered"),
    [
        (0.80, 0.018, (-5.0, 2.5), 1.0, (905, 4563, 4252)),
        (0.75, 0.500, (0.0, 1.0), 0.2, (385, 2667, 364)),
        (0.89, 0.174, (-2.5, 1.5), 0.3, (816, 3055, 300)),
    ],
)
def test_validating_agrees_with_pmvalsampsize(
    c: float, prevalence: float, scores: tuple[float, float], width: float, answered: tuple[int, int, int]
) -> None:
    """They search the ratio's error in steps of .0001, and draw scores for the slope (100 000 or 400 000)."""
    acts = Acting(0.2, 0.8, 0.5)
    found = validating(c, prevalence, normal_scores(*scores), acts, Widths(observed_to_expected=width))
    ratio, slope, c_statistic = answered
    assert found.observed_to_expected == pytest.approx(ratio, rel=4e-3)
    assert found.slope == pytest.approx(slope, rel=4e-3)
    assert found.c_statistic == c_statistic


def test_net_benefit_by_hand() -> None:
    """Half malignant, acting at .4 with sensitivity and specificity .7, so w = 2/3.

    A patient's variance is .21 / .5 + w² x .21 / .5 + w² x .09 / .25 = .42 + .18667 + .16 = .76667; an error of
    .2 / 3.92 asks for 294.5 patients.
    """
    assert validating(0.75, 0.5, scores_of(0.75, 0.5), Acting(0.4, 0.7, 0.7)).net_benefit == 295


def test_scores_have_the_c_statistic_and_the_prevalence() -> None:
    """And who is above a threshold is as counted."""
    scores = scores_of(0.8, 0.3)
    risk = expit(scores.predictor)
    malignant, benign = scores.weight * risk, scores.weight * (1 - risk)
    assert malignant.sum() == pytest.approx(0.3, abs=1e-6)
    below = np.append(0, benign.cumsum()[:-1]) + benign / 2
    assert (malignant * below).sum() / (0.3 * 0.7) == pytest.approx(0.8, abs=1e-4)
    found = acting(scores, 0.3)
    assert found.sensitivity == pytest.approx(malignant[risk > 0.3].sum() / 0.3)
    assert acting(scores, 1e-9)[1:] == pytest.approx((1.0, 0.0))


def test_the_largest_r_squared_by_hand() -> None:
    """Half malignant: 1 - .5 ^ 2."""
    assert largest_cox_snell(0.5) == pytest.approx(0.75)


@settings(max_examples=50)
@given(st.floats(0.55, 0.95), st.floats(0.02, 0.98), st.integers(1, 500))
def test_what_patients_bear_is_what_needs_them(c: float, prevalence: float, parameters: int) -> None:
    r_squared = cox_snell(scores_of(c, prevalence))
    assert 0 < r_squared < largest_cox_snell(prevalence)
    assert parameters_borne(patients_for(parameters, r_squared, 0.9), r_squared) == pytest.approx(parameters)
