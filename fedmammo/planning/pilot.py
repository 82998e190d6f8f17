"""What a finished run's scores say of the next study: variance over patients, between seeds and between partitions."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma, polygamma

from fedmammo.config.arm import ALL
from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.errors import InputError
from fedmammo.evaluation.metrics import Metric, metrics_of
from fedmammo.evaluation.predictions import Series
from fedmammo.evaluation.scoring import Estimate, Place, Scores, mean_over_models
from fedmammo.evaluation.tables import primary_pair
from fedmammo.evaluation.tested import Flags, Floats
from fedmammo.evaluation.variance import Sample, covariance_of, freedom_of_patients
from fedmammo.planning.precision import Components, Repeats


class Pilot(NamedTuple):
    """What a run tells of one place.

    Attributes:
        components: of the primary comparison's difference.
        repeats: how often the pilot was repeated.
        auroc: of the arm that is compared with, mean over repeats.
        correlation: of the two arms' AUROCs over patients.
        units_per_patient: of which the metric is, tested.
        patients: tested in a repeat.
        positives: those of them with a malignant unit.
    """

    components: Components
    repeats: Repeats
    auroc: float
    correlation: float
    units_per_patient: float
    patients: int
    positives: int


def pilots_of(scores: Scores, config: EvaluationConfig) -> dict[str, Pilot]:
    """Return what scores tell of the primary comparison over all patients, and at each hospital where it is defined.

    Hospitals' variances between repeats are moderated (`moderated`): ten draws leave each of them uncertain by half.
    Raises InputError where the run has not the two arms, or the metric is undefined over all.
    """
    pair = primary_pair(config.primary, scores)
    kind = (config.primary.metric, config.unit)
    metric = next(one for one in metrics_of(config.unit, config.prevalence) if (one.name, one.unit) == kind)
    known = {one._replace(trained_at=ALL) for one in scores.predictions.series}
    for one in pair:
        if one not in known:
            raise InputError(f"the pilot has no arm {one.arm} in setting {one.setting}; name a run that compares both")
    found: dict[str, Pilot] = {}
    for name in (ALL, *scores.predictions.hospitals):
        place = Place(name)
        arm, against = (_estimate(scores, place, metric, one) for one in pair)
        if arm.sample is not None and against.sample is not None:
            who = scores.who(place, metric.unit)
            parts = components_of(arm.sample - against.sample, who.patients)
            both = (correlation_of(arm.sample, against.sample), who.units / who.patients)
            shape = Repeats(*arm.sample.values.shape)
            found[name] = Pilot(parts, shape, float(against.mean.value), *both, who.patients, who.positives)
    if ALL not in found:
        raise InputError(
            f"the pilot's {metric.name} is undefined over all patients; name a run that tested both classes"
        )
    return moderated(found)


def _estimate(scores: Scores, place: Place, metric: Metric, one: Series) -> Estimate:
    """Measure an arm at a place: local by the hospital's own model, over all by the mean over models."""
    if one.arm != "local":
        return scores.estimates(place, metric, [one])[one]
    alone = [known for known in scores.predictions.series if known._replace(trained_at=ALL) == one]
    if place.hospital != ALL:
        alone = [known for known in alone if known.trained_at == place.hospital]
    return mean_over_models([*scores.estimates(place, metric, alone).values()])


def components_of(sample: Sample, patients: float) -> Components:
    """Return where the squared error of a number comes from. `patients`: tested in a repeat."""
    covariance = covariance_of(sample)
    seeds, draws = sample.values.shape
    apart = _apart(seeds, draws)
    alone = float(np.diag(covariance).mean())
    shared = max(0.0, float(covariance[apart].mean())) if apart.any() else alone
    return Components(*_between(sample.values), alone, shared, patients, freedom_of_patients(sample))


def _between(values: Floats) -> tuple[float, float, float]:
    """Return the variance between seeds, between draws, and of what neither explains: (seeds, draws) values.

    Method of moments, none below 0. With one factor all that varies is that factor's.
    """
    seeds, draws = values.shape
    if seeds == 1 or draws == 1:
        whole = float(values.var(ddof=1)) if values.size > 1 else 0.0
        return (whole, 0.0, 0.0) if draws == 1 else (0.0, whole, 0.0)
    rows, columns = values.mean(axis=1), values.mean(axis=0)
    left = values - rows[:, None] - columns + values.mean()
    rest = float((left**2).sum() / ((seeds - 1) * (draws - 1)))
    of_seeds = max(0.0, float(rows.var(ddof=1)) - rest / draws)
    of_draws = max(0.0, float(columns.var(ddof=1)) - rest / seeds)
    return of_seeds, of_draws, rest


def _apart(seeds: int, draws: int) -> Flags:
    """Say of every two repeats whether they share neither a seed nor a draw that varies, (repeats, repeats)."""
    seed, draw = (axis.ravel() for axis in np.indices((seeds, draws)))
    apart: Flags = np.ones((seeds * draws,) * 2, dtype=bool)
    for level, levels in ((seed, seeds), (draw, draws)):
        if levels > 1:
            apart &= level[:, None] != level
    return apart & ~np.eye(seeds * draws, dtype=bool)


def correlation_of(one: Sample, other: Sample) -> float:
    """Return the correlation over patients of two AUROCs of the same patients, mean over repeats."""
    of_one, of_other, of_both = (np.diag(covariance_of(sample)) for sample in (one, other, one - other))
    known = (of_one > 0) & (of_other > 0)
    if not known.any():
        return np.nan
    both = (of_one + of_other - of_both) / 2
    return float((both[known] / np.sqrt(of_one[known] * of_other[known])).mean())


def moderated(pilots: Mapping[str, Pilot]) -> dict[str, Pilot]:
    """Return pilots in which hospitals lend each other what repeats differ by, as a multiple of what patients explain.

    Empirical Bayes (Smyth 2004, Statistical Applications in Genetics and Molecular Biology 3:3): each hospital's ratio
    is drawn towards that of all, the more the less hospitals differ beyond chance. The row over all stays as it is.
    """
    ratios = {}
    for name, one in pilots.items():
        parts = one.components
        between, of_patients = parts.seeds + parts.draws + parts.rest, parts.alone - parts.shared
        if name != ALL and between > 0 and of_patients > 0:
            ratios[name] = between / of_patients
    if len(ratios) < 2:
        return dict(pilots)
    freedom = {name: max(1, pilots[name].repeats.seeds * pilots[name].repeats.draws - 1) for name in ratios}
    values, own = np.array([*ratios.values()]), np.array([*freedom.values()], dtype=float)
    prior, weight = prior_of(values, own)
    found = dict(pilots)
    for name, value, degrees in zip(ratios, values, own, strict=True):
        drawn = prior if np.isinf(weight) else (weight * prior + degrees * value) / (weight + degrees)
        scale, parts = drawn / value, pilots[name].components
        moved = parts._replace(seeds=parts.seeds * scale, draws=parts.draws * scale, rest=parts.rest * scale)
        found[name] = pilots[name]._replace(components=moved)
    return found


def prior_of(variances: Floats, freedom: Floats) -> tuple[float, float]:
    """Return the variance that all come from, and with how many degrees of freedom it is known (Smyth 2004, section 6).

    Args:
        variances: (groups,) each above 0, at least two.
        freedom: (groups,) degrees of freedom of each.

    Returns:
        Prior variance, and its degrees of freedom, infinite where variances differ no more than by chance.
    """
    logs = np.log(variances) - digamma(freedom / 2) + np.log(freedom / 2)
    excess = float(logs.var(ddof=1) - polygamma(1, freedom / 2).mean())
    if excess <= 0:
        return float(np.exp(logs.mean())), np.inf
    low, high = 1e-6, 1e6
    if float(polygamma(1, high)) > excess:
        return float(np.exp(logs.mean())), np.inf
    half = brentq(lambda x: float(polygamma(1, x)) - excess, low, high)
    return float(np.exp(logs.mean() + digamma(half) - np.log(half))), 2 * half
