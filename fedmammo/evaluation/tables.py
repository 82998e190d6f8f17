"""results.csv and comparisons.csv: what each model scores, and what joining buys each hospital."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pandas as pd

from fedmammo.config.arm import ALL, ARMS
from fedmammo.config.setting import Setting
from fedmammo.evaluation.metrics import METRICS
from fedmammo.evaluation.predictions import Repeat, Series
from fedmammo.evaluation.scoring import Scores, score
from fedmammo.evaluation.statistics import Interval, holm, paired_difference, percentile_interval

PAIRS = (("federated", "local"), ("federated", "centralized"), ("centralized", "local"))  # arm, against
RESULTS = [
    "arm",
    "setting",
    "seed",
    "draw",
    "trained_at",
    "tested_at",
    "split",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "patients",
    "images",
    "prevalence",
    "epsilon",
    "delta",
    "end_to_end",
    "note",
]
COMPARISONS = [
    "metric",
    "arm",
    "against",
    "setting",
    "against_setting",
    "tested_at",
    "difference",
    "ci_low",
    "ci_high",
    "at_least",
    "p",
]
RUNS_COMPARED = ["metric", "arm", "setting", "tested_at", "difference", "ci_low", "ci_high", "at_least", "p"]
Pair = Callable[[str], tuple[Series, Series]]  # which two models are compared at a place


def _result_rows(scores: Scores, series: Series, repeat: Repeat | None) -> Iterator[dict[str, object]]:
    """The rows of one repeat, or of the mean over all (None)."""
    for tested_at, tested in scores.tested.items():
        for metric in METRICS:
            estimate = scores.estimates.get((series, tested_at, metric))
            if estimate is None:  # the local arm's summary is tested at `all` only
                continue
            found = estimate.repeats[repeat] if repeat else estimate.mean
            interval = Interval(np.nan, np.nan)
            if not repeat and not found.note:
                interval = percentile_interval(estimate.resampled)
            yield {
                **series._asdict(),
                **tested._asdict(),
                "seed": str(repeat.seed) if repeat else ALL,
                "draw": str(repeat.draw) if repeat else ALL,
                "tested_at": tested_at,
                "split": scores.predictions.split,
                "metric": metric,
                "value": found.value,
                "ci_low": interval.low,
                "ci_high": interval.high,
                "epsilon": np.nan,
                "delta": np.nan,
                "end_to_end": "",
                "note": found.note or interval.note,
            }


def _results(scores: Scores) -> pd.DataFrame:
    rows = [
        row
        for arm in ARMS
        for setting in scores.settings
        for repeat in (*scores.predictions.repeats, None)
        for trained_at in scores.trained_at(arm, setting)
        for row in _result_rows(scores, Series(arm, setting, trained_at), repeat)
    ]
    return pd.DataFrame(rows, columns=RESULTS)


def _family(scores: Scores, metric: str, pair_at: Pair, about: dict[str, str]) -> list[dict[str, object]]:
    """One metric of pairs of models at `all` and at each hospital; `about` is what the rows say of the pairs."""
    rows, p = [], []
    for tested_at in scores.tested:
        pair = [scores.estimates.get((series, tested_at, metric)) for series in pair_at(tested_at)]
        if pair[0] is None or pair[1] is None:  # an arm that was not run, a hospital that trained no model
            continue
        difference = paired_difference(pair[0].mean.value, pair[1].mean.value, pair[0].resampled, pair[1].resampled)
        p.append(difference.p)
        rows.append(
            {
                "metric": metric,
                **about,
                "tested_at": tested_at,
                "difference": difference.difference,
                "ci_low": difference.low,
                "ci_high": difference.high,
                "at_least": difference.at_least,
            }
        )
    hospitals = np.array([row["tested_at"] != ALL for row in rows], dtype=bool)
    adjusted = np.array(p)
    adjusted[hospitals] = holm(adjusted[hospitals])
    return [{**row, "p": value} for row, value in zip(rows, adjusted, strict=True)]


def _pairs(settings: list[str]) -> list[tuple[str, str]]:
    """Pair settings: another source with real patients under the same budget, and a budget with none."""
    pairs = []
    for setting in settings:
        kind = Setting.of(setting).kind
        pairs += [(setting, setting.replace(kind, "real", 1))] if kind != "real" else []
        pairs += [(setting, kind)] if setting != kind else []
    return [pair for pair in pairs if pair[1] in settings]


def _comparisons(scores: Scores) -> pd.DataFrame:
    pairs = [((arm, setting), (against, setting)) for arm, against in PAIRS for setting in scores.settings]
    pairs += [((arm, setting), (arm, against)) for setting, against in _pairs(scores.settings) for arm in ARMS]
    rows = [
        row
        for metric in METRICS
        for one, other in pairs
        for row in _family(
            scores,
            metric,
            partial(_models_of_a_hospital, one, other),
            {"arm": one[0], "against": other[0], "setting": one[1], "against_setting": other[1]},
        )
    ]
    return pd.DataFrame(rows, columns=COMPARISONS)


def _models_of_a_hospital(one: tuple[str, str], other: tuple[str, str], place: str) -> tuple[Series, Series]:
    """The models that two arms, each in a setting, would give to a hospital: local its own."""
    first, second = (Series(arm, setting, place if arm == "local" else ALL) for arm, setting in (one, other))
    return first, second


def results_table(predictions: pd.DataFrame, *, test_split: str, resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """results.csv: rows for each seed and draw of hospitals; with `all` for both the mean, with its 95 % interval.

    `seed` and `draw` are text, since `all` is one of their values. `trained_at` `all` in the local arm is its summary.
    `prevalence` is the malignant fraction of the tested images. `note` says why a value is empty, or that some
    resamples were undefined. Arguments and errors as in `scoring.score`.
    """
    return _results(score(predictions, test_split=test_split, resamples=resamples, seed=seed))


def comparisons_table(
    predictions: pd.DataFrame, *, test_split: str, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """comparisons.csv: `arm` minus `against`, paired by resample, with 95 % interval and two-sided p.

    `arm` was trained in `setting`, `against` in `against_setting`: two arms in one setting, or one arm in two.
    `tested_at` a hospital compares the models that the arms would give it (local: its own) on its own patients.
    Those p are adjusted (Holm) over the hospitals of one metric and pair; `all` stands outside the family. Intervals
    are not adjusted. Arguments and errors as in `scoring.score`.
    """
    return _comparisons(score(predictions, test_split=test_split, resamples=resamples, seed=seed))


def evaluate(
    predictions: pd.DataFrame, *, test_split: str, resamples: int = 2000, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`results_table` and `comparisons_table` from one bootstrap."""
    scores = score(predictions, test_split=test_split, resamples=resamples, seed=seed)
    return _results(scores), _comparisons(scores)


def compare_runs(
    predictions: pd.DataFrame, against: pd.DataFrame, *, test_split: str, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """What one study's models score minus another's, arm by arm, paired by resample: columns `RUNS_COMPARED`.

    Models trained at `all` (centralised, federated) are compared; `tested_at` are the hospitals of the first study,
    whatever those of the other. Intervals and p as in `comparisons_table`, arguments and errors as in `scoring.score`;
    both must have tested the same images with the same seeds, draws and folds.
    """
    first, other = (table[table["trained_at"] == ALL] for table in (predictions, against))
    place = ["draw", "patient"]
    hospital_of = first.drop_duplicates(place).set_index(place)["hospital"]
    theirs = hospital_of.reindex(pd.MultiIndex.from_frame(other[place])).set_axis(other.index)
    other = other.assign(hospital=theirs.fillna(other["hospital"]))  # other hospitals, other validation patients
    marked = [table.assign(setting=f"{run}/" + table["setting"]) for run, table in (("run", first), ("against", other))]
    scores = score(pd.concat(marked, ignore_index=True), test_split=test_split, resamples=resamples, seed=seed)
    rows = []
    for metric in METRICS:
        for one in (one for one in scores.predictions.series if one.setting.startswith("run/")):
            setting = one.setting.removeprefix("run/")
            pair = one, one._replace(setting=f"against/{setting}")
            rows += _family(scores, metric, partial(_same_everywhere, pair), {"arm": one.arm, "setting": setting})
    return pd.DataFrame(rows, columns=RUNS_COMPARED)


def _same_everywhere(pair: tuple[Series, Series], _: str) -> tuple[Series, Series]:
    return pair
