"""values.csv: what each hospital is worth to all, and to each other one.

A hospital's Shapley value (Shapley 1953, Contributions to the Theory of Games II:307; for patients that models learn
from, Ghorbani and Zou 2019, ICML) is the mean, over all orders in which hospitals could join, of how much better the
model becomes when it joins. Values of all hospitals sum up to what the model of all gains over none. Its last-in gain
is what the model of all loses without it. Both are weighted sums of coalitions' metrics, all tested on the same
patients, so that their intervals follow as those of any difference do.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np
import pandas as pd

from fedmammo.config.arm import ALL, Arm
from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.evaluation.intervals import holm, interval_of
from fedmammo.evaluation.metrics import Metric, metric_named
from fedmammo.evaluation.predictions import Series
from fedmammo.evaluation.scoring import Estimate, Place, Scores
from fedmammo.evaluation.tested import Floats
from fedmammo.evaluation.variance import Sample, combined

VALUES = [
    *("setting", "metric", "unit", "what", "hospital", "tested_at", "value", "ci_low", "ci_high", "p", "p_holm"),
    *("above", "whole", "repeats", "patients", "positives", "note"),
]
SHOWN = 0.05  # p, adjusted over pairs, below which one hospital is said to be worth more than another
Coalition = frozenset[str]


def shapley(coalitions: Mapping[Coalition, Sample], nothing: float) -> dict[str, Sample]:
    """Return the Shapley value of each hospital, repeat by repeat.

    Args:
        coalitions: what the model of each scores, but for that of none: 2^hospitals - 1 of them.
        nothing: what is scored without a model.
    """
    hospitals = _players(coalitions)
    count = len(hospitals)
    found = {}
    for hospital in hospitals:
        weights = np.array([
            1 / (count * comb(count - 1, len(one) - 1)) if hospital in one else -1 / (count * comb(count - 1, len(one)))
            for one in coalitions
        ])  # fmt: skip
        summed = combined(list(coalitions.values()), weights)
        found[hospital] = replace(summed, values=summed.values - nothing / count)
    return found


def last_in(coalitions: Mapping[Coalition, Sample]) -> dict[str, Sample]:
    """Return what the model of all gains by each hospital, for those without whom there is a model."""
    hospitals = _players(coalitions)
    everybody = frozenset(hospitals)
    rest = {name: everybody - {name} for name in hospitals}
    return {name: coalitions[everybody] - coalitions[one] for name, one in rest.items() if one in coalitions}


def models_of(scores: Scores, setting: str) -> dict[Coalition, Series]:
    """Return whose model is which, of what was run in a setting; none where there is no model of all.

    The local arm's stands for one hospital, the federated arm's for all, `without_one` for all others.
    """
    arms = ("federated", "without_one", "local", "coalitions")
    series = [one for one in scores.predictions.series if one.setting == setting and one.arm in arms]
    local = [one.trained_at for one in series if one.arm == "local"]
    hospitals = list(dict.fromkeys([*scores.predictions.hospitals, *local]))
    found = {}
    for one in sorted(series, key=lambda one: arms.index(one.arm)):
        found[Arm.of(one.arm).coalition(one.trained_at, hospitals)] = one
    return found if frozenset(hospitals) in found else {}


def values_of(scores: Scores, config: EvaluationConfig) -> pd.DataFrame:
    """Return what each hospital is worth, on all patients and on each hospital's, in each setting.

    Shapley values need a model of every coalition, last-in gains one without each hospital; what there is no model for
    is left out. Without a model ranks are by chance: an AUROC of .5. Hospitals that are dealt anew in each draw keep
    nothing but their name and their place in the profile; their mean over draws speaks of that place.

    Args:
        scores: of a study.
        config: names the metric.

    Returns:
        Columns as VALUES; `what` is `shapley` or `last-in`. Empty where coalitions are not told apart.
    """
    metric = metric_named(config.primary.metric, config.unit)
    rows: list[dict[str, object]] = []
    for setting in dict.fromkeys(one.setting for one in scores.predictions.series):
        models = models_of(scores, setting)
        for name in (ALL, *scores.predictions.hospitals) if models else ():
            place = Place(name)
            who = scores.who(place, metric.unit)
            found = scores.estimates(place, metric, models.values())
            coalitions = {one: found[series] for one, series in models.items()}
            about = {
                "setting": setting,
                "metric": metric.name,
                "unit": metric.unit,
                "tested_at": name,
                "repeats": len(scores.predictions.repeats),
                "patients": who.patients,
                "positives": who.positives,
            }
            rows += [about | row for row in values_at(coalitions, _chance(metric, who.prevalence), metric)]
    return pd.DataFrame(rows, columns=VALUES)


def values_at(coalitions: Mapping[Coalition, Estimate], nothing: float, metric: Metric) -> Iterator[dict[str, object]]:
    """Return the rows of one place.

    Args:
        coalitions: what their models score there, that of all among them.
        nothing: what is scored without a model.
        metric: that was measured.
    """
    hospitals = _players(coalitions)
    everybody = frozenset(hospitals)
    samples = {one: found.sample for one, found in coalitions.items() if found.sample is not None}
    whole = coalitions[everybody].mean.value - nothing
    complete = len(coalitions) == 2 ** len(hospitals) - 1
    for what in ("shapley", "last-in"):
        needed = {name: _needed(name, everybody, coalitions, complete, what) for name in hospitals}
        known = {name: one for name, one in needed.items() if one}
        lost = {
            name: next((coalitions[one].mean.note for one in ones if one not in samples), "")
            for name, ones in known.items()
        }
        if any(lost.values()):
            for name, why in lost.items():
                yield {"what": what, "hospital": name, "whole": whole, "note": why}
        elif known:
            found = shapley(samples, nothing) if what == "shapley" else last_in(samples)
            yield from (row | {"what": what, "whole": whole} for row in _told(found, metric))


class _Worth(NamedTuple):
    hospital: str
    value: float
    ci_low: float
    ci_high: float
    p: float
    note: str


def _told(found: dict[str, Sample], metric: Metric) -> list[dict[str, object]]:
    """Return values with intervals, and above whom each hospital was shown to be."""
    worth = []
    for name, sample in found.items():
        limits = interval_of(sample, "number", metric.cautious)
        worth.append(_Worth(name, float(sample.values.mean()), limits.low, limits.high, limits.p, limits.note))
    adjusted, above = holm(np.array([one.p for one in worth])), _above(found, metric)
    return [
        one._asdict() | {"p_holm": p, "above": ", ".join(above[one.hospital])}
        for one, p in zip(worth, adjusted, strict=True)
    ]


def _above(found: dict[str, Sample], metric: Metric) -> dict[str, list[str]]:
    """Say of each hospital which others it was shown to be worth more than, adjusted over all pairs (Holm)."""
    pairs = list(combinations(found, 2))
    differences = [found[one] - found[other] for one, other in pairs]
    p: Floats = holm(np.array([interval_of(one, "number", metric.cautious).p for one in differences]))
    above: dict[str, list[str]] = {name: [] for name in found}
    for (one, other), difference, of_pair in zip(pairs, differences, p, strict=True):
        if of_pair < SHOWN:
            first, second = (one, other) if difference.values.mean() > 0 else (other, one)
            above[first].append(second)
    return above


def _needed(
    name: str, everybody: Coalition, coalitions: Mapping[Coalition, Estimate], complete: bool, what: str
) -> list[Coalition]:
    """Return the coalitions that a hospital's value is made of; none where one has no model."""
    if what == "shapley":
        return list(coalitions) if complete else []
    rest = everybody - {name}
    return [everybody, rest] if rest in coalitions else []


def _players(coalitions: Mapping[Coalition, object]) -> list[str]:
    """Return hospitals, by length and letters: hospital-2 stands before hospital-10."""
    return sorted({name for one in coalitions for name in one}, key=lambda name: (len(name), name))


def _chance(metric: Metric, prevalence: float) -> float:
    """Return what noise scores: half the pairs, one in ten at 90 % specificity, the malignant share of precision."""
    return {"auprc": prevalence, "sensitivity_at_90_specificity": 0.1}.get(metric.name, 0.5)
