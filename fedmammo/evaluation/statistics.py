"""How sure a number is: patients and seeds resampled, intervals, paired differences, families of tests.

One draw serves everything that is scored on the same patients, so two arms differ resample by resample and what
they share cancels. Patients are drawn whole, because the images of one patient are not independent.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fedmammo.evaluation.metrics import Floats

COVERAGE = 0.95
_ROUNDING = 1e-12  # two means of the same numbers in another order differ by less


@dataclass(frozen=True)
class Draw:
    """Integer weights of one bootstrap: `patients` (resamples, patients), `repeats` (resamples, repeats).

    A repeat is a seed of the study with a draw of hospitals; a seed's repeats stand together.
    """

    patients: Floats
    repeats: Floats


class Interval(NamedTuple):
    """A 95 % percentile interval; NaN with a note where too few resamples are defined."""

    low: float
    high: float
    note: str = ""


class Difference(NamedTuple):
    """A paired difference, its 95 % interval and two-sided p in (0, 1]; NaN where it is undefined.

    `at_least` is the one-sided 95 % lower limit: minus the most that is lost.
    """

    difference: float
    low: float
    high: float
    at_least: float
    p: float


def draw_resamples(patients: int, seeds: int, draws: int, resamples: int, seed: int) -> Draw:
    """Draws patients and, crossed with them, seeds and draws of hospitals: with replacement, as many as there are.

    They are crossed random effects, resampled independently of each other (Owen 2007, Annals of Applied Statistics
    1:386, the pigeonhole bootstrap); a repeat's weight is its seed's times its draw's. With one seed and one draw
    the interval speaks of patients only.
    """
    generator = np.random.default_rng(seed)
    by_patient = generator.multinomial(patients, np.full(patients, 1 / patients), size=resamples)
    by_seed = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples)
    by_draw = generator.multinomial(draws, np.full(draws, 1 / draws), size=resamples)
    repeats = (by_seed[:, :, None] * by_draw[:, None]).reshape(resamples, -1)
    return Draw(by_patient.astype(np.float64), repeats.astype(np.float64))


def mean_over_repeats(values: Floats, weights: Floats) -> Floats:
    """Weighted mean inside each resample: `values` (repeats, resamples), `weights` (resamples, repeats).

    A repeat that a resample did not draw may be undefined there.
    """
    drawn = np.where(weights.T > 0, values, 0.0)
    return (drawn * weights.T).sum(axis=0) / weights.sum(axis=1)


def percentile_interval(resampled: Floats) -> Interval:
    """The middle 95 % of `resampled` (resamples,), NaN left out; none if more than half are NaN.

    Any resample left out is told in the note (a small hospital may lose one class in a resample).
    """
    defined = resampled[~np.isnan(resampled)]
    of = f"{len(defined)} of {len(resampled)} resamples"
    if 2 * len(defined) < len(resampled):
        return Interval(np.nan, np.nan, f"no interval: defined in {of}")
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(float(low), float(high), "" if len(defined) == len(resampled) else f"interval over {of}")


def p_value(resampled: Floats) -> float:
    """The smallest alpha whose percentile interval of `resampled` (resamples,) excludes 0; no NaN in it.

    Twice the smaller tail at 0, counted as (k + 1) / (resamples + 1) so that it is never 0 (Davison and Hinkley
    1997, Bootstrap Methods and their Application, section 4.2), and at most 1.
    """
    tail = min(int((resampled <= 0).sum()), int((resampled >= 0).sum()))
    return min(1.0, 2 * (tail + 1) / (len(resampled) + 1))


def paired_difference(value: float, against: float, resampled: Floats, resampled_against: Floats) -> Difference:
    """`value` - `against`, whose resamples (resamples,) come from one `Draw`.

    Differences below rounding are 0, so identical arms have p = 1.
    """
    difference = np.append(resampled - resampled_against, value - against)
    difference[np.abs(difference) < _ROUNDING] = 0.0
    interval = percentile_interval(difference[:-1])
    if np.isnan(difference[-1]) or np.isnan(interval.low):
        return Difference(float(difference[-1]), np.nan, np.nan, np.nan, np.nan)
    defined = difference[:-1][~np.isnan(difference[:-1])]
    at_least = float(np.quantile(defined, 1 - COVERAGE))
    return Difference(float(difference[-1]), interval.low, interval.high, at_least, p_value(defined))


def holm(p: Floats) -> Floats:
    """Adjusts one family's `p` (hypotheses,) step-down (Holm 1979, Scandinavian Journal of Statistics 6:65).

    NaN stays NaN and does not count as a hypothesis.
    """
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    adjusted = p.copy()
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted
