"""Whether probabilities mean what they say: Brier score, slope and intercept, and an error without its bias."""

from typing import NamedTuple

import numpy as np
from scipy.special import expit

from fedmammo.evaluation.tested import Floats, Integers, Measured, Tested, UndefinedError, ratio

BINS = 10
CERTAIN = 1e-6  # probabilities nearer to 0 or 1 count as so near
STEPS, STEEPEST = 50, 30.0
FEWEST_UNITS = 100  # for a calibration error
FEWEST = 10  # of each class, to fit a slope at a hospital


class Line(NamedTuple):
    """log odds = intercept + slope x log odds of the score."""

    intercept: float = 0.0
    slope: float = 1.0

    def of(self, score: Floats) -> Floats:
        """Recalibrate scores."""
        return expit(self.intercept + self.slope * log_odds(score))


def log_odds(score: Floats) -> Floats:
    """Return log odds of probabilities."""
    inside = np.clip(score, CERTAIN, 1 - CERTAIN)
    odds: Floats = np.log(inside / (1 - inside))
    return odds


def brier(tested: Tested) -> Measured:
    """Brier score: the mean squared difference between probability and truth."""
    if not len(tested.label):
        raise UndefinedError("nobody tested")
    return ratio((tested.score - tested.label) ** 2, np.ones(len(tested.label)))


def slope(tested: Tested) -> Measured:
    """Calibration slope: of a logistic regression of truth on the scores' log odds; 1 is right, less is too sure.

    Cox 1958 (Biometrika 45:562). Folds are pooled.
    """
    tested.need_both()
    line = fit(tested.label, tested.score)
    design = np.stack([np.ones(len(tested.score)), log_odds(tested.score)])
    told = expit(line.intercept + line.slope * design[1])
    information = (design * told * (1 - told)) @ design.T
    return Measured(line.slope, np.linalg.solve(information, design * (tested.label - told))[1])


def intercept(tested: Tested) -> Measured:
    """Calibration in the large: what has to be added to the scores' log odds so that their mean is right."""
    tested.need_both()
    shift = fit_shift(tested.label, tested.score)
    told = expit(shift + log_odds(tested.score))
    return Measured(shift, (tested.label - told) / (told * (1 - told)).sum())


def error(tested: Tested) -> Measured:
    """Calibration error: the root of the mean squared difference between scores and truth in ten bins, without bias.

    As Kumar et al. 2019 (arXiv 1909.10155) the expected square of chance is taken out of each bin's square; here by
    multiplying only differences of different patients. 0 where that leaves less than nothing: the root has a bias of
    its own, so that `FEWEST_UNITS` are needed, and there is no interval. Bins of one patient do not count.
    """
    if len(tested.label) < FEWEST_UNITS:
        raise UndefinedError(f"fewer than {FEWEST_UNITS} tested" if len(tested.label) else "nobody tested")
    place = _bin_of(tested.score)
    patients = np.unique(tested.patient, return_inverse=True)[1]
    shape = (BINS, int(patients.max()) + 1)
    cell = place * shape[1] + patients
    off = np.bincount(cell, tested.score - tested.label, np.prod(shape)).reshape(shape)
    count = np.bincount(cell, minlength=np.prod(shape)).reshape(shape)
    products = off.sum(axis=1) ** 2 - (off**2).sum(axis=1)
    pairs = count.sum(axis=1) ** 2 - (count**2).sum(axis=1)
    squared = np.divide(products, pairs, out=np.zeros(BINS), where=pairs > 0)
    weights = np.where(pairs > 0, count.sum(axis=1), 0)
    total = float(weights @ squared / max(1, weights.sum()))
    return Measured(max(0.0, total) ** 0.5, np.full(len(tested.score), np.nan))


def in_bin(tested: Tested, number: int) -> list[Measured]:
    """Tell of one of `BINS` bins of equal width of the score, by its number from 0.

    Units in it, malignant units in it, and the sum of its scores, each over the number of units tested; patients with
    units in it, and with malignant ones: of these two the influence is left out (0).
    """
    if not len(tested.label):
        raise UndefinedError("nobody tested")
    inside, everybody = _bin_of(tested.score) == number, np.ones(len(tested.label))
    ill = inside & tested.malignant
    shares = [ratio(one.astype(float), everybody) for one in (inside, ill, inside * tested.score)]
    return shares + [Measured(float(len(set(tested.patient[one]))), 0 * everybody) for one in (inside, ill)]


def _bin_of(score: Floats) -> Integers:
    """Return the number of each score's bin, from 0."""
    found: Integers = np.minimum((score * BINS).astype(np.int64), BINS - 1)
    return found


def fit(label: Integers, score: Floats) -> Line:
    """Fit a line by maximum likelihood. Raises UndefinedError where the classes do not overlap."""
    design = np.stack([np.ones(len(score)), log_odds(score)])
    found = np.zeros(2)
    for _ in range(STEPS):
        told = expit(found @ design)
        information = (design * told * (1 - told)) @ design.T
        if np.linalg.cond(information) > 1e12:
            raise UndefinedError("scores do not vary, or separate the classes")
        step = np.linalg.solve(information, design @ (label - told))
        found = found + step / max(1.0, np.abs(step).max() / 5)
        if np.abs(step).max() < 1e-10:
            break
    if np.abs(step).max() > 1e-6 or abs(found[1]) > STEEPEST:
        raise UndefinedError("scores separate the classes")
    return Line(float(found[0]), float(found[1]))


def fit_shift(label: Integers, score: Floats) -> float:
    """Fit an intercept alone, the slope being 1. Both classes are needed."""
    low, high, odds = -30.0, 30.0, log_odds(score)
    for _ in range(60):  # the sum of probabilities grows with the shift
        middle = (low + high) / 2
        if expit(middle + odds).sum() < label.sum():
            low = middle
        else:
            high = middle
    return (low + high) / 2


def recalibration(label: Integers, score: Floats) -> Line | None:
    """Fit what a hospital would correct a model's scores by on its own validation units; None where it cannot.

    Slope and intercept from `FEWEST` units of each class on, with fewer the intercept alone.
    """
    fewest = min(int(label.sum()), int((1 - label).sum()))
    if not fewest:
        return None
    try:
        return fit(label, score) if fewest >= FEWEST else Line(fit_shift(label, score))
    except UndefinedError:
        return Line(fit_shift(label, score))
