from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, precision_score, recall_score

from fedmammo.evaluation.decisions import (
    balanced_accuracy,
    moved_threshold,
    negative_value,
    net_benefit,
    positive_value,
    recall_rate,
    sensitivity,
    specificity,
)
from fedmammo.evaluation.tested import Floats, Measure, UndefinedError
from fedmammo.evaluation.tested import Tested as Units  # a name that pytest takes for no test

EIGHTHS = [number / 8 for number in range(9)]


Derivative = Callable[[Measure, Units], Floats]


def units(label: list[int] | np.ndarray, score: list[float] | Floats, balanced: float = 0.5, cut: float = 0.5) -> Units:
    count = len(label)
    both = np.full(count, balanced), np.full(count, cut)
    whole = np.arange(count), np.zeros(count, dtype=np.int64)
    learned = np.full(count, np.mean(label) if count else np.nan)
    return Units(np.array(label, dtype=np.int64), np.array(score, dtype=float), *whole, *both, learned)


def called(true: int, malignant: int, false: int, benign: int) -> Units:
    """Units of whom so many malignant and benign ones score .9, the others .01."""
    label = [1] * malignant + [0] * benign
    score = [0.9] * true + [0.01] * (malignant - true) + [0.9] * false + [0.01] * (benign - false)
    return units(label, score)


@st.composite
def two_classes(draw: st.DrawFn) -> Units:
    """2 to 20 units of both classes, scores that often equal the cuts."""
    label = [0, 1, *draw(st.lists(st.integers(0, 1), max_size=18))]
    score = draw(st.lists(st.sampled_from(EIGHTHS), min_size=len(label), max_size=len(label)))
    return units(label, score, draw(st.sampled_from(EIGHTHS)), draw(st.sampled_from(EIGHTHS)))


def test_fifteen_units_by_hand() -> None:
    """4 of 5 malignant and 1 of 10 benign units exceed the cut: sensitivity .8, specificity .9, balanced .85.

    A malignant unit that exceeds it moves sensitivity by (1 - .8) / 5, the other by (0 - .8) / 5.
    """
    one = called(4, 5, 1, 10)
    assert [measure(one).value for measure in (sensitivity, specificity, balanced_accuracy)] == [
        pytest.approx(value) for value in (0.8, 0.9, 0.85)
    ]
    assert sensitivity(one).influence == pytest.approx([0.04] * 4 + [-0.16] + [0] * 10)
    assert specificity(one).influence == pytest.approx([0] * 5 + [-0.09] + [0.01] * 9)
    assert balanced_accuracy(one).influence == pytest.approx([0.02] * 4 + [-0.08] + [-0.045] + [0.005] * 9)


def test_at_a_declared_prevalence_by_bayes_rule() -> None:
    """Sensitivity .8, specificity .9; of 1000 screened 10 are malignant: 8 are recalled, and 99 of 990 benign ones.

    Recalled 107 of 1000; of them 8 are malignant; of 893 not recalled 891 are benign. At a prevalence of 1/3, that of
    these 15 units, it is what was counted: 5 of 15 recalled, 4 of 5 malignant, 9 of 10 benign.
    """
    one = called(4, 5, 1, 10)
    assert recall_rate(one, 0.01).value == pytest.approx(107 / 1000)
    assert positive_value(one, 0.01).value == pytest.approx(8 / 107)
    assert negative_value(one, 0.01).value == pytest.approx(891 / 893)
    counted = [measure(one, 1 / 3).value for measure in (recall_rate, positive_value, negative_value)]
    assert counted == [pytest.approx(value) for value in (5 / 15, 4 / 5, 9 / 10)]


@settings(max_examples=30)
@given(two_classes())
def test_counts_equal_scikit_learn(one: Units) -> None:
    """Who scores as high as the cut is not called."""
    recalled = (one.score > one.specific).astype(int)
    assert sensitivity(one).value == pytest.approx(recall_score(one.label, recalled))
    assert specificity(one).value == pytest.approx(recall_score(one.label, recalled, pos_label=0))
    balanced = balanced_accuracy_score(one.label, one.score > one.balanced)
    assert balanced_accuracy(one).value == pytest.approx(balanced)
    prevalence = float(one.label.mean())
    assert recall_rate(one, prevalence).value == pytest.approx(recalled.mean())
    if recalled.any():
        assert positive_value(one, prevalence).value == pytest.approx(precision_score(one.label, recalled))
    if not recalled.all():
        expected = precision_score(one.label, recalled, pos_label=0)
        assert negative_value(one, prevalence).value == pytest.approx(expected)


@pytest.mark.parametrize(
    ("threshold", "true", "false", "benefit", "everybody"),
    [
        (0.05, 96, 320, 0.1055438596491228, 0.09473684210526317),
        (0.10, 87, 193, 0.0874074074074074, 0.04444444444444445),
        (0.20, 75, 98, 0.06733333333333333, -0.075),
        (0.35, 57, 36, 0.05015384615384615, -0.32307692307692304),
    ],
)
def test_net_benefit_that_dcurves_publishes(
    threshold: float, true: int, false: int, benefit: float, everybody: float
) -> None:
    """`cancerpredmarker` of dcurves' `df_binary`: 105 of 750 have cancer, so many of both exceed the threshold.

    With thresholds moved to the prevalence of the tested, 105/750, nothing changes.
    """
    one, all_of_them = called(true, 105, false, 645), called(105, 105, 645, 645)
    for prevalence in (None, 105 / 750):
        assert net_benefit(one, threshold, prevalence).value == pytest.approx(benefit, abs=1e-12)
        assert net_benefit(all_of_them, threshold, prevalence).value == pytest.approx(everybody, abs=1e-12)
        assert net_benefit(called(0, 105, 0, 645), threshold, prevalence).value == 0


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_at_the_tested_prevalence_thresholds_stay(threshold: float, prevalence: float) -> None:
    assert moved_threshold(threshold, prevalence, np.array([prevalence])) == pytest.approx(threshold)


def test_moved_threshold_by_hand() -> None:
    """Tested 1 : 1, screened 1 : 99: odds of 11 : 1 among the tested are 11 : 99 = 1 : 9 of the screened, a tenth."""
    assert moved_threshold(0.1, prevalence=0.01, learned=np.array([0.5])) == pytest.approx(11 / 12)
    assert moved_threshold(11 / 12, prevalence=0.5, learned=np.array([0.01])) == pytest.approx(0.1)


def test_net_benefit_at_a_declared_prevalence_by_hand() -> None:
    """Half of the tested are malignant, 1 in 100 of the screened: a threshold of a tenth becomes 11/12.

    Over 11/12 score 2 of 4 malignant and 1 of 4 benign units: .01 x 2/4 - .99 x 1/4 x (1/9). Where nothing is moved, .1
    is exceeded by 3 malignant and 3 benign: (3 - 3/9) / 8.
    """
    one = units([1, 1, 1, 1, 0, 0, 0, 0], [0.95, 0.92, 0.9, 0.05, 0.93, 0.91, 0.5, 0.1])
    assert net_benefit(one, 0.1, 0.01).value == pytest.approx(0.01 * 2 / 4 - 0.99 / 4 / 9)
    assert net_benefit(one, 0.1).value == pytest.approx((3 - 3 / 9) / 8)


@pytest.mark.parametrize(
    "measure",
    [
        balanced_accuracy,
        sensitivity,
        specificity,
        partial(recall_rate, prevalence=0.02),
        partial(positive_value, prevalence=0.02),
        partial(negative_value, prevalence=0.3),
        partial(net_benefit, threshold=0.2),
        partial(net_benefit, threshold=0.2, prevalence=0.1),
    ],
)
def test_influence_is_the_derivative_by_a_units_weight(measure: Measure, derivative: Derivative) -> None:
    one = units([0, 0, 0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.3, 0.55, 0.7, 0.4, 0.6, 0.9])
    found = measure(one).influence
    assert found == pytest.approx(derivative(measure, one), abs=1e-4)
    assert found.sum() == pytest.approx(0, abs=1e-12) and np.abs(found).max() > 1e-3


@pytest.mark.parametrize(
    ("measure", "benign", "malignant"),
    [
        (balanced_accuracy, "nobody malignant tested", "nobody benign tested"),
        (sensitivity, "nobody malignant tested", None),
        (specificity, None, "nobody benign tested"),
        (partial(recall_rate, prevalence=0.1), "nobody malignant tested", "nobody benign tested"),
        (partial(positive_value, prevalence=0.1), "nobody malignant tested", "nobody benign tested"),
        (partial(negative_value, prevalence=0.1), "nobody malignant tested", "nobody benign tested"),
        (partial(net_benefit, threshold=0.1), "nobody malignant tested", "nobody benign tested"),
    ],
)
def test_one_class_leaves_what_is_defined(measure: Measure, benign: str | None, malignant: str | None) -> None:
    for label, why in (([0, 0], benign), ([1, 1], malignant), ([], "nobody tested")):
        one = units(label, [0.2, 0.9][: len(label)])
        if why is None:
            assert measure(one).value == 0.5
            continue
        with pytest.raises(UndefinedError, match=f"^{why}$"):
            measure(one)


def test_a_cut_that_one_fold_lacks() -> None:
    balanced, cut = np.array([0.5, np.nan]), np.array([np.nan, 0.5])
    fold = np.arange(2)
    one = Units(np.array([0, 1]), np.array([0.1, 0.9]), fold, fold, balanced, cut, cut)
    with pytest.raises(UndefinedError, match=r"^no cut: validation needs both classes$"):
        balanced_accuracy(one)
    for measure in (sensitivity, specificity, partial(recall_rate, prevalence=0.1)):
        with pytest.raises(UndefinedError, match=r"^no cut: too few benign in validation$"):
            measure(one)
    assert net_benefit(one, 0.5).value == 0.5  # needs no cut


def test_each_fold_has_its_own_cut() -> None:
    """Malignant .4 and .4, benign .2 and .2; cuts .3 and .5 in two folds: one of two is called, nobody benign."""
    label, score, fold = np.array([1, 1, 0, 0]), np.array([0.4, 0.4, 0.2, 0.2]), np.array([0, 1, 0, 1])
    cut = np.array([0.3, 0.5, 0.3, 0.5])
    one = Units(label, score, np.arange(4), fold, 1 - cut, cut, cut)
    assert (sensitivity(one).value, specificity(one).value) == (0.5, 1.0)
    assert balanced_accuracy(one).value == 0.5  # over .7 and .5 scores nobody


def test_shares_of_nobody_are_undefined() -> None:
    nobody, everybody = called(0, 5, 0, 10), called(5, 5, 10, 10)
    with pytest.raises(UndefinedError, match=r"^nobody exceeds the cut$"):
        positive_value(nobody, 0.1)
    with pytest.raises(UndefinedError, match=r"^everybody exceeds the cut$"):
        negative_value(everybody, 0.1)
    assert positive_value(everybody, 0.1).value == pytest.approx(0.1)
    assert negative_value(nobody, 0.1).value == pytest.approx(0.9)
    assert (recall_rate(nobody, 0.1).value, recall_rate(everybody, 0.1).value) == (0, 1)
