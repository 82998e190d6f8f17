"""Cuts in score, chosen for one model on its validation patients."""

from typing import NamedTuple

import numpy as np

from fedmammo.evaluation.ranking import FEWEST_BENIGN
from fedmammo.evaluation.tested import Floats, Integers


class Thresholds(NamedTuple):
    """Cuts in score; who scores higher is called malignant. NaN where validation has too few.

    Attributes:
        balanced: the validation score with the greatest balanced accuracy, the smallest of equals.
        specific: expected to be exceeded by at most 10 % of benign units.
        prevalence: malignant share of the validation units, which is that of those learned from.
    """

    balanced: float
    specific: float
    prevalence: float


def choose_thresholds(label: Integers, score: Floats) -> Thresholds:
    """Choose cuts from validation units: `label` (units,) of 0 and 1, `score` (units,).

    `balanced` (Youden 1950, Cancer 3:32) needs both classes. `specific` is the benign score of rank ceil(.9 (n + 1)):
    a new benign unit does not exceed it with a probability of at least .9 (an order statistic splits the distribution
    into n + 1 parts of equal expectation); it needs nine benign units.
    """
    malignant, benign = np.sort(score[label == 1]), np.sort(score[label == 0])
    rank = -(-9 * (len(benign) + 1) // 10)  # in integers: .9 has no exact binary fraction
    specific = float(benign[rank - 1]) if len(benign) >= FEWEST_BENIGN else np.nan
    if not len(malignant) or not len(benign):
        return Thresholds(np.nan, specific, np.nan)
    cuts = np.unique(score)
    missed = np.searchsorted(malignant, cuts, side="right")
    cleared = np.searchsorted(benign, cuts, side="right")
    # Youden's index times both class sizes: integers, so that equal cuts are seen as equal
    best = np.argmax(cleared * len(malignant) - missed * len(benign))
    return Thresholds(float(cuts[best]), specific, float(label.mean()))
