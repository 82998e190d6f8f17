"""95 % intervals, where there can be an honest one; p, families of p, and verdicts.

Who gets none, and why, was settled on simulated data with known truth (benchmarks/coverage.py, docs/statistics.md).
"""

from typing import Literal, NamedTuple

import numpy as np
from scipy.stats import t as student

from fedmammo.evaluation.tested import Floats
from fedmammo.evaluation.variance import Sample, Spread, spread_of

COVERAGE = 0.95
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
    """

    low: float
    high: float
    at_least: float
    p: float
    note: str = ""


def interval_of(sample: Sample, kind: Literal["number", "share"], cautious: bool = False) -> Interval:
    """Return the interval of a mean over repeats: Student's t, of a `share` (0 to 1) on its log odds.

    p is that of a number, such as a difference; a share has none. `cautious`: whether the metric's always are.
    """
    if not np.isfinite(sample.influence).all():
        return Interval(np.nan, np.nan, np.nan, np.nan, "no interval: none is known for it")
    spread = spread_of(sample)
    why = why_none(sample, spread)
    if why:
        return Interval(np.nan, np.nan, np.nan, np.nan, why)
    few = any(1 < levels < FEWEST_REPEATS for levels in sample.values.shape)
    note = "cautious" if cautious or few or sample.fewest < CAUTIOUS else ""
    two, one = (float(student.ppf(level, spread.freedom)) for level in ((1 + COVERAGE) / 2, COVERAGE))
    mean, error = spread.mean, spread.error
    if kind == "share":
        if not 0 < mean < 1:
            return Interval(np.nan, np.nan, np.nan, np.nan, "no interval: at its end")
        centre, error = np.log(mean / (1 - mean)), error / (mean * (1 - mean))
        low, high, least = (1 / (1 + np.exp(-(centre + far * error))) for far in (-two, two, -one))
        return Interval(float(low), float(high), float(least), np.nan, note)
    p = np.nan if few else float(2 * student.sf(abs(mean) / error, spread.freedom))
    note += f"; no p: fewer than {FEWEST_REPEATS} seeds" if few else ""
    return Interval(mean - two * error, mean + two * error, mean - one * error, p, note)


def why_none(sample: Sample, spread: Spread) -> str:
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


def holm(p: Floats) -> Floats:
    """Adjust one family's `p` (hypotheses,) step-down (Holm 1979, Scandinavian Journal of Statistics 6:65).

    NaN stays NaN and does not count as a hypothesis.
    """
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    adjusted = p.copy()
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted
