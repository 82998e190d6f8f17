"""What may be told of patients who stay home: hand-made tables, whose small cells are known."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmammo.evaluation.disclosure import Cuts, decided_by_one, enough, rounded, step_of, suppressed, two_digits
from fedmammo.evaluation.ranking import auroc
from fedmammo.evaluation.tested import Tested as Units


def of_units(score: list[float], label: list[int], patient: list[int] | None = None) -> Units:
    none = np.full(len(score), np.nan)
    who = np.arange(len(score)) if patient is None else np.array(patient)
    zeros = np.zeros(len(score), dtype=np.int64)
    return Units(np.array(label), np.array(score), who, zeros, none, none, none)


@pytest.mark.parametrize(
    ("cells", "floor", "lost"),
    [
        ({"1": (12, 11), "2": (15, 10), "3": (10, 30)}, 10, ""),
        ({"1": (12, 11), "2": (15, 10), "3": (10, 30), "4": (12, 3)}, 10, "24"),  # 4 alone would be a difference
        ({"1": (12, 11), "2": (15, 17), "3": (10, 30), "4": (4, 3)}, 10, "34"),  # 3 has the smallest cell of the others
        ({"1": (12, 11), "3": (4, 8), "4": (8, 3)}, 10, "34"),  # together these have 12 and 11: enough to hide in
        ({"1": (12, 11), "4": (12, 0)}, 10, "14"),  # nobody is few as well
        ({"1": (4, 4)}, 10, "1"),
        ({"1": (1, 1), "2": (2, 0)}, 1, "12"),
        ({"1": (0, 0), "2": (0, 3)}, 0, ""),
    ],
)
def test_suppression_by_hand(cells: Mapping[str, tuple[int, int]], floor: int, lost: str) -> None:
    """Cells are patients without and with a malignant lesion, of each value of a column."""
    assert suppressed(cells, floor) == set(lost)


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1),
    st.integers(1, 15),
)
def test_subtraction_gives_no_small_cell(cells: dict[str, tuple[int, int]], floor: int) -> None:
    """All are told of, and the parts that are not left out: what is left has nobody, or enough of both classes."""
    lost = suppressed(cells, floor)
    for kind in (0, 1):
        assert all(cells[name][kind] >= floor for name in cells.keys() - lost)
        rest = sum(counts[kind] for counts in cells.values()) - sum(cells[name][kind] for name in cells.keys() - lost)
        assert not lost or lost == cells.keys() or rest >= floor


def test_a_cut_leaves_enough_patients_of_each_class_on_either_side() -> None:
    """Benign .1 .2 .3 .4, malignant .25 .35 .45 .55; then two of each class on either side."""
    scores, labels = [0.1, 0.2, 0.3, 0.4, 0.25, 0.35, 0.45, 0.55], [0, 0, 0, 0, 1, 1, 1, 1]
    one = of_units(scores, labels)
    assert enough(one, [one.score > 0.3], 1)  # benign 3 and 1, malignant 1 and 3
    assert not enough(one, [one.score > 0.3], 2)
    assert enough(one, [one.score > 0.2], 0)
    assert not enough(one, [one.score > 0.2], 1)  # no malignant unit below it: nobody is few as well
    assert not enough(one, [one.score > 0.0], 1)
    assert not enough(one, [one.score > 0.9], 1)
    scores, labels = [0.1, 0.2, 0.5, 0.6, 0.1, 0.2, 0.5, 0.6], [0, 0, 0, 0, 1, 1, 1, 1]
    each, shared = of_units(scores, labels), of_units(scores, labels, [0, 0, 1, 2, 3, 4, 5, 6])
    assert enough(each, [each.score > 0.4], 2)
    assert enough(shared, [shared.score > 0.4], 1)
    assert not enough(shared, [shared.score > 0.4], 2), "two benign units below it are one patient's"


def test_between_two_cuts_too() -> None:
    """Two malignant and two benign units in each third: one more cut within a third would leave one."""
    scores, labels = [0.1, 0.1, 0.1, 0.1, 0.5, 0.5, 0.55, 0.55, 0.9, 0.9, 0.9, 0.9], [0, 0, 1, 1] * 3
    scores[5], scores[6] = 0.55, 0.5
    cuts = Cuts(of_units(scores, labels), 2)
    low, high, within = (cuts.tested.score > at for at in (0.3, 0.7, 0.52))
    assert cuts.allow(low)
    cuts.add(low)
    assert cuts.allow(high)
    cuts.add(high)
    assert not cuts.allow(within)
    assert cuts.allow(high), "what was told is no news"
    assert Cuts(cuts.tested, 2).allow(within), "alone it would do"


def test_two_models_disagree_on_enough() -> None:
    """A difference of sensitivities with its variance tells how many one model alone calls malignant."""
    one = of_units([0.0] * 16, [0, 1] * 8)
    first, second = np.array([0, 0, 0, 0, 1, 1, 1, 1] * 2, dtype=bool), np.array([0, 0, 1, 1] * 4, dtype=bool)
    assert enough(one, [first, second], 2, crossed=True)
    assert not enough(one, [first, second], 3, crossed=True)
    assert not enough(one, [first, first], 1, crossed=True)


def test_a_model_that_singles_out_a_patient_is_not_told_of() -> None:
    """All others score .5: the AUROC would say whether this one is malignant. Not so where all are told apart."""
    labels = [1] * 20 + [0] * 20
    for singled_out in (0, 39):
        scores = [0.99 if unit == singled_out else 0.5 for unit in range(40)]
        moved = auroc(of_units(scores, labels)).influence
        assert decided_by_one(moved[None, None, None, :])
    spread = auroc(of_units([(7 * unit % 40) / 40 for unit in range(40)], labels)).influence
    assert not decided_by_one(spread[None, None, None, :])
    assert decided_by_one(np.stack([spread, moved])[:, None, None, :]), "in any repeat"
    assert decided_by_one(np.zeros((1, 1, 2, 40)))


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (0.81234, 0.08, 0.82),  # a step of .02
        (0.81234, 0.079, 0.81),  # of .01
        (-0.03127, 0.025, -0.03),  # of .005
        (-0.03327, 0.025, -0.035),
        (12.3, 500.0, 0.0),
        (1234.0, 500.0, 1200.0),
    ],
)
def test_rounding_by_hand(value: float, error: float, expected: float) -> None:
    assert rounded(value, error) == expected


@given(st.floats(1e-9, 1e9), st.floats(-1e6, 1e6))
def test_a_step_is_a_tenth_to_a_quarter_of_the_error(error: float, value: float) -> None:
    times, power = step_of(error)
    step = times * 10.0**power
    assert error / 10.001 <= step <= error / 4 * 1.000001
    assert abs(rounded(value, error) - value) <= step / 2 * 1.001 + 1e-9 * abs(value)


def test_two_digits_count() -> None:
    assert [two_digits(one) for one in (0.000123456, 98765.0, 0.0, 0.5)] == [0.00012, 99000.0, 0.0, 0.5]
