"""results.csv and comparisons.csv: what each model scores, and what joining, images and budgets change."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from fedmammo.config.arm import ALL, MEAN, Arm, Kind
from fedmammo.config.evaluation import EvaluationConfig, Primary
from fedmammo.config.setting import Setting
from fedmammo.evaluation.intervals import Interval, holm, interval_of
from fedmammo.evaluation.metrics import PRIMARY, Curve, Metric, metrics_of
from fedmammo.evaluation.predictions import Series
from fedmammo.evaluation.scoring import READER, Estimate, Place, Scores, Who, mean_over_models
from fedmammo.evaluation.variance import Number

PAIRS: tuple[tuple[Kind, Kind], ...] = (
    ("federated", "local"),
    ("federated", "centralized"),
    ("centralized", "local"),
    ("federated", "without_one"),  # what a hospital that stays away gives up
    ("without_one", "local"),  # what the others' model is to a hospital that has none of its patients in it
    ("personalized", "local"),
    ("personalized", "federated"),
    ("ensemble", "local"),
    ("ensemble", "federated"),
    ("chosen", "local"),
    ("chosen", "centralized"),
    ("chosen", "federated"),  # what choosing inside each fold is worth
    ("averaged", "local"),
    ("averaged", "centralized"),
    ("averaged", "federated"),  # what averaging recipes is worth
    ("scheduled", "federated"),  # what lateness and absence cost
)  # arm, against
RESULTS = [
    *("arm", "setting", "seed", "draw", "trained_at", "tested_at", "split", "unit", "metric", "value"),
    *("ci_low", "ci_high", "repeats", "median", "lowest", "patients", "positives", "units", "prevalence"),
    *("epsilon", "delta", "end_to_end", "note"),
]
COMPARISONS = [
    *("role", "metric", "unit", "better", "arm", "against", "setting", "against_setting", "tested_at"),
    *("difference", "ci_low", "ci_high", "at_least", "error", "of_repeats", "p", "p_holm"),
    *("repeats", "median", "q05", "lowest", "patients", "positives", "note"),
]


class Pair(NamedTuple):
    """Two series whose difference is taken: `one` minus `other`."""

    one: Series
    other: Series


class Tables(NamedTuple):
    """What each model scores, and differences."""

    results: pd.DataFrame
    comparisons: pd.DataFrame


def tabulate(scores: Scores, config: EvaluationConfig, pairs: Sequence[Pair]) -> Tables:
    """Measure every series at every place, once, for both tables. `pairs`: as at ALL, local by its summary."""
    results, comparisons = [], []
    for name in (ALL, *scores.predictions.hospitals):
        place = Place(name)
        for metric in metrics_of(config.unit, config.prevalence):
            found = measured(scores, place, metric)
            who = scores.who(place, metric.unit)
            for one, estimate in found.items():
                results += list(_result_rows(scores, one, name, metric, estimate, who))
            as_read = place._replace(read=True)
            read = measured(scores, as_read, metric) if READER in found else {}
            for pair in pairs:
                here = Pair(*(at_home(one, name) for one in pair))
                if here.one in found and here.other in found:
                    role = role_of(config, scores, metric, pair, name)
                    beside = (read, scores.who(as_read, metric.unit)) if READER in pair else (found, who)
                    comparisons.append(comparison_row(role, metric, here, name, *beside))
    table = pd.DataFrame(results, columns=RESULTS)
    order = [table[key].map({value: at for at, value in enumerate(values)}) for key, values in _orders(scores).items()]
    table = table.iloc[np.lexsort(order[::-1])].reset_index(drop=True)
    return Tables(table, adjusted(pd.DataFrame(comparisons, columns=COMPARISONS)))


def _orders(scores: Scores) -> dict[str, list[str]]:
    """The order of values by which rows of results are sorted, most important column first."""
    predictions = scores.predictions
    return {
        "arm": [*arms_of(scores), READER.arm],
        "setting": list(dict.fromkeys([one.setting for one in predictions.series] + [READER.setting])),
        "seed": [*map(str, predictions.seeds), ALL],
        "draw": [*map(str, predictions.draws), ALL],
        "trained_at": [ALL, *dict.fromkeys(one.trained_at for one in predictions.series if one.trained_at != ALL)],
        "tested_at": [ALL, *predictions.hospitals],
    }


def measured(scores: Scores, place: Place, metric: Metric) -> dict[Series, Estimate]:
    """Measure all series that are told of at a place: hospitals' own models elsewhere by the first metric alone.

    At ALL an arm that gives each hospital a model of its own has its summary, at `trained_at` ALL. Coalitions are told
    of by the first metric alone. The reader knows ranks, no probabilities.
    """
    series = scores.predictions.series
    if metric.name != PRIMARY:
        series = [one for one in series if Arm.of(one.arm).kind != "coalitions"]
        if place.hospital != ALL:
            series = [one for one in series if one == at_home(one, place.hospital)]
    found = scores.estimates(place, metric, series)
    if place.hospital == ALL:
        several = [one for one in series if Arm.of(one.arm).of_hospitals]
        for whole in dict.fromkeys(one._replace(trained_at=ALL) for one in several):
            own = [found[one] for one in several if one._replace(trained_at=ALL) == whole]
            found[whole] = mean_over_models(own)
    if metric.name == PRIMARY and scores.reader:
        found |= scores.estimates(place, metric, [READER])
    return found


def at_home(one: Series, place: str) -> Series:
    """Return the model that an arm would give to a hospital: local its own; of all together the summary over these."""
    if one.arm == READER.arm:
        return one
    arm = Arm.of(one.arm)
    if place in (ALL, MEAN):
        return one._replace(trained_at=ALL) if arm.of_hospitals else one
    return one._replace(trained_at=arm.model_for(place)) if arm.of_hospitals else one


def arms_of(scores: Scores) -> list[str]:
    """List the arms that were scored, in order."""
    return list(dict.fromkeys(one.arm for one in scores.predictions.series))


def pairs_of_arms(scores: Scores) -> list[Pair]:
    """Pair arms in each setting: as in PAIRS, variants with what they vary, each but coalitions with the reader.

    Variants are paired with nothing else, but for ways to personalise.
    """
    settings = list(dict.fromkeys(one.setting for one in scores.predictions.series))
    arms = [arm for arm in arms_of(scores) if Arm.of(arm).kind != "coalitions"]
    kinds = {arm: Arm.of(arm).kind for arm in arms}
    paired = [arm for arm, kind in kinds.items() if kind in (arm, "personalized")]
    against = [(arm, other) for kind, other in PAIRS for arm in paired if kinds[arm] == kind and other in arms]
    against += [(arm, kind) for arm, kind in kinds.items() if kind in arms and kind != arm]
    pairs = [Pair(Series(arm, one, ALL), Series(other, one, ALL)) for arm, other in against for one in settings]
    return [*pairs, *(Pair(Series(arm, one, ALL), READER) for arm in arms for one in settings)]


def between_hospitals(scores: Scores, config: EvaluationConfig) -> list[Pair]:
    """Return the pairs of arms whose difference is told from hospital to hospital: the primary one first."""
    primary = primary_pair(config.primary, scores)
    others = [pair for pair in pairs_of_arms(scores) if pair.one.setting == primary.one.setting]
    kinds = [(Arm.of(pair.one.arm).kind, pair.other.arm) for pair in others]
    chosen = [pair for pair, kind in zip(others, kinds, strict=True) if kind in PAIRS and kind[0] != "centralized"]
    return [primary, *(pair for pair in chosen if pair != primary)]


def pairs_of_settings(scores: Scores, recipes: dict[tuple[str, str], str] | None) -> list[Pair]:
    """Pair settings of one arm: another source with real patients under the same budget; a budget with none, and with
    the model before any patient.
    """
    settings = list(dict.fromkeys(one.setting for one in scores.predictions.series))
    pairs = []
    for name in settings:
        setting = Setting.of(name)
        for arm in arms_of(scores):
            others = [] if setting.kind == "real" else [name.replace(setting.kind, "real", 1)]
            if setting.epsilon is not None:
                of_kind = [other for other in settings if Setting.of(other)[:2] == (setting.kind, None)]
                twins = [other for other in of_kind if Setting.of(other).like == name]
                without = [*twins, *of_kind]
                same = [one for one in without if not recipes or recipes.get((arm, one)) == recipes.get((arm, name))]
                others += [*same[:1], "public"]  # what the budget costs, and what its patients add
            pairs += [Pair(Series(arm, name, ALL), Series(arm, other, ALL)) for other in others if other in settings]
    return pairs


def role_of(config: EvaluationConfig, scores: Scores, metric: Metric, pair: Pair, place: str) -> str:
    """Say whether a comparison is the primary one, that one at a hospital, or secondary."""
    primary = config.primary
    if (metric.name, metric.unit) != (primary.metric, config.unit) or pair != primary_pair(primary, scores):
        return "secondary"
    return "primary" if place == ALL else "primary at a hospital"


def primary_pair(primary: Primary, scores: Scores) -> Pair:
    """Return the two series that the primary comparison is about."""
    setting = primary.setting or scores.predictions.series[0].setting
    return Pair(Series(primary.arm, setting, ALL), Series(primary.against, setting, ALL))


def _result_rows(
    scores: Scores, one: Series, place: str, metric: Metric, estimate: Estimate, who: Who
) -> Iterator[dict[str, object]]:
    """The rows of each repeat, then that of the mean over all."""
    mean, values, interval = estimate.mean, _known(estimate), limits_of(estimate, metric)
    shown: Iterable[tuple[str, str, float, Interval, str]] = [
        *((str(at.seed), str(at.draw), value.value, Interval(), value.note) for at, value in estimate.repeats.items()),
        (ALL, ALL, mean.value, interval, interval.note),
    ]
    for seed, draw, value, limits, note in shown:
        whole = seed == ALL
        yield {
            **one._asdict(),
            "seed": seed,
            "draw": draw,
            "tested_at": place,
            "split": scores.predictions.split,
            "unit": metric.unit,
            "metric": metric.name,
            "value": value,
            "ci_low": limits.low,
            "ci_high": limits.high,
            "repeats": len(values) if whole else 1,
            "median": float(np.median(values)) if whole and len(values) else np.nan,
            "lowest": float(np.min(values)) if whole and len(values) else np.nan,
            **who._asdict(),
            "epsilon": np.nan,
            "delta": np.nan,
            "end_to_end": "",
            "note": note,
        }


def limits_of(estimate: Estimate, metric: Metric | Curve) -> Interval:
    """Return the interval of an estimate, or none where it is undefined, with the reason."""
    if estimate.sample is None:
        return Interval(note=estimate.mean.note)
    return interval_of(estimate.sample, metric.kind, metric.cautious)


def limits_shown(interval: Interval) -> dict[str, object]:
    """Return the columns of tables that have limits and no p."""
    note = interval.note.partition("; no p")[0]
    return {"ci_low": interval.low, "ci_high": interval.high, "note": note}


def _known(estimate: Estimate) -> list[float]:
    return [value.value for value in estimate.repeats.values() if not value.note]


def comparison_row(
    role: str, metric: Metric, pair: Pair, place: str, found: dict[Series, Estimate], who: Who
) -> dict[str, object]:
    """Return a row of comparisons: the difference of two estimates of `found`."""
    one, other = found[pair.one], found[pair.other]
    row: dict[str, object] = {
        "role": role,
        "metric": metric.name,
        "unit": metric.unit,
        "better": metric.better,
        "arm": pair.one.arm,
        "against": pair.other.arm,
        "setting": pair.one.setting,
        "against_setting": pair.other.setting,
        "tested_at": place,
        "patients": who.patients,
        "positives": who.positives,
        "repeats": len(one.repeats),
        "p_holm": np.nan,
    }
    if one.sample is None or other.sample is None:
        return row | {"note": one.mean.note or other.mean.note}
    sample = one.sample - other.sample
    return row | difference_told(sample, interval_of(sample, "number", metric.cautious))


def difference_told(number: Number, interval: Interval) -> dict[str, object]:
    """Return the columns of comparisons that tell a difference and how sure it is."""
    values = number.values
    return {
        "difference": float(values.mean()),
        "ci_low": interval.low,
        "ci_high": interval.high,
        "at_least": interval.at_least,
        "error": interval.error,
        "of_repeats": interval.of_repeats,
        "p": interval.p,
        "median": float(np.median(values)),
        "q05": float(np.quantile(values, 0.05)),
        "lowest": float(values.min()),
        "note": interval.note,
    }


def adjusted(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Adjust p of the primary comparison over hospitals, which are one family."""
    family = comparisons["role"] == "primary at a hospital"
    comparisons.loc[family, "p_holm"] = holm(comparisons.loc[family, "p"].to_numpy(dtype=float))
    order = comparisons["role"].map({"primary": 0, "primary at a hospital": 1, "secondary": 2})
    return comparisons.iloc[np.argsort(order, kind="stable")].reset_index(drop=True)
