"""How sure a mean over repeats is: variance over patients, and over seeds and draws of hospitals.

Obuchowski and Rockette 1995 (Communications in Statistics B 24:285) with the degrees of freedom of Hillis 2007
(Statistics in Medicine 26:596): repeats stand for readers, patients for cases. Of a difference of two models the
analysis of both is that of their differences in each repeat. Covariances over patients come from influences, summed up
over each patient's units as Obuchowski 1997 (Biometrics 53:567) does. Nothing is resampled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fedmammo.evaluation.tested import Flags, Floats


@dataclass(frozen=True)
class Sample:
    """A number, in every repeat.

    Attributes:
        values: (seeds, draws of hospitals).
        influence: (seeds, draws, 2, patients), how the number moves with each patient's benign and malignant units.
        has: (2, patients) which patients have benign and malignant units, in any repeat.
        fewest: patients of the smaller class, in the repeat that has fewest.
    """

    values: Floats
    influence: Floats
    has: Flags
    fewest: int

    def __sub__(self, other: "Sample") -> "Sample":
        """Return the difference, repeat by repeat, on the same or other patients."""
        has, fewest = self.has | other.has, min(self.fewest, other.fewest)
        return Sample(self.values - other.values, self.influence - other.influence, has, fewest)

    def __truediv__(self, other: "Sample") -> "Sample":
        """Return the ratio of the two means over repeats, of numbers from the same patients.

        Linearised around that ratio (Cochran 1977, Sampling Techniques, chapter 6), which is the mean of the values
        that are returned: so it is defined where the divisor is 0 in a repeat, and that repeat counts for nothing.
        """
        mean = other.values.mean()
        found = self.values.mean() / mean
        values = found + (self.values - found * other.values) / mean
        influence = (self.influence - found * other.influence) / mean
        return Sample(values, influence, self.has | other.has, min(self.fewest, other.fewest))


class Moments(NamedTuple):
    """What intervals read of a number beside its values; no patient is told apart in it.

    Attributes:
        values: (seeds, draws of hospitals).
        variance: over patients, of the mean over repeats; NaN where it is not known.
        shared: the mean covariance over patients of two repeats that have nothing in common, at least 0.
        freedom: degrees of freedom of `variance`; NaN where they are not known.
        fewest: patients of the smaller class, in the repeat that has fewest.
    """

    values: Floats
    variance: float
    shared: float
    freedom: float
    fewest: int


Number = Sample | Moments


def moments_of(number: Number) -> Moments:
    """Return a number's moments."""
    if isinstance(number, Moments):
        return number
    covariance = covariance_of(number)
    apart = _nothing_shared(*number.values.shape)
    shared = max(0.0, float(covariance[apart].mean())) if apart.any() else 0.0
    return Moments(number.values, float(covariance.mean()), shared, freedom_of_patients(number), number.fewest)


def added(numbers: Sequence[Number], weights: Floats) -> Number:
    """Return a weighted sum of numbers, (numbers,), of which no two are of the same patients."""
    samples = [number for number in numbers if isinstance(number, Sample)]
    if len(samples) == len(numbers):
        return combined(samples, weights)
    told = [moments_of(number) for number in numbers]
    values = np.sum([weight * one.values for weight, one in zip(weights, told, strict=True)], axis=0)
    variances = np.array([one.variance for one in told]) * weights**2
    shared = float(np.array([one.shared for one in told]) @ weights**2)
    freedom = float(variances.sum() ** 2 / (variances**2 / [one.freedom for one in told]).sum())
    return Moments(values, float(variances.sum()), shared, freedom, min(one.fewest for one in told))


def combined(samples: Sequence[Sample], weights: Floats) -> Sample:
    """Return a weighted sum of numbers, repeat by repeat, on the same or other patients.

    Args:
        samples: of the same repeats.
        weights: (samples,) in every repeat the same, or (samples, seeds, draws).
    """
    by_repeat = np.broadcast_to(weights.reshape(len(samples), *(weights.shape[1:] or (1, 1))), _shape(samples))
    values = np.sum([weight * one.values for weight, one in zip(by_repeat, samples, strict=True)], axis=0)
    moved = np.zeros_like(samples[0].influence)
    for weight, one in zip(by_repeat, samples, strict=True):
        moved += weight[..., None, None] * one.influence
    has = np.any([one.has for one in samples], axis=0)
    return Sample(values, moved, has, min(one.fewest for one in samples))


def _shape(samples: Sequence[Sample]) -> tuple[int, ...]:
    return (len(samples), *samples[0].values.shape)


class Spread(NamedTuple):
    """The variance of a mean over repeats.

    Attributes:
        mean: over repeats.
        error: its standard error.
        freedom: degrees of freedom of Student's t.
        of_repeats: the part of the squared error that comes from seeds and draws, 0 to 1.
        hillis: degrees of freedom as published, which take patients' covariances for known.
    """

    mean: float
    error: float
    freedom: float
    of_repeats: float
    hillis: float


def spread_of(number: Number) -> Spread:
    """Return the spread of the mean over repeats.

    With one repeat it speaks of patients alone. Patients' part has degrees of freedom after Welch and Satterthwaite,
    as classes are of different size and spread; the error is at least that of these very repeats.
    """
    values, variance, shared, patients_freedom, _ = moments_of(number)
    mean = float(values.mean())
    floor = max(0.0, variance)
    if values.size == 1:
        return Spread(mean, floor**0.5, patients_freedom, 0.0, np.inf)
    varied, varied_freedom = _repeats(values)
    total = varied + shared
    if not total:
        return Spread(mean, floor**0.5, patients_freedom, 0.0, np.inf)
    hillis = total**2 / (varied**2 / varied_freedom) if varied else np.inf
    parts = [(part, of) for part, of in ((varied, varied_freedom), (shared, patients_freedom)) if part > 0]
    freedom = total**2 / sum(part**2 / of for part, of in parts)
    if floor > total and np.isfinite(patients_freedom):
        freedom = min(freedom, patients_freedom)
    squared = max(total, floor)
    return Spread(mean, squared**0.5, freedom, varied / squared, hillis)


def covariance_of(sample: Sample) -> Floats:
    """Return the covariance over patients of every two repeats, (repeats, repeats)."""
    parts = sample.influence.reshape(-1, *sample.influence.shape[2:])
    counts = sample.has.sum(axis=1)
    total = sum(_enlarged(count) * (parts[:, kind] @ parts[:, kind].T) for kind, count in enumerate(counts))
    cross = _enlarged(int(sample.has.any(axis=0).sum())) * (parts[:, 0] @ parts[:, 1].T)
    found: Floats = total + cross + cross.T
    return found


def _enlarged(count: int) -> float:
    """A sum of squares around a mean that was estimated is too small by this."""
    return count / (count - 1) if count > 1 else np.nan


def freedom_of_patients(sample: Sample) -> float:
    """Return the degrees of freedom of the variance over patients of the mean over repeats."""
    mean = sample.influence.mean(axis=(0, 1))
    counts = sample.has.sum(axis=1)
    parts = [_enlarged(count) * float((row**2).sum()) for row, count in zip(mean, counts, strict=True)]
    known = [(part, count - 1) for part, count in zip(parts, counts, strict=True) if count > 1 and part > 0]
    if not known:
        return np.nan
    return sum(part for part, _ in known) ** 2 / sum(part**2 / freedom for part, freedom in known)


def _nothing_shared(seeds: int, draws: int) -> Flags:
    """Say of every two repeats whether they have no factor in common that varies, (repeats, repeats)."""
    seed, draw = (axis.ravel() for axis in np.indices((seeds, draws)))
    apart: Flags = np.ones((seeds * draws, seeds * draws), dtype=bool)
    for level, levels in ((seed, seeds), (draw, draws)):
        if levels > 1:
            apart &= level[:, None] != level
    return apart


def _repeats(values: Floats) -> tuple[float, float]:
    """Return the variance of the mean that seeds and draws explain, and its degrees of freedom.

    With both, they are crossed factors: mean squares of seeds and of draws, less that of their interaction.
    """
    seeds, draws = values.shape
    if 1 in values.shape:
        repeats = values.size
        return float(values.var(ddof=1)) / repeats, repeats - 1.0
    rows, columns, mean = values.mean(axis=1), values.mean(axis=0), values.mean()
    if not values.std():
        return 0.0, 1.0
    squares = [draws * rows.var(ddof=1), seeds * columns.var(ddof=1)]
    freedoms = [seeds - 1.0, draws - 1.0, (seeds - 1.0) * (draws - 1.0)]
    rest = ((values - rows[:, None] - columns + mean) ** 2).sum() / freedoms[2]
    found = squares[0] + squares[1] - rest
    if found < max(squares):
        larger = int(squares[1] > squares[0])
        return float(squares[larger]) / values.size, freedoms[larger]
    squares.append(rest)
    freedom = found**2 / sum(square**2 / of for square, of in zip(squares, freedoms, strict=True))
    return float(found) / values.size, float(freedom)
