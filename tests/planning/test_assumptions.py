"""What is assumed: how it is told, what it comes to, and what contradicts itself."""

import numpy as np
import pytest

from fedmammo.errors import InputError
from fedmammo.planning.assumptions import MEANING, RANGES, Arms, Assumptions, assumed_parts
from fedmammo.planning.auroc import variance
from fedmammo.planning.precision import Repeats
from fedmammo.planning.tested import Tested as Place  # a name that pytest takes for no test

ALL = Place("all", 200, 100, 100, 100, 100, (1,) * 200, 1)
NORTH = ALL._replace(name="north", patients=50, positives=25, benign=25, malignant=25, fewest=25, units=(1,) * 50)
DRAWS = Arms(4, True, Repeats(1, 20))


def test_each_assumption_has_a_meaning_and_a_range() -> None:
    numbers = Assumptions().numbers()
    assert set(numbers) == set(MEANING) == set(RANGES)
    assert all(low <= numbers[name] <= high for name, (low, high) in RANGES.items())


def test_they_are_changed_by_name() -> None:
    changed = Assumptions().changed(["auroc=.8", "within_patient=0", "auroc=0.85"])
    assert (changed.auroc, changed.within_patient, changed.correlation) == (0.85, 0.0, 0.6)


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("aurok=.8", "--assume aurok=.8: nobody knows aurok; assume one of auroc, correlation"),
        ("auroc", "--assume auroc: expected auroc= and a number, such as auroc=.8"),
        ("auroc=high", "--assume auroc=high: expected auroc= and a number"),
        ("auroc=1", "--assume auroc=1: expected a number between 0.5 and 1"),
        ("auroc=nan", "--assume auroc=nan: expected a number between 0.5 and 1"),
        ("parameters=-3", "--assume parameters=-3: expected a number between 0 and 1e"),
    ],
)
def test_what_cannot_be_assumed_is_refused_in_one_line(word: str, says: str) -> None:
    with pytest.raises(InputError) as raised:
        Assumptions().changed([word])
    assert says in str(raised.value) and "\n" not in str(raised.value)


def test_local_models_of_which_the_mean_counts_by_hand() -> None:
    """Four models that correlate by .3: their mean has (1 + 3 x .3) / 4 = .475 of one's variance.

    One draw: 1 + .475 - 2 x .6 = .275 variances of an AUROC; draws share 1 + .3 - 1.2 = .1 of it.
    """
    assumed = Assumptions(deviation_of_draws=0.0)
    of_all, of_north = (variance(0.75, place.sizes(0.5)) for place in (ALL, NORTH))
    parts = assumed_parts(assumed, DRAWS, ALL, ALL)
    assert parts.alone == pytest.approx(0.275 * of_all) and parts.shared == pytest.approx(0.1 * of_all)
    assert parts.draws == pytest.approx(0.175 * of_all) and parts.seeds == 0.006**2
    here = assumed_parts(assumed, DRAWS, ALL, NORTH)
    assert here.alone == pytest.approx(0.8 * of_north) and here.shared == pytest.approx(0.1 * of_all)


def test_two_pooled_arms_and_seeds_by_hand() -> None:
    """Neither arm is local: 2 x (1 - .6) variances, all of which seeds share; what they differ by is assumed."""
    of_all = variance(0.75, ALL.sizes(0.5))
    parts = assumed_parts(Assumptions(), Arms(0, True, Repeats(3, 1)), ALL, ALL)
    assert parts.alone == parts.shared == pytest.approx(0.8 * of_all)
    assert (parts.seeds, parts.draws) == (pytest.approx(0.006**2), pytest.approx(0.015**2))


def test_a_dealing_that_stays_shares_all() -> None:
    parts = assumed_parts(Assumptions(), Arms(4, False, Repeats(1, 20)), ALL, NORTH)
    assert parts.shared == parts.alone and parts.draws == pytest.approx(0.015**2)


def test_correlations_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(InputError, match=r"correlation=0\.9: cannot be while .* is 0\.3; .* below 0\.65"):
        assumed_parts(Assumptions(correlation=0.9), DRAWS, ALL, ALL)


def test_no_patient_of_a_class_is_counted_as_one() -> None:
    assert np.isfinite(assumed_parts(Assumptions(), DRAWS, ALL, NORTH._replace(malignant=0.0)).alone)
