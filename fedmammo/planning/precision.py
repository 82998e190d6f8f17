"""How sure a study will be of its primary comparison, from where the squared error of a difference comes from.

The same analysis as that of finished studies (`fedmammo.evaluation.variance`), forwards: a mean over seeds and draws of
hospitals is off by what repeats differ, over their number, and by what patients move all repeats alike.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from fedmammo.evaluation.intervals import COVERAGE, why_none
from fedmammo.evaluation.variance import Sample, Spread
from fedmammo.planning.auroc import detectable


class Repeats(NamedTuple):
    """How often a study is repeated."""

    seeds: int
    draws: int


class Components(NamedTuple):
    """Where the squared error of one difference at one place comes from, with so many patients tested.

    Attributes:
        seeds: variance between seeds.
        draws: variance between draws of hospitals (partitions).
        rest: variance between repeats that neither explains alone.
        alone: variance over patients within one repeat, those that only this repeat has among them.
        shared: the part of it that all repeats have in common.
        patients: how many are tested in a repeat.
        freedom: degrees of freedom of the variance over patients.
    """

    seeds: float
    draws: float
    rest: float
    alone: float
    shared: float
    patients: float
    freedom: float

    def with_patients(self, patients: float) -> "Components":
        """Return the same with another number of patients of the same kind.

        What comes from patients falls as their number grows. Repeats differ in part because their patients do, or weigh
        otherwise: the part of their variance that is `alone` without `shared`. The rest of it, which comes from who
        learned from whom, stays.
        """
        factor = self.patients / patients
        between = self.seeds + self.draws + self.rest
        moves = min(1.0, max(0.0, self.alone - self.shared) / between) if between else 0.0
        scale = 1 - moves + moves * factor
        return Components(
            self.seeds * scale,
            self.draws * scale,
            self.rest * scale,
            self.alone * factor,
            self.shared * factor,
            patients,
            self.freedom / factor,
        )


class Precision(NamedTuple):
    """How sure a study will be of a difference.

    Attributes:
        half_width: of its 95 % interval.
        error: the standard error.
        freedom: degrees of freedom of Student's t.
        of_repeats: the part of the squared error that comes from seeds and draws, 0 to 1.
        detectable: the smallest true difference that is shown as superior with a probability of 80 %.
    """

    half_width: float
    error: float
    freedom: float
    of_repeats: float
    detectable: float


def precision_of(parts: Components, repeats: Repeats) -> Precision:
    """Return how sure a study with so many repeats will be; with one, its interval speaks of patients alone."""
    varied, varied_freedom = _varied(parts, repeats)
    count = repeats.seeds * repeats.draws
    squared = parts.alone if count == 1 else varied + parts.shared
    floor = (parts.alone + (count - 1) * parts.shared) / count  # of these very repeats
    of_patients = parts.alone if count == 1 else parts.shared
    told = [(part, of) for part, of in ((varied, varied_freedom), (of_patients, parts.freedom)) if part > 0]
    spread = sum(part**2 / of for part, of in told)
    freedom = squared**2 / spread if spread else np.inf
    if floor > squared:
        squared, freedom = floor, min(freedom, parts.freedom)
    error = squared**0.5
    half = error * float(student.ppf((1 + COVERAGE) / 2, freedom))
    return Precision(half, error, freedom, varied / squared if squared else 0.0, detectable(error, freedom))


def _varied(parts: Components, repeats: Repeats) -> tuple[float, float]:
    """Return the variance of the mean that seeds and draws explain, and its degrees of freedom."""
    seeds, draws = repeats
    if seeds == draws == 1:
        return 0.0, 1.0
    if seeds == 1:
        return (parts.draws + parts.rest) / draws, draws - 1.0
    if draws == 1:
        return (parts.seeds + parts.rest) / seeds, seeds - 1.0
    of_seeds, of_draws, rest = parts.seeds / seeds, parts.draws / draws, parts.rest / (seeds * draws)
    varied = of_seeds + of_draws + rest
    squares = [(of_seeds + rest, seeds - 1), (of_draws + rest, draws - 1), (rest, (seeds - 1) * (draws - 1))]
    spread = sum(square**2 / of for square, of in squares)
    return varied, varied**2 / spread if spread else 1.0


def why_no_interval(repeats: Repeats, fewest: int) -> str:
    """Say why such a study has no interval, as a finished one says it; nothing where it has one.

    `fewest`: patients of the smaller class in a repeat.
    """
    sample = Sample(np.zeros(repeats), np.zeros(0), np.zeros((2, 0), dtype=bool), fewest)
    return why_none(sample, Spread(0.0, 1.0, 1.0, 0.0, 1.0))
