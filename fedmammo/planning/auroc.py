"""How far an AUROC, or the difference of two, lies from the truth by chance, from numbers of patients alone.

Hanley and McNeil 1982 (Radiology 143:29) and 1983 (Radiology 148:839); Obuchowski 1994 (Statistics in Medicine 13:2219)
and 1998 (Statistical Methods in Medical Research 7:371). Patients with several units: a design effect (Kish 1965).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from fedmammo.evaluation.intervals import COVERAGE, POWER


class Sizes(NamedTuple):
    """Who is tested.

    Attributes:
        benign: benign units, above 0.
        malignant: malignant units, above 0.
        folds: within which units are ranked; the same number of units in each.
        effect: how many times the variance is that of as many independent units, from 1 up (`design_effect`).
    """

    benign: float
    malignant: float
    folds: int = 1
    effect: float = 1.0

    def times(self, factor: float) -> "Sizes":
        """Return so many times as many units of the same kind."""
        return self._replace(benign=self.benign * factor, malignant=self.malignant * factor)


def variance(auroc: float, sizes: Sizes) -> float:
    """Return the variance of an AUROC (0 to 1), of scores with exponential distributions (Hanley and McNeil 1982).

    With folds, of the rightly ranked pairs within folds over all such pairs.
    """
    one_malignant, one_benign = _pairs_in_common(auroc)
    benign, malignant = sizes.benign / sizes.folds, sizes.malignant / sizes.folds
    of_pairs = auroc * (1 - auroc) + (malignant - 1) * one_benign + (benign - 1) * one_malignant
    return sizes.effect * of_pairs / (benign * malignant * sizes.folds)


def _pairs_in_common(auroc: float) -> tuple[float, float]:
    """Return the covariances of two pairs that share their malignant, or their benign, unit."""
    return 2 * auroc**2 / (1 + auroc) - auroc**2, auroc / (2 - auroc) - auroc**2


def binormal_variance(auroc: float, sizes: Sizes) -> float:
    """Return the same of scores with two normal distributions of one width (Obuchowski 1994); folds do not count."""
    square = 2 * float(norm.ppf(auroc)) ** 2
    per_malignant = 0.0099 * np.exp(-square / 2) * (5 * square + 8 + (square + 8) * sizes.malignant / sizes.benign)
    return sizes.effect * float(per_malignant) / sizes.malignant


def variance_of_difference(one: float, other: float, correlation: float) -> float:
    """Return the variance of a difference of two AUROCs from their variances and correlation, -1 to 1."""
    return one + other - 2 * correlation * float(np.sqrt(one * other))


def design_effect(units: Sequence[int], correlation: float) -> float:
    """Return by what units that come from the same patients make a variance larger (Kish 1965, Survey Sampling, 8.2).

    Args:
        units: of each patient, from 1 up.
        correlation: of what two units of a patient add to an AUROC's error, 0 to 1: assumed.
    """
    counts = np.asarray(units, dtype=float)
    return 1 + (float((counts**2).sum() / counts.sum()) - 1) * correlation


def malignant_needed(
    auroc: float, other: float, correlation: float = 0.0, ratio: float = 1.0, alpha: float = 0.05, power: float = POWER
) -> float:
    """Return how many malignant units show that two AUROCs differ: Hanley and McNeil 1982, page 35, in large samples.

    Args:
        auroc: of the one that is to be exceeded.
        other: of the one that exceeds it.
        correlation: of the two AUROCs, as the same patients are tested by both.
        ratio: benign units for each malignant one.
        alpha: chance to show a difference where there is none, on this side alone.
        power: chance to show this one.
    """

    def each(value: float) -> float:
        one_malignant, one_benign = _pairs_in_common(value)
        return one_malignant + one_benign / ratio

    null = variance_of_difference(each(auroc), each(auroc), correlation)
    true = variance_of_difference(each(auroc), each(other), correlation)
    reach = float(norm.ppf(1 - alpha)) * null**0.5 + float(norm.ppf(power)) * true**0.5
    return (reach / (other - auroc)) ** 2


def detectable(error: float, freedom: float = np.inf, power: float = POWER) -> float:
    """Return the smallest true difference whose 95 % interval lies above 0 with this probability.

    Args:
        error: standard error of the difference.
        freedom: degrees of freedom of Student's t by which the interval is made.
        power: the probability.
    """
    return error * float(student.ppf((1 + COVERAGE) / 2, freedom) + student.ppf(power, freedom))


def power_of(difference: float, error: float, freedom: float = np.inf) -> float:
    """Return the probability that the 95 % interval lies above 0 where the true difference is this one.

    For non-inferiority take the true difference plus the margin.
    """
    if not error > 0:
        return float(difference > 0)
    return float(student.cdf(difference / error - student.ppf((1 + COVERAGE) / 2, freedom), freedom))
