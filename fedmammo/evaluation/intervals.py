"""95 % intervals, where there can be an honest one; p, families of p, and verdicts.

Who gets none, and why, was settled on simulated data with known truth (benchmarks/coverage.py, docs/statistics.md).
"""

from typing import Literal, NamedTuple

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from fedmammo.evaluation.tested import Floats
from fedmammo.evaluation.variance import Number, Sample, Spread, spread_of

COVERAGE = 0.95
POWER = 0.8  # with which patients that are needed would show a difference
FEWEST_PATIENTS = 10  # of each class, for an interval
FEWEST_DRAWS = 20  # of hospitals, for an interval, unless there is one: fewer do not show how uneven they are
FEWEST_SEEDS = 3  # for an interval, unless there is one
FEWEST_REPEATS = 6  # seeds, for p, unless there is one
CAUTIOUS = 30  # with fewer patients of a class, or levels than FEWEST_REPEATS, coverage may differ from 95 %

Verdict = Literal["superior", "non-inferior", "inconclusive", "inferior", "not assessable"]


class Interval(NamedTuple):
    """A 95 % interval, and what else is said of a number.

    Attributes:
        low: its lower limit; NaN where there is none.
        high: its upper limit.
        at_least: one-sided 95 % lower limit.
        p: two-sided, of the number being 0; NaN where there is none.
        note: why there is no interval, or no p; that it is cautious.
        error: the number's standard error; NaN where there is no interval.
        of_repeats: the part of its square that comes from seeds and draws, 0 to 1; likewise.
    """

    low: float = np.nan
    high: float = np.nan
    at_least: float = np.nan
    p: float = np.nan
    note: str = ""
    error: float = np.nan
    of_repeats: float = np.nan


def interval_of(sample: Number, kind: Literal["number", "share"], cautious: bool = False) -> Interval:
    """Return the interval of a mean over repeats: Student's t, of a `share` (0 to 1) on its log odds.

    p is that of a number, such as a difference; a share has none. `cautious`: whether the metric's always are.
    """
    if isinstance(sample, Sample) and not np.isfinite(sample.influence).all():
        return Interval(note="no interval: none is known for it")
    spread = spread_of(sample)
    why = why_none(sample, spread)
    if why:
        return Interval(note=why)
    few = any(1 < levels < FEWEST_REPEATS for levels in sample.values.shape)
    note = "cautious" if cautious or few or sample.fewest < CAUTIOUS else ""
    mean, error = spread.mean, spread.error
    if kind == "share" and not 0 < mean < 1:
        return Interval(note="no interval: at its end")
    limits = limits_around(mean, error, spread.freedom, kind)
    if kind == "share":
        return Interval(*limits, np.nan, note, error, spread.of_repeats)
    p = np.nan if few else float(2 * student.sf(abs(mean) / error, spread.freedom))
    note += f"; no p: fewer than {FEWEST_REPEATS} seeds" if few else ""
    return Interval(*limits, p, note, error, spread.of_repeats)


def limits_around(
    mean: float, error: float, freedom: float, kind: Literal["number", "share"]
) -> tuple[float, float, float]:
    """Return lower and upper 95 % limit, and the one-sided lower one, by Student's t.

    Args:
        mean: the number; a `share` lies between 0 and 1, and has limits on its log odds.
        error: its standard error.
        freedom: degrees of freedom, above 0.
        kind: which of the two.
    """
    two, one = (float(student.ppf(level, freedom)) for level in ((1 + COVERAGE) / 2, COVERAGE))
    if kind == "number":
        return mean - two * error, mean + two * error, mean - one * error
    centre, away = np.log(mean / (1 - mean)), error / (mean * (1 - mean))
    low, high, least = (float(1 / (1 + np.exp(-(centre + far * away)))) for far in (-two, two, -one))
    return low, high, least


def why_none(sample: Number, spread: Spread) -> str:
    """Say why there is no honest interval; nothing where there is one."""
    seeds, draws = sample.values.shape
    if sample.fewest < FEWEST_PATIENTS:
        return f"no interval: fewer than {FEWEST_PATIENTS} patients of a class"
    if not spread.error > 1e-12:
        return "no interval: nothing varies"
    if 1 < seeds < FEWEST_SEEDS:
        return "no interval: two seeds do not show how they differ"
    if 1 < draws < FEWEST_DRAWS:
        return f"no interval: fewer than {FEWEST_DRAWS} draws of hospitals; each stands in its own row"
    return ""


def verdict_of(low: float, high: float, margin: float) -> Verdict:
    """Return what the limits of a difference's 95 % interval say; `margin`: the largest loss that would not matter."""
    if np.isnan(low):
        return "not assessable"
    if low > 0:
        return "superior"
    if low > -margin:
        return "non-inferior"
    return "inferior" if high < -margin else "inconclusive"


def patients_needed(error: float, of_repeats: float, patients: int, margin: float) -> float:
    """Return with about how many test patients a true difference as large as the margin would be shown as superior.

    Shown: the lower limit of the two-sided 95 % interval lies above 0, with a probability of `POWER`. The error must
    then be at most margin / (1.960 + 0.842), by normal quantiles: where few seeds or draws make up most of it, it takes
    more. With more patients of the same kind their part of the squared error falls as their number grows, and that of
    seeds and draws stays. With fewer all of it is taken for theirs, as what varies between repeats is so in part.

    Args:
        error: standard error of the difference with these patients.
        of_repeats: the part of its square that comes from seeds and draws, 0 to 1.
        patients: how many were tested.
        margin: the difference to be shown, above 0.

    Returns:
        Rounded up to two significant digits, at least `FEWEST_PATIENTS` of each class; NaN where no number is enough,
        because of seeds and draws, or where the error is not known.
    """
    allowed = (margin / float(norm.ppf((1 + COVERAGE) / 2) + norm.ppf(POWER))) ** 2
    fixed = of_repeats * error**2 if error**2 > allowed else 0.0
    if not (allowed > fixed and error > 0):
        return np.nan
    needed = max(patients * (error**2 - fixed) / (allowed - fixed), 2.0 * FEWEST_PATIENTS)
    step = 10.0 ** (int(np.log10(needed)) - 1)
    return float(step * np.ceil(needed / step - 1e-9))


def holm(p: Floats) -> Floats:
    """Adjust one family's `p` (hypotheses,) step-down (Holm 1979, Scandinavian Journal of Statistics 6:65).

    NaN stays NaN and does not count as a hypothesis.
    """
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    adjusted = p.copy()
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted
