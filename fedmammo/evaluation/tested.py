"""What a metric reads: one model's scores of some units (images, lesions, breasts or patients), fold by fold."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]


class UndefinedError(Exception):
    """A metric cannot be computed; the message says why, as a table's note."""


class Measured(NamedTuple):
    """A metric's value, and how it would move.

    Attributes:
        value: of the metric.
        influence: (units,), the derivative of the value by each unit's weight; sums to 0. Sums of it over the units of
            a patient, squared and added up, estimate the value's variance over patients (the infinitesimal jackknife;
            of the AUROC this is the estimate of DeLong et al. 1988, and of Obuchowski 1997 where units are clustered).
    """

    value: float
    influence: Floats


@dataclass(frozen=True)
class Tested:
    """One model's scores; with folds, those of the models of all folds, each on its own units.

    Units of different folds are never compared with each other: their models differ.

    Attributes:
        label: (units,) 1 malignant, 0 benign.
        score: (units,) probability of malignancy, 0 to 1.
        patient: (units,) whose unit it is, any whole numbers from 0.
        fold: (units,) whole numbers from 0.
        balanced: (units,) the cut of its fold's model chosen for balanced accuracy; NaN where there is none.
        specific: (units,) the cut chosen for a specificity of 90 %; NaN where there is none.
        learned: (units,) the malignant share among validation units of its fold's model; NaN where they have one class.
    """

    label: Integers
    score: Floats
    patient: Integers
    fold: Integers
    balanced: Floats
    specific: Floats
    learned: Floats

    @cached_property
    def malignant(self) -> Flags:
        """Which units are malignant."""
        return self.label == 1

    def need_both(self) -> None:
        """Raise UndefinedError unless both classes were tested."""
        if not len(self.label):
            raise UndefinedError("nobody tested")
        self.need_malignant()
        if self.malignant.all():
            raise UndefinedError("nobody benign tested")

    def need_malignant(self) -> None:
        """Raise UndefinedError unless somebody malignant was tested."""
        if not self.malignant.any():
            raise UndefinedError("nobody malignant tested" if len(self.label) else "nobody tested")

    def folds(self) -> list[Integers]:
        """The positions of the units of each fold."""
        order = np.argsort(self.fold, kind="stable")
        starts = np.flatnonzero(np.diff(self.fold[order])) + 1
        return np.split(order, starts) if len(order) else []


Measure = Callable[[Tested], Measured]
"""A metric. Raises UndefinedError where it cannot be computed."""

Measures = Callable[[Tested], list[Measured]]
"""Several numbers, always as many, in one pass over the scores. Raises UndefinedError where none can be computed."""


def ratio(numerator: Floats, denominator: Floats) -> Measured:
    """Measure a ratio of two sums over units: each (units,)."""
    total = denominator.sum()
    value = numerator.sum() / total
    return Measured(float(value), (numerator - value * denominator) / total)
