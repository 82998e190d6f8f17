"""learning_curve.csv: how a metric rises with more hospitals, or more patients to learn from, and how far it may go.

Points are models of coalitions. Through them runs an inverse power law, a - b n^-c (Figueroa et al. 2012, BMC Medical
Informatics and Decision Making 12:8; Viering and Loog 2023, IEEE Transactions on Pattern Analysis and Machine
Intelligence 45:7799), by least squares weighted with the inverse of each point's squared error. Its value at any size
is, to first order, a weighted sum of the points (delta method): so that its interval is that of such a sum, with all
that points share, patients, seeds and draws of hospitals. What points lie off the law, beyond what patients explain,
comes on top of the squared error. Nothing is resampled.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import comb
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from fedmammo.config.arm import ALL
from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.config.variants import FRACTION, LEARNING
from fedmammo.evaluation.intervals import CAUTIOUS, interval_of, limits_around, why_none
from fedmammo.evaluation.metrics import Metric, metric_named
from fedmammo.evaluation.predictions import Series
from fedmammo.evaluation.scoring import Estimate, Place, Scores
from fedmammo.evaluation.tables import limits_shown, measured
from fedmammo.evaluation.tested import Floats
from fedmammo.evaluation.value import Coalition, models_of
from fedmammo.evaluation.variance import Sample, combined, covariance_of, spread_of

LEARNING_CURVE = [
    *("setting", "metric", "unit", "by", "what", "size", "value", "ci_low", "ci_high"),
    *("models", "limit", "loss", "rate", "repeats", "patients", "positives", "note"),
]
FEWEST_SIZES = 3  # for a curve
FEWEST_POINTS = 4  # of different sizes: a law has three parameters
FARTHEST = 2.0  # times the largest size seen
RATES = 0.02, 5.0  # c; at either end points do not tell how the curve bends
DRAWN = 25  # sizes at which a law is told


class Point(NamedTuple):
    """What models of one size score.

    Attributes:
        size: above 0, such as the number of hospitals.
        sample: the metric, the mean over these models.
        models: how many.
    """

    size: float
    sample: Sample
    models: int = 1


class Law(NamedTuple):
    """An inverse power law, limit - loss n^-rate.

    Attributes:
        limit: what it comes to without end.
        loss: what is lost of it at size 1.
        rate: how fast that vanishes, above 0.
    """

    limit: float
    loss: float
    rate: float

    def at(self, size: float) -> float:
        """Return its value at a size."""
        return float(self.limit - self.loss * size**-self.rate)


class Told(NamedTuple):
    """A law's value at a size, with the limits of its 95 % interval.

    What it gains over the largest size seen has none: there the law's bend is all that counts, and the delta method
    covered too seldom in simulations where points lay off the law (docs/statistics.md).
    """

    size: float
    value: float
    low: float
    high: float
    note: str


class UntoldError(Exception):
    """No law can be told; the message says why."""


def law_of(sizes: Floats, values: Floats, weights: Floats) -> Law:
    """Fit an inverse power law by weighted least squares.

    At a given rate the others follow by linear regression, so that the rate alone is searched for.

    Args:
        sizes: (points,) above 0, of at least three values.
        values: (points,).
        weights: (points,) above 0.

    Raises:
        UntoldError: where values do not rise, or the best rate lies at an end of RATES.
    """
    root, largest = np.sqrt(weights / weights.max()), sizes.max()

    def solved(log_rate: float) -> tuple[Floats, float]:
        design = np.column_stack([np.ones(len(sizes)), -((sizes / largest) ** -np.exp(log_rate))])
        found = np.linalg.lstsq(root[:, None] * design, root * values, rcond=None)[0]
        return found, float(((root * (values - design @ found)) ** 2).sum())

    grid = np.linspace(np.log(RATES[0]), np.log(RATES[1]), 81)
    best = int(np.argmin([solved(one)[1] for one in grid]))
    if solved(grid[best])[0][1] <= 0:
        raise UntoldError("the curve does not rise")
    if best in (0, len(grid) - 1):
        raise UntoldError("points do not tell how the curve bends")
    bounds = (grid[best - 1], grid[best + 1])
    log_rate = float(minimize_scalar(lambda one: solved(one)[1], bounds=bounds, options={"xatol": 1e-10}).x)
    (limit, loss), rate = solved(log_rate)[0], float(np.exp(log_rate))
    return Law(float(limit), float(loss * largest**rate), rate)


def extrapolated(
    points: Sequence[Point], sizes: Sequence[float], kind: Literal["number", "share"]
) -> tuple[Law, list[Told]]:
    """Fit a law to points and tell its values, with intervals.

    Args:
        points: of the same patients and repeats.
        sizes: where to tell it.
        kind: of the metric; a share has its interval on log odds.

    Raises:
        UntoldError: where there are too few points, no interval of one of them, or no rise was shown.
    """
    points = sorted(points, key=lambda point: point.size)
    if len({point.size for point in points}) < FEWEST_POINTS:
        raise UntoldError(f"fewer than {FEWEST_POINTS} sizes")
    samples = [point.sample for point in points]
    spreads = [spread_of(sample) for sample in samples]
    if why := next(filter(None, map(why_none, samples, spreads)), ""):
        raise UntoldError(why.removeprefix("no interval: "))
    if not interval_of(samples[-1] - samples[0], "number").low > 0:
        raise UntoldError("a rise from the smallest to the largest size was not shown")
    at, values = np.array([point.size for point in points]), np.array([spread.mean for spread in spreads])
    weights = np.array([spread.error**-2 for spread in spreads])
    law = law_of(at, values, weights)
    slopes = _gradient(law, at, at.max())
    if np.linalg.cond(weights[:, None] ** 0.5 * slopes) > 1e8:
        raise UntoldError("points do not tell how the curve bends")
    solved = np.linalg.solve(slopes.T @ (weights[:, None] * slopes), slopes.T * weights)
    off = _misfit(samples, values - [law.at(size) for size in at], weights, slopes @ solved)
    lines = _gradient(law, np.array(sizes), at.max()) @ solved
    found = []
    for size, line in zip(sizes, lines, strict=True):
        low, high = _limits(law.at(size), line, samples, off, kind)
        note = "no interval: at its end" if np.isnan(low) else ""
        note = note or ("cautious" if min(sample.fewest for sample in samples) < CAUTIOUS else "")
        found.append(Told(size, law.at(size), low, high, note))
    return law, found


def _gradient(law: Law, sizes: Floats, largest: float) -> Floats:
    """Return how the law moves with its parameters, (sizes, 3); sizes are parts of the largest."""
    part = sizes / largest
    falling = part**-law.rate
    loss = law.loss * largest**-law.rate
    return np.column_stack([np.ones(len(sizes)), -falling, loss * falling * np.log(part)])


def _misfit(samples: Sequence[Sample], left: Floats, weights: Floats, hat: Floats) -> float:
    """Return the variance by which points lie off the law, beyond what patients explain (method of moments)."""
    means = np.stack([sample.influence.mean(axis=(0, 1)) for sample in samples])[:, None]
    whole = combined(samples, np.full(len(samples), 1 / len(samples)))
    of_patients = covariance_of(Sample(np.zeros((len(samples), 1)), means, whole.has, whole.fewest))
    rest = np.eye(len(samples)) - hat
    weighted = rest.T * weights @ rest
    expected = float(np.trace(weighted @ of_patients))
    return max(0.0, (float((weights * left**2).sum()) - expected) / float(np.trace(weighted)))


def _limits(
    value: float, line: Floats, samples: Sequence[Sample], off: float, kind: Literal["number", "share"]
) -> tuple[float, float]:
    """Return limits of a number that is a weighted sum of points; `off`: by how much each lies off the law, squared."""
    if kind == "share" and not 0 < value < 1:
        return np.nan, np.nan
    spread = spread_of(combined(samples, line))
    squared, of_misfit, freedom = spread.error**2, off * float(line @ line), spread.freedom
    if of_misfit > 0:
        own = max(len(samples) - 3, 1)
        freedom = (squared + of_misfit) ** 2 / (squared**2 / spread.freedom + of_misfit**2 / own)
    low, high, _ = limits_around(value, (squared + of_misfit) ** 0.5, freedom, kind)
    return low, high


def learning_of(
    scores: Scores, config: EvaluationConfig, patients: Mapping[str, Mapping[str, float]] | None = None
) -> pd.DataFrame:
    """Return learning curves on all test patients, by hospitals and by training patients, in each setting.

    By hospitals a point is the mean over all coalitions of as many; sizes of which one has no model are left out. By
    patients a point is a coalition; and, of an arm that the study runs on fractions of the patients, one of these: with
    so many patients in all, or where each hospital trains alone, in each on average. A law tells the mean curve, not
    what one more hospital of a kind would do, and takes for granted that those to come are like those that are here.

    Args:
        scores: of a study.
        config: names the metric.
        patients: arm → hospital, or `all` → patients that train; without, there is no curve by patients.

    Returns:
        Columns as LEARNING_CURVE; `what` is `seen`, `fitted` or `extrapolated`. Where no law can be told, one row
        of the latter says why. Empty where coalitions are not told apart.
    """
    metric = metric_named(config.primary.metric, config.unit)
    rows: list[dict[str, object]] = []
    for setting in dict.fromkeys(one.setting for one in scores.predictions.series):
        models = models_of(scores, setting)
        found = scores.estimates(Place(), metric, models.values())
        samples = {one: found[series].sample for one, series in models.items()}
        known = {one: sample for one, sample in samples.items() if sample is not None}
        who = scores.who(Place(), metric.unit)
        about = {
            "setting": setting,
            "metric": metric.name,
            "unit": metric.unit,
            "repeats": len(scores.predictions.repeats),
            "patients": who.patients,
            "positives": who.positives,
        }
        sizes = patients or {}
        curves = {
            "hospitals": by_hospitals(known),
            "patients": by_patients(known, sizes.get("federated", {})) if len(known) > 1 else [],
            **by_fractions(measured(scores, Place(), metric), setting, sizes),
        }
        for by, points in curves.items():
            rows += [about | {"by": by} | row for row in _rows(points, metric)]
    return pd.DataFrame(rows, columns=LEARNING_CURVE)


def by_fractions(
    found: Mapping[Series, Estimate], setting: str, patients: Mapping[str, Mapping[str, float]]
) -> dict[str, list[Point]]:
    """Return, for each arm that was run on fractions of the patients, a point for each fraction and for all of them."""
    curves: dict[str, list[Point]] = {}
    for kind in LEARNING:
        arms = [arm for arm in patients if arm == kind or arm.startswith(kind + FRACTION)]
        samples = {arm: found[one].sample for arm in arms if (one := Series(arm, setting, ALL)) in found}
        sizes = {arm: sum(patients[arm].values()) / (len(patients[arm]) if kind == "local" else 1) for arm in arms}
        points = [Point(sizes[arm], sample) for arm, sample in samples.items() if sample is not None]
        if len(points) > 1:
            curves[f"patients, {kind}"] = sorted(points, key=lambda point: point.size)
    return curves


def by_hospitals(samples: Mapping[Coalition, Sample]) -> list[Point]:
    """Return the mean over all coalitions of each size, where all are there."""
    count = max(map(len, samples), default=0)
    points = []
    for size in range(1, count + 1):
        own = [sample for one, sample in samples.items() if len(one) == size]
        if len(own) == comb(count, size):
            points.append(Point(size, combined(own, np.full(len(own), 1 / len(own))), len(own)))
    return points


def by_patients(samples: Mapping[Coalition, Sample], patients: Mapping[str, float]) -> list[Point]:
    """Return each coalition whose hospitals' training patients are known, by how many there are in all."""
    known = {one: sample for one, sample in samples.items() if one <= patients.keys()}
    points = [Point(float(sum(patients[name] for name in sorted(one))), sample) for one, sample in known.items()]
    return sorted((point for point in points if point.size > 0), key=lambda point: point.size)


def _rows(points: Sequence[Point], metric: Metric) -> Iterator[dict[str, object]]:
    """Return the rows of one curve; two sizes make none."""
    if len({point.size for point in points}) < FEWEST_SIZES:
        return
    for point in points:
        shown = limits_shown(interval_of(point.sample, metric.kind, metric.cautious))
        value = float(point.sample.values.mean())
        yield {"what": "seen", "size": float(round(point.size)), "value": value, "models": point.models, **shown}
    smallest, largest = points[0].size, max(point.size for point in points)
    try:
        law, told = extrapolated(points, _sizes(smallest, largest), metric.kind)
    except UntoldError as error:
        yield {"what": "extrapolated", "size": FARTHEST * largest, "note": f"no extrapolation: {error}"}
        return
    for one in told:
        what = "fitted" if one.size <= round(largest) else "extrapolated"
        limits = {"ci_low": one.low, "ci_high": one.high}
        yield one._asdict() | limits | law._asdict() | {"what": what}


def _sizes(smallest: float, largest: float) -> list[float]:
    """Return whole numbers at which a law is told, up to FARTHEST times the largest size."""
    return sorted({float(round(size)) for size in (*np.linspace(smallest, FARTHEST * largest, DRAWN), largest)})
