"""heterogeneity.csv: how a difference of two arms varies from hospital to hospital, and what a new one may expect.

Random effects over hospitals (fedmammo.evaluation.random_effects), each tested on its own patients with what an arm
would give it; within hospitals variances come from patients' influences.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import t as student

from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.evaluation.intervals import (
    CAUTIOUS,
    FEWEST_PATIENTS,
    FEWEST_REPEATS,
    Interval,
    interval_of,
    limits_around,
    why_none,
)
from fedmammo.evaluation.metrics import Metric, metric_named
from fedmammo.evaluation.random_effects import Fit, fit, predicted
from fedmammo.evaluation.scoring import READER, Place, Scores, Who
from fedmammo.evaluation.tables import Pair, at_home, primary_pair
from fedmammo.evaluation.variance import Moments, Number, Sample, added, moments_of, spread_of

FLAT = 1e-24  # a variance of nothing that varies
NOT_TOLD = {"patients": pd.NA, "positives": pd.NA}  # of a hospital that does not say whom it tests
FEWEST_HOSPITALS = 3  # for an interval of their mean; one more for that of a slope
DOUBLING = "tested patients, doubled"  # the covariate that is always there
HETEROGENEITY = [
    *("arm", "against", "setting", "against_setting", "metric", "unit", "what", "about"),
    *("estimate", "ci_low", "ci_high", "p", "weight", "tau", "i2", "q"),
    *("hospitals", "left_out", "patients", "positives", "repeats", "note"),
]
Covariates = Mapping[str, Mapping[tuple[int, str], float]]
"""Name → draw of hospitals (its seed) and hospital → number."""


@dataclass(frozen=True)
class Dealing:
    """The effects of hospitals, as patients were dealt to them once.

    Attributes:
        draw: its seed; of several that deal the same, the first.
        samples: hospital → effect in each repeat: those that can be told of.
        who: hospital → who was tested.
        left: hospital → why it is left out.
    """

    draw: int
    samples: Mapping[str, Number]
    who: dict[str, Who]
    left: dict[str, str]

    def fit(self, values: Sequence[float] | None = None) -> Fit:
        """Fit the mean, or the regression on a number of each hospital."""
        samples = list(self.samples.values())
        effects = np.array([sample.values.mean() for sample in samples])
        variances = np.array([moments_of(sample).variance for sample in samples])
        design = None if values is None else np.column_stack([np.ones(len(samples)), values])
        return fit(effects, variances, design)

    def summed(self, found: Fit) -> Number:
        """Return the last term of a fit in each repeat, and how patients move it; weights are taken as known."""
        return added(list(self.samples.values()), found.lines[-1])


def heterogeneity_of(
    scores: Scores, config: EvaluationConfig, pairs: Sequence[Pair] | None = None, covariates: Covariates | None = None
) -> pd.DataFrame:
    """Return, for pairs of arms, each hospital's difference, their mean, what a new hospital may expect, and slopes.

    Where hospitals keep their patients, the error of the mean is that of random effects over them; to its square comes
    that of seeds. Where they are dealt anew in each draw, names of hospitals stand for other patients each time, and
    are never averaged: the mean is worked out within each draw, by its own weights, and its interval comes from the
    two-factor analysis over draws and patients, as everywhere. tau is then the root of the mean of tau² over draws, I²
    and Q are means over draws, and the prediction interval, for a new hospital of a new draw, adds to the squared error
    the mean of tau² and what means differ between draws beyond their own errors. Slopes go the same way.

    Args:
        scores: of a study.
        config: names the metric, and the pair where none is given.
        pairs: as at ALL, local by its summary; without, that of the primary comparison.
        covariates: numbers of hospitals by which differences may go, beside their tested patients.

    Returns:
        Columns as HETEROGENEITY. `what`: `hospital` or, where they are dealt anew, `draw`; then `mean`, `new hospital`
        and `slope`. Empty where the study has none of the pairs.
    """
    metric = metric_named(config.primary.metric, config.unit)
    rows: list[dict[str, object]] = []
    for pair in pairs or [primary_pair(config.primary, scores)]:
        dealings = [_dealing(one, metric, pair) for one in _dealt(scores)]
        if not any(dealing.who for dealing in dealings):
            continue
        who = scores.who(Place(read=READER in pair), metric.unit)
        about = {
            "arm": pair.one.arm,
            "against": pair.other.arm,
            "setting": pair.one.setting,
            "against_setting": pair.other.setting,
            "metric": metric.name,
            "unit": metric.unit,
            "patients": who.patients,
            "positives": who.positives,
            "repeats": len(scores.predictions.repeats),
        }
        rows += [about | row for row in rows_of_pair(dealings, metric, covariates or {})]
    return as_table(rows)


def as_table(rows: list[dict[str, object]]) -> pd.DataFrame:
    """Return rows with the columns HETEROGENEITY."""
    return pd.DataFrame(rows, columns=HETEROGENEITY).astype({"patients": "Int64", "positives": "Int64"})


def _dealt(scores: Scores) -> Iterator[Scores]:
    """Return the scores of each draw that deals patients anew; all together where none does."""
    predictions = scores.predictions
    if predictions.dealings == 1:
        yield scores
        return
    yield from (Scores(replace(predictions, draws=[draw])) for draw in predictions.draws)


def _dealing(scores: Scores, metric: Metric, pair: Pair) -> Dealing:
    samples: dict[str, Sample] = {}
    found = Dealing(scores.predictions.draws[0], samples, {}, {})
    for name in scores.predictions.hospitals:
        place, here = Place(name, read=READER in pair), Pair(*(at_home(one, name) for one in pair))
        if not set(here) <= {*scores.predictions.series, *([READER] if scores.reader else [])}:
            continue
        estimates = scores.estimates(place, metric, here)
        one, other = (estimates[series] for series in here)
        found.who[name] = scores.who(place, metric.unit)
        if one.sample is None or other.sample is None:
            found.left[name] = one.mean.note or other.mean.note
            continue
        samples[name] = one.sample - other.sample
        if why := why_left(samples[name]):
            found.left[name] = why
            del samples[name]
    return found


def why_left(number: Number) -> str:
    """Say why a hospital's number is left out of a mean over hospitals; nothing where it is not."""
    if number.fewest < FEWEST_PATIENTS:
        return f"fewer than {FEWEST_PATIENTS} patients of a class"
    return "" if moments_of(number).variance > FLAT else "nothing varies"


def rows_of_pair(dealings: list[Dealing], metric: Metric, covariates: Covariates) -> Iterator[dict[str, object]]:
    """Return the rows of one pair: columns of HETEROGENEITY from `what` on, but for what all of them share."""
    fits = [dealing.fit() if len(dealing.samples) >= FEWEST_HOSPITALS else None for dealing in dealings]
    for dealing, found in zip(dealings, fits, strict=True):
        if len(dealings) > 1:
            about = {} if found is None else {"estimate": float(found.estimates[0]), **_between_columns([found])}
            yield {"what": "draw", "about": f"draw {dealing.draw}", **about, **_counts([dealing])}
            continue
        for name, who in dealing.who.items():
            row: dict[str, object] = {"what": "hospital", "about": name, "note": dealing.left.get(name, "")}
            row |= {"patients": who.patients, "positives": who.positives} if who.patients else NOT_TOLD
            if name in dealing.samples:
                interval = interval_of(dealing.samples[name], "number", metric.cautious)
                row |= {"estimate": float(dealing.samples[name].values.mean()), **_limits(interval)}
                if found is not None:
                    row["weight"] = float(found.lines[0, list(dealing.samples).index(name)])
            yield row
    whole = [found for found in fits if found is not None]
    told = len(whole) == len(dealings)
    why = _too_few(len(whole), len(dealings), FEWEST_HOSPITALS)
    mean = {"what": "mean", "about": "mean", **_counts(dealings)}
    if not told:
        yield mean | {"note": _noted(why, dealings)}
        return
    sample = stacked([dealing.summed(found) for dealing, found in zip(dealings, whole, strict=True)])
    interval = interval_over(sample, whole)
    low, high = of_new_hospital(sample, whole, interval)
    estimate, between = float(sample.values.mean()), _between_columns(whole)
    yield mean | {"estimate": estimate, **between, **_limits(interval), "note": _noted(interval.note, dealings)}
    limits = {"ci_low": low, "ci_high": high, "note": _noted(interval.note.partition("; no p")[0], dealings)}
    yield {
        "what": "new hospital",
        "about": "a new hospital",
        **_counts(dealings),
        "estimate": estimate,
        "tau": between["tau"],
        **limits,
    }
    tested = ((one.draw, name, who.patients) for one in dealings for name, who in one.who.items() if who.patients)
    by_patients = {(draw, name): float(np.log2(patients)) for draw, name, patients in tested}
    for name, numbers in {DOUBLING: by_patients, **covariates}.items():
        yield {"what": "slope", "about": name, **_slope(dealings, numbers)}


def _slope(dealings: list[Dealing], numbers: Mapping[tuple[int, str], float]) -> dict[str, object]:
    """Return how much more the difference is where a number is larger by 1."""
    kept, fits, found = [], [], []
    for dealing in dealings:
        values = {name: numbers.get((dealing.draw, name), np.nan) for name in dealing.samples}
        known = {name: value for name, value in values.items() if np.isfinite(value)}
        without = {name: "nothing known" for name in values if name not in known}
        samples = {name: dealing.samples[name] for name in known}
        kept.append(replace(dealing, samples=samples, left=dealing.left | without))
        if len(known) > FEWEST_HOSPITALS and np.ptp(list(known.values())) > 1e-9:
            fits.append(kept[-1].fit(list(known.values())))
            found.append(kept[-1].summed(fits[-1]))
    counts = _counts(kept)
    if len(fits) < len(dealings):
        why = _too_few(len(fits), len(dealings), FEWEST_HOSPITALS + 1) + " of different numbers"
        return counts | {"note": _noted(why, kept)}
    sample = stacked(found)
    interval = interval_over(sample, fits)
    about = {"estimate": float(sample.values.mean()), **_between_columns(fits), **_limits(interval)}
    return counts | about | {"note": _noted(interval.note, kept)}


def stacked(samples: list[Number]) -> Number:
    """Put draws beside each other that were worked out one by one.

    Raises ValueError where patients of several draws, who may be the same, are not told apart.
    """
    if len(samples) == 1:
        return samples[0]
    if any(isinstance(one, Moments) for one in samples):
        raise ValueError("summaries of several draws cannot be put together")
    values, influence = (
        np.concatenate([getattr(one, name) for one in samples], axis=1) for name in ("values", "influence")
    )
    has = np.any([one.has for one in samples if isinstance(one, Sample)], axis=0)
    return Sample(values, influence, has, min(one.fewest for one in samples))


def interval_over(sample: Number, fits: Sequence[Fit], kind: Literal["number", "share"] = "number") -> Interval:
    """Return the interval of fits' last term.

    Where hospitals keep their patients, its error is that of the fit; the squared error of seeds comes on top, as they
    move all hospitals together. Over draws that deal them anew, it is as of any other number.

    Args:
        sample: the term, in every repeat.
        fits: one, or that of each draw.
        kind: of the number.
    """
    if len(fits) > 1:
        return interval_of(sample, kind)
    spread, error2 = spread_of(sample), float(fits[0].errors[-1]) ** 2
    why = why_none(sample, spread)
    if why:
        return Interval(note=why)
    varied = [levels for levels in sample.values.shape if levels > 1]
    of_repeats = spread.of_repeats * spread.error**2
    freedom = float(fits[0].freedom)
    if of_repeats:
        freedom = (error2 + of_repeats) ** 2 / (error2**2 / freedom + of_repeats**2 / (min(varied) - 1))
    error, mean = (error2 + of_repeats) ** 0.5, float(sample.values.mean())
    few = any(levels < FEWEST_REPEATS for levels in varied)
    p = np.nan if few else float(2 * student.sf(abs(mean) / error, freedom))
    note = "cautious" if few or sample.fewest < CAUTIOUS else ""
    note += f"; no p: fewer than {FEWEST_REPEATS} seeds" if few else ""
    return Interval(*limits_around(mean, error, freedom, kind), p, note, error, of_repeats / error**2)


def of_new_hospital(sample: Number, fits: Sequence[Fit], interval: Interval) -> tuple[float, float]:
    """Return the limits for a new hospital's true difference; over draws that deal anew, for one of a new draw.

    Args:
        sample: the mean, in every repeat.
        fits: one, or that of each draw.
        interval: of the mean; where it has none, a new hospital has no limits.
    """
    if np.isnan(interval.low):
        return np.nan, np.nan
    if len(fits) == 1:
        return predicted(fits[0], interval.of_repeats * interval.error**2)
    spread, means = spread_of(sample), sample.values.mean(axis=0)
    own = float(np.mean([found.errors[0] ** 2 for found in fits]))
    between = max(0.0, float(means.var(ddof=1)) - own)
    error = (spread.error**2 + between + float(np.mean([found.tau2 for found in fits]))) ** 0.5
    low, high, _ = limits_around(spread.mean, error, spread.freedom, "number")
    return low, high


def _between_columns(fits: list[Fit]) -> dict[str, float]:
    tau2, i2, q = (float(np.mean([_of(found) for found in fits])) for _of in _BETWEEN)
    return {"tau": tau2**0.5, "i2": i2, "q": q}


_BETWEEN: tuple[Callable[[Fit], float], ...] = (lambda one: one.tau2, lambda one: one.i2, lambda one: one.q)


def _counts(dealings: list[Dealing]) -> dict[str, object]:
    """Return how many hospitals count, and how many are left out; means over draws, rounded."""
    told, left = (
        round(float(np.mean([len(part(one)) for one in dealings])))
        for part in (lambda one: one.samples, lambda one: one.left)
    )
    return {"hospitals": told, "left_out": left}


def _limits(interval: Interval) -> dict[str, object]:
    return {"ci_low": interval.low, "ci_high": interval.high, "p": interval.p, "note": interval.note}


def _too_few(told: int, dealings: int, fewest: int) -> str:
    where = "" if dealings == 1 else f" in {dealings - told} of {dealings} draws"
    return f"no interval: fewer than {fewest} hospitals{where}"


def _noted(note: str, dealings: list[Dealing]) -> str:
    """Return a note, and why hospitals were left out."""
    reasons = dict.fromkeys(why for dealing in dealings for why in dealing.left.values())
    left = [f"some hospitals left out: {', '.join(reasons)}"] if reasons else []
    return "; ".join([*([note] if note else []), *left])
