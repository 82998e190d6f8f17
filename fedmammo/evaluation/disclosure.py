"""What may be told of patients who stay home: no cell of few, not as a difference either, no number to its last digit.

A cell is a number of patients of one class: of all who are tested, of a subgroup, on one side of a cut in score, or
between two cuts. None below the floor is told, nor 0: that nobody is in a cell says something of everybody in its row.
Nor is what gives one by subtraction (complementary suppression: Hundepool et al. 2012, Statistical Disclosure Control,
chapter 4), nor what one patient decides (dominance, likewise): a model made to single out a patient would ask for a
label. An AUROC of known patients to its last digit gives their ranks; so numbers are rounded to a step of at most a
quarter of their own standard error, which adds at most 1/192 to their variance. This is no differential privacy: a
server that knows several patients, and makes models for the purpose, can still learn of another one.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from fedmammo.evaluation.tested import Flags, Floats, Integers, Tested

UNTOLD = "fewer than the hospital tells of"
DOMINANT = 0.5  # the part of a number's variance over patients that one of them may make up
STEPS = (5, 2, 1)  # times a power of ten


class Cuts:
    """The cuts of one model's scores at which something is told.

    Args:
        tested: the model's scores.
        floor: the fewest patients of each class on either side of a cut, and between two.
    """

    def __init__(self, tested: Tested, floor: int) -> None:
        self.tested = tested
        self._floor = floor
        self._told: list[Flags] = []

    def allow(self, called: Flags) -> bool:
        """Whether something may be told at one more cut, beside those that were allowed before.

        `called`: (units,) who lies above it.
        """
        return any(np.array_equal(called, one) for one in self._told) or enough(
            self.tested, [*self._told, called], self._floor
        )

    def add(self, called: Flags) -> None:
        """Take note of a cut at which something is told."""
        self._told.append(called)


def enough(tested: Tested, called: Sequence[Flags], floor: int, crossed: bool = False) -> bool:
    """Whether cuts divide units so that each part has enough patients of each class.

    Args:
        tested: whose units.
        called: of each cut, (units,) who lies above it.
        floor: the fewest patients.
        crossed: whether cuts are of different models, so that two of them make four parts, of which none may lack.
    """
    if not floor:
        return True
    if any(one.all() or not one.any() for one in called):
        return False
    parts = np.unique(np.column_stack(called), axis=0, return_inverse=True)[1].reshape(-1)
    whole = 2 ** len(called) if crossed else int(parts.max()) + 1
    return fewest_in(parts, whole, tested.label, tested.patient) >= floor


def fewest_in(parts: Integers, count: int, label: Integers, patient: Integers) -> int:
    """Return the fewest patients that any part has of a class: units, (units,), of `count` parts."""
    told = np.unique(np.column_stack([parts * 2 + label, patient]), axis=0)[:, 0]
    return int(np.bincount(told, minlength=2 * count).min())


def decided_by_one(influence: Floats) -> bool:
    """Whether one patient makes up too much of a number in any repeat, or nobody moves it.

    `influence`: (seeds, draws, 2, patients), as of `fedmammo.evaluation.variance.Sample`.
    """
    squared = influence.sum(axis=2) ** 2
    return bool((squared.max(axis=-1) > DOMINANT * squared.sum(axis=-1)).any() or not squared.any(axis=-1).all())


def suppressed(cells: Mapping[str, tuple[int, int]], floor: int) -> set[str]:
    """Return which parts of all patients are not told of.

    Those with a cell below the floor; then, as all patients together are told of, the smallest others, until those
    that are left out have no such cell together.

    Args:
        cells: for each part its patients without and with a malignant lesion; each patient is in one part.
        floor: the fewest.
    """
    lost = {name for name, counts in cells.items() if min(counts) < floor}
    while lost and min(sum(cells[name][kind] for name in lost) for kind in (0, 1)) < floor and len(lost) < len(cells):
        lost.add(min(cells.keys() - lost, key=lambda name: (min(cells[name]), name)))
    return lost


def step_of(error: float) -> tuple[int, int]:
    """Return the largest step of at most a quarter of a standard error: 1, 2 or 5, and the power of ten."""
    power = int(np.floor(np.log10(error / 4)))
    return next(one for one in STEPS if one * 10.0**power <= error / 4 or one == 1), power


def rounded(value: float, error: float) -> float:
    """Round a number of known standard error, above 0, to its step."""
    times, power = step_of(error)
    step = times * 10.0**power
    return round(round(value / step) * step, max(0, -power))


def two_digits(value: float) -> float:
    """Round to two digits that count."""
    return float(f"{value:.1e}")
