from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from fedmammo.evaluation import ranking
from fedmammo.evaluation.ranking import (
    auroc,
    average_precision,
    partial_auroc,
    precisions,
    sensitivities,
    sensitivity_on_curve,
)
from fedmammo.evaluation.tested import Floats, Measure, Measured, UndefinedError
from fedmammo.evaluation.tested import Tested as Units  # a name that pytest takes for no test

PUBLISHED = Path(__file__).parent / "published"
ALL = [auroc, average_precision, partial_auroc, sensitivity_on_curve]
TENTHS = [number / 10 for number in range(11)]


Derivative = Callable[[Measure, Units], Floats]


def units(
    label: list[int] | np.ndarray, score: list[float] | Floats, fold: list[int] | np.ndarray | None = None
) -> Units:
    none = np.full(len(label), np.nan)
    folds = np.zeros(len(label), dtype=np.int64) if fold is None else np.array(fold, dtype=np.int64)
    return Units(
        np.array(label, dtype=np.int64), np.array(score, dtype=float), np.arange(len(label)), folds, none, none, none
    )


@st.composite
def two_classes(draw: st.DrawFn, scores: st.SearchStrategy[float]) -> Units:
    """2 to 20 units, one malignant and one benign at least."""
    label = [0, 1, *draw(st.lists(st.integers(0, 1), max_size=18))]
    return units(label, draw(st.lists(scores, min_size=len(label), max_size=len(label))))


@st.composite
def in_folds(draw: st.DrawFn) -> Units:
    """Up to three folds, whose scores tie often; some of one class."""
    one = draw(two_classes(st.sampled_from(TENTHS)))
    fold = draw(st.lists(st.integers(0, 2), min_size=len(one.label), max_size=len(one.label)))
    return units(one.label, one.score, fold)


def test_five_units_by_hand() -> None:
    """Benign .1, .4, .8; malignant .4, .9.

    Pairs: .4 wins, ties, loses; .9 wins thrice: 4.5 of 6. DeLong's components: .4 is worth 1/2 of its pairs, .9 all; of
    benign .1 2/2, .4 3/4, .8 1/2. Influence (component - 3/4) / class size. Average precision: at .9 1/1, at .4 2 of 4.
    """
    one = units([0, 0, 0, 1, 1], [0.1, 0.4, 0.8, 0.4, 0.9])
    found = auroc(one)
    assert found.value == pytest.approx(3 / 4)
    assert found.influence == pytest.approx([1 / 12, 0, -1 / 12, -1 / 8, 1 / 8])
    assert average_precision(one).value == pytest.approx(3 / 4)


@settings(max_examples=40)
@given(two_classes(st.one_of(st.sampled_from(TENTHS), st.floats(0, 1))))
def test_auroc_and_average_precision_equal_scikit_learn(one: Units) -> None:
    assert auroc(one).value == pytest.approx(roc_auc_score(one.label, one.score), abs=1e-12)
    assert average_precision(one).value == pytest.approx(average_precision_score(one.label, one.score), abs=1e-12)


@settings(max_examples=40)
@given(two_classes(st.sampled_from(TENTHS)))
def test_partial_auroc_equals_scikit_learn_with_ties(one: Units) -> None:
    expected = roc_auc_score(one.label, one.score, max_fpr=ranking.FALSE_POSITIVES)
    assert partial_auroc(one).value == pytest.approx(expected, abs=1e-12)


@settings(max_examples=40)
@given(st.lists(st.integers(0, 1), max_size=30), st.integers(0, 1000))
def test_partial_auroc_equals_scikit_learn_without_ties(label: list[int], seed: int) -> None:
    one = units([0, 1, *label], np.random.default_rng(seed).permutation(len(label) + 2) / 32)
    expected = roc_auc_score(one.label, one.score, max_fpr=ranking.FALSE_POSITIVES)
    assert partial_auroc(one).value == pytest.approx(expected, abs=1e-12)


def test_a_score_that_says_nothing_ranks_no_better_than_chance() -> None:
    one = units([0, 0, 1, 1, 0, 1], [0.5] * 6)
    assert [measure(one).value for measure in (auroc, partial_auroc)] == [0.5, 0.5]
    assert average_precision(one).value == 0.5  # the share of malignant units


@pytest.mark.parametrize(
    ("marker", "area", "steep"),
    [
        ("wfns", 0.823678861788618, 0.0334417344173442 + 0.0598373983739837),
        ("ndka", 0.611957994579946, 0.0107046070460705 + 0.0277777777777778),
        ("s100b", 0.731368563685637, None),
    ],
)
def test_areas_that_proc_publishes(marker: str, area: float, steep: float | None) -> None:
    """AUC, and the parts at specificities of 1 to .9 and .9 to .8, of pROC's tests of `auc` and of its printed example.

    McClish: (1 + (part - .02) / (.2 - .02)) / 2, where chance has .2 x .2 / 2 = .02.
    """
    table = pd.read_csv(PUBLISHED / "asah.csv")
    one = units((table["outcome"] == "Poor").to_numpy(), table[marker].to_numpy() / table[marker].max())
    assert auroc(one).value == pytest.approx(area, abs=1e-12)
    if steep is not None:
        assert partial_auroc(one).value == pytest.approx((1 + (steep - 0.02) / 0.18) / 2, abs=1e-12)


def test_folds_are_never_compared_by_hand() -> None:
    """Fold 0: malignant .2 loses to .3, wins over .1: 1 of 2. Fold 1: .7 and .9 against .8: 1 of 2.

    Fold 2 has nobody malignant and adds no pair. In all 2 of 4; of pooled scores 9 of 12.
    Average precision: fold 0 1/2, fold 1 1/1 and 2/3: mean 13/18. A fold of malignant units alone would add 1/1.
    """
    label, score, fold = [0, 0, 1, 0, 1, 1, 0], [0.1, 0.3, 0.2, 0.8, 0.7, 0.9, 0.05], [0, 0, 0, 1, 1, 1, 2]
    one = units(label, score, fold)
    assert auroc(one).value == pytest.approx(2 / 4)
    assert auroc(one).influence[-1] == 0
    assert auroc(units(label, score)).value == pytest.approx(9 / 12)
    assert average_precision(one).value == pytest.approx((1 / 2 + 1 + 2 / 3) / 3)
    assert average_precision(units([*label, 1], [*score, 0.1], [*fold, 3])).value == pytest.approx((13 / 6 + 1) / 4)


@settings(max_examples=40)
@given(in_folds())
def test_folds_count_as_they_have_pairs(one: Units) -> None:
    right, steep, pairs = 0.0, 0.0, 0
    for fold in np.unique(one.fold):
        label, score = one.label[one.fold == fold], one.score[one.fold == fold]
        if 0 < label.sum() < len(label):
            count = int(label.sum() * (1 - label).sum())
            right, pairs = right + count * roc_auc_score(label, score), pairs + count
            steep += count * partial_auroc(units(label, score)).value
    if not pairs:
        for measure in (auroc, partial_auroc):
            with pytest.raises(UndefinedError, match="no fold has both classes"):
                measure(one)
        return
    assert auroc(one).value == pytest.approx(right / pairs, abs=1e-12)
    assert partial_auroc(one).value == pytest.approx(steep / pairs, abs=1e-12)


@settings(max_examples=40)
@given(in_folds(), st.permutations(range(20)))
def test_neither_order_nor_names_of_folds_matter(one: Units, order: list[int]) -> None:
    places = np.array([place for place in order if place < len(one.label)])
    other = units(one.label[places], one.score[places], 7 - one.fold[places])
    for measure in (auroc, average_precision, partial_auroc):
        try:
            found = measure(one)
        except UndefinedError:
            continue
        again = measure(other)
        assert again.value == pytest.approx(found.value, abs=1e-12)
        assert again.influence == pytest.approx(found.influence[places], abs=1e-12)


@pytest.mark.parametrize("measure", [auroc, average_precision, partial_auroc])
@pytest.mark.parametrize("folds", [1, 2])
def test_influence_is_the_derivative_by_a_units_weight(measure: Measure, folds: int, derivative: Derivative) -> None:
    """7 benign units in each fold: a fifth of them ends inside the second, where the curve has no corner."""
    score = [0.05, 0.12, 0.2, 0.31, 0.44, 0.6, 0.72, 0.28, 0.5, 0.66, 0.9]
    score += [0.02, 0.15, 0.23, 0.35, 0.41, 0.55, 0.83, 0.3, 0.46, 0.62, 0.7]
    label = np.tile([0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1], folds)
    one = units(label, score[: len(label)], np.repeat(np.arange(folds), 11))
    assert 0.55 < measure(one).value < 0.95
    assert measure(one).influence == pytest.approx(derivative(measure, one), abs=2e-4)
    assert np.abs(measure(one).influence).max() > 0.02


@pytest.mark.parametrize("measure", [auroc, average_precision, partial_auroc])
def test_influence_is_the_derivative_where_scores_tie(measure: Measure, derivative: Derivative) -> None:
    """A fifth of 7 benign units is 1.4: it ends inside the three that tie with two malignant ones."""
    label, score = [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1], [0.1, 0.1, 0.3, 0.6, 0.6, 0.6, 0.8, 0.1, 0.6, 0.6, 0.9]
    one = units(label, score)
    assert measure(one).influence == pytest.approx(derivative(measure, one), abs=2e-4)


@settings(max_examples=40)
@given(in_folds())
def test_influence_sums_to_0(one: Units) -> None:
    for measure in (auroc, average_precision, partial_auroc):
        try:
            assert measure(one).influence.sum() == pytest.approx(0, abs=1e-12)
        except UndefinedError:
            continue


@pytest.fixture
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let influences on a point of the curve be worked out by hand."""
    monkeypatch.setattr(ranking, "FEWEST_BEYOND", 0.5)


def test_a_point_of_the_curve_has_no_influence_below_twenty_benign_units() -> None:
    """With twenty two lie beyond the point where a tenth does."""
    for benign in (19, 20):
        found = sensitivity_on_curve(units([0] * benign + [1] * 2, np.arange(benign + 2) / 40))
        assert np.isfinite(found.influence).all() == (benign == 20)


@pytest.mark.usefixtures("few_are_enough")
def test_sensitivity_on_the_curve_by_hand() -> None:
    """Benign 0, .1 ... .9: one of ten, a tenth, may exceed the cut, which is then .8. Of malignant .3, .8,
    .85 and .95 two do.

    A malignant unit influences by (hit - 2/4) / 4. Slope of the curve between false positive rates 0 and .2: 3/4 exceed
    the third benign score .7, 1/4 the first, .9: (3/4 - 1/4) / .2 = 2.5. A benign unit over the cut influences by 2.5 x
    (.1 - 1) / 10, one below by 2.5 x .1 / 10.
    """
    found = sensitivity_on_curve(units([0] * 10 + [1] * 4, np.append(np.arange(10) / 10, [0.3, 0.8, 0.85, 0.95])))
    assert found.value == 2 / 4
    assert found.influence[10:] == pytest.approx([-1 / 8, -1 / 8, 1 / 8, 1 / 8])
    assert found.influence[:10] == pytest.approx([0.025] * 9 + [-0.225])


@pytest.mark.usefixtures("few_are_enough")
def test_of_nine_benign_units_none_may_exceed_the_cut() -> None:
    """The cut is the highest, .9, which one of four exceeds. As none exceeds it, benign units have no influence."""
    found = sensitivity_on_curve(units([0] * 9 + [1] * 4, np.append(np.arange(1, 10) / 10, [0.3, 0.8, 0.85, 0.95])))
    assert found.value == 1 / 4
    assert found.influence == pytest.approx([0] * 9 + [-1 / 16, -1 / 16, -1 / 16, 3 / 16])


@pytest.mark.parametrize(("benign", "cut"), [(9, 9), (19, 18), (20, 18), (29, 27), (30, 27), (100, 90)])
def test_at_most_a_tenth_of_the_benign_units_exceeds_the_cut(benign: int, cut: int) -> None:
    """Benign 1 ... n out of 101: the cut is the lowest that a tenth of n, rounded down, exceeds."""
    label, score = [0] * benign + [1, 1], np.append(np.arange(1, benign + 1), [cut, cut + 0.5]) / 101
    assert sensitivity_on_curve(units(label, score)).value == 1 / 2


def test_each_fold_has_its_own_cut_on_the_curve() -> None:
    """Nine benign scores, in fold 1 all higher by .5: of each fold one malignant unit exceeds its own fold's cut."""
    benign = np.arange(1, 10) / 100
    score = np.concatenate([benign, [0.2, 0.05], benign + 0.5, [0.58, 0.6]])
    one = units(([0] * 9 + [1, 1]) * 2, score, np.repeat([0, 1], 11))
    assert sensitivity_on_curve(one).value == 2 / 4


def test_the_variance_of_a_point_of_the_curve_in_simulation() -> None:
    """Benign N(0, 1), malignant N(1.5, 1): the spread of 300 estimates, and what influences say of it on average."""
    rng = np.random.default_rng(3)
    label = np.repeat([0, 1], [1000, 400])
    values, squares = [], []
    for _ in range(300):
        found = sensitivity_on_curve(units(label, norm.cdf(rng.normal(1.5 * label))))
        values.append(found.value)
        squares.append((found.influence**2).sum())
    assert np.sqrt(np.mean(squares)) == pytest.approx(np.std(values), rel=0.12)


def test_points_of_the_roc_curve_by_hand() -> None:
    """Benign .1, .2, .3, .4: as many as 0, 1, 2, 3 and 4 may exceed the cut, which is .4, .3, .2, .1, and none.

    Of malignant .15, .35, .35 and .9 exceed it 1, 3, 3, 4 and 4.
    """
    one = units([0] * 4 + [1] * 4, [0.1, 0.2, 0.3, 0.4, 0.15, 0.35, 0.35, 0.9])
    assert [found.value for found in sensitivities(one, [0, 0.25, 0.4, 0.5, 0.75, 1])] == [0.25, 0.75, 0.75, 0.75, 1, 1]


def test_points_of_the_curve_of_precision_and_recall_by_hand() -> None:
    """Malignant .9, .35, .35, .15 and benign .4, .3, .2, .1.

    Half of the malignant ones need the cut .35, which three reach, and one benign: 3/4. All need .15: four and three.
    """
    one = units([0] * 4 + [1] * 4, [0.1, 0.2, 0.3, 0.4, 0.15, 0.35, 0.35, 0.9])
    assert [found.value for found in precisions(one, [0.25, 0.5, 0.75, 1])] == [1, 3 / 4, 3 / 4, 4 / 7]


@settings(max_examples=40)
@given(two_classes(st.one_of(st.sampled_from(TENTHS), st.floats(0, 1))), st.sampled_from(TENTHS))
def test_points_of_curves_equal_scikit_learn(one: Units, share: float) -> None:
    """The best sensitivity at no more false positives; the precision of the highest cut with no less recall."""
    rates, hits, _ = roc_curve(one.label, one.score, drop_intermediate=False)
    assert sensitivities(one, [share])[0].value == pytest.approx(hits[rates <= share + 1e-9].max(), abs=1e-12)
    if share:
        found, recalls, _ = precision_recall_curve(one.label, one.score)
        assert precisions(one, [share])[0].value == pytest.approx(found[recalls >= share - 1e-9][-1], abs=1e-12)


def test_folds_have_their_own_cuts_and_one_of_one_class_adds_none() -> None:
    """Fold 0: benign .1, .2, malignant .15, .3; fold 1: benign .6, .7, malignant .9; at half of the benign units 2/2
    and 1/1 exceed .1 and .6. At full recall .15 is reached by one benign, .9 by none: 3 of 4.

    Fold 2 has one malignant unit: it is left out of the one, and called right in the other: 4 of 5. Fold 3 has one
    benign unit, who changes nothing.
    """
    label, score, fold = [0, 0, 1, 1, 0, 0, 1], [0.1, 0.2, 0.15, 0.3, 0.6, 0.7, 0.9], [0, 0, 0, 0, 1, 1, 1]
    one, more = units(label, score, fold), units([*label, 1, 0], [*score, 0.01, 0.99], [*fold, 2, 3])
    assert [sensitivities(each, [0.5])[0].value for each in (one, more)] == [1, 1]
    assert [sensitivities(each, [0])[0].value for each in (one, more)] == [2 / 3, 2 / 3]
    assert [precisions(each, [1])[0].value for each in (one, more)] == [3 / 4, 4 / 5]
    with pytest.raises(UndefinedError, match=r"^no fold has both classes$"):
        sensitivities(units([0, 1], [0.1, 0.9], [0, 1]), [0.5])


@pytest.mark.usefixtures("few_are_enough")
def test_the_influence_on_a_precision_by_hand() -> None:
    """Malignant .9, .7, .5, .3, benign .8, .6, .4, .2: half of the malignant units need .7, as one benign does: 2/3.

    The false positives grow from recall 1/4 to 3/4, .9 to .5, by 2: 4 for all of the recall. A benign unit at the cut
    moves the three called by 1, so the precision by -(2/3) / 3. A malignant unit adds 1/2 to the two, and a called one
    takes 4 x (1/2) / 4 false positives away, another one adds them: (1/2 - 2/3 (1/2 -+ 1/2)) / 3.
    """
    found = precisions(units([1] * 4 + [0] * 4, [0.9, 0.7, 0.5, 0.3, 0.8, 0.6, 0.4, 0.2]), [0.5])[0]
    assert found.value == 2 / 3
    assert found.influence == pytest.approx([1 / 6, 1 / 6, -1 / 18, -1 / 18, -2 / 9, 0, 0, 0])


def test_a_benign_unit_moves_a_precision_by_the_derivative(derivative: Derivative) -> None:
    """It moves no cut, which malignant units set."""
    rng = np.random.default_rng(0)
    one = units(np.tile([0, 1], 20), rng.random(40), np.repeat([0, 1], 20))
    found = precisions(one, [0.5])[0].influence
    expected = derivative(lambda tested: precisions(tested, [0.5])[0], one)
    assert found[one.label == 0] == pytest.approx(expected[one.label == 0], abs=1e-5)


@settings(max_examples=30)
@given(st.integers(0, 1000), st.sampled_from([sensitivities, precisions]))
def test_points_of_curves_have_influences_that_sum_to_0(seed: int, curve: Callable[..., list[Measured]]) -> None:
    """But for the ends; a point is the same alone as among others."""
    rng = np.random.default_rng(seed)
    one = units(np.tile([0, 1], 60), rng.integers(0, 30, 120) / 30, np.repeat([0, 1], 60))
    points = [0.1, 0.25, 0.5, 0.9]
    found = curve(one, points)
    assert [each.influence.sum() for each in found] == pytest.approx([0] * 4, abs=1e-12)
    assert [curve(one, [point])[0].value for point in points] == [each.value for each in found]
    assert np.isnan(curve(one, [1.0])[0].influence).any()


def test_the_variance_of_points_of_curves_in_simulation() -> None:
    """Two folds, each unit malignant by chance: the spread of 300 estimates, and what influences say on average."""
    rng, fold = np.random.default_rng(3), np.repeat([0, 1], 500)
    for curve, points in ((sensitivities, [0.1, 0.3, 0.6]), (precisions, [0.2, 0.5, 0.9])):
        labels = rng.integers(0, 2, (300, 1000))
        found = [curve(units(label, norm.cdf(rng.normal(label)), fold), points) for label in labels]
        values = np.array([[point.value for point in one] for one in found])
        squares = np.array([[(point.influence**2).sum() for point in one] for one in found])
        assert np.sqrt(squares.mean(axis=0)) == pytest.approx(values.std(axis=0), rel=0.12)


@pytest.mark.parametrize("measure", [*ALL, lambda one: sensitivities(one, [0.5]), lambda one: precisions(one, [0.5])])
@pytest.mark.parametrize(
    ("label", "why"), [([], "nobody tested"), ([0, 0], "nobody malignant tested"), ([1, 1], "nobody benign tested")]
)
def test_why_undefined(measure: Callable[[Units], object], label: list[int], why: str) -> None:
    with pytest.raises(UndefinedError, match=f"^{why}$"):
        measure(units(label, [0.5] * len(label)))


def test_eight_benign_units_in_a_fold_are_too_few_for_a_point_of_the_curve() -> None:
    label, fold = [0] * 9 + [1] + [0] * 8 + [1], [0] * 10 + [1] * 9
    with pytest.raises(UndefinedError, match=r"^fewer than 9 benign tested in a fold$"):
        sensitivity_on_curve(units(label, np.linspace(0, 1, 19), fold))
