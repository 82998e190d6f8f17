"""results.csv and comparisons.csv: what each model scores, and what joining buys each hospital."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from fedmammo.config import ALL, ARMS
from fedmammo.evaluation.metrics import METRICS
from fedmammo.evaluation.predictions import Series
from fedmammo.evaluation.scoring import Scores, score
from fedmammo.evaluation.statistics import Interval, holm, paired_difference, percentile_interval

PAIRS = (("federated", "local"), ("federated", "centralized"), ("centralized", "local"))  # arm, against
RESULTS = [
    "arm",
    "setting",
    "seed",
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
    "note",
]
COMPARISONS = ["metric", "arm", "against", "setting", "tested_at", "difference", "ci_low", "ci_high", "p"]


def _result_rows(scores: Scores, series: Series, seed: str) -> Iterator[dict[str, object]]:
    for tested_at, tested in scores.tested.items():
        for metric in METRICS:
            estimate = scores.estimates.get((series, tested_at, metric))
            if estimate is None:  # the local arm's summary is tested at `all` only
                continue
            found = estimate.mean if seed == ALL else estimate.seeds[seed]
            interval = Interval(np.nan, np.nan)
            if seed == ALL and not found.note:
                interval = percentile_interval(estimate.resampled)
            yield {
                **series._asdict(),
                **tested._asdict(),
                "seed": seed,
                "tested_at": tested_at,
                "split": scores.predictions.split,
                "metric": metric,
                "value": found.value,
                "ci_low": interval.low,
                "ci_high": interval.high,
                "epsilon": np.nan,
                "delta": np.nan,
                "note": found.note or interval.note,
            }


def _results(scores: Scores) -> pd.DataFrame:
    rows = [
        row
        for arm in ARMS
        for setting in scores.settings
        for seed in (*map(str, scores.predictions.seeds), ALL)
        for trained_at in scores.trained_at(arm, setting)
        for row in _result_rows(scores, Series(arm, setting, trained_at), seed)
    ]
    return pd.DataFrame(rows, columns=RESULTS)


def _family(scores: Scores, metric: str, arm: str, against: str, setting: str) -> list[dict[str, object]]:
    """One metric of two arms at `all`, and at each hospital by the models that the arms would give it."""
    rows, p = [], []
    for tested_at in scores.tested:
        pair = [
            scores.estimates.get((Series(one, setting, tested_at if one == "local" else ALL), tested_at, metric))
            for one in (arm, against)
        ]
        if pair[0] is None or pair[1] is None:  # an arm that was not run, a hospital that trained no model
            continue
        difference = paired_difference(pair[0].mean.value, pair[1].mean.value, pair[0].resampled, pair[1].resampled)
        p.append(difference.p)
        rows.append(
            {
                "metric": metric,
                "arm": arm,
                "against": against,
                "setting": setting,
                "tested_at": tested_at,
                "difference": difference.difference,
                "ci_low": difference.low,
                "ci_high": difference.high,
            }
        )
    hospitals = np.array([row["tested_at"] != ALL for row in rows], dtype=bool)
    adjusted = np.array(p)
    adjusted[hospitals] = holm(adjusted[hospitals])
    return [{**row, "p": value} for row, value in zip(rows, adjusted, strict=True)]


def _comparisons(scores: Scores) -> pd.DataFrame:
    rows = [
        row
        for metric in METRICS
        for arm, against in PAIRS
        for setting in scores.settings
        for row in _family(scores, metric, arm, against, setting)
    ]
    return pd.DataFrame(rows, columns=COMPARISONS)


def results_table(predictions: pd.DataFrame, *, test_split: str, resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """results.csv: rows for each seed, and with seed `all` the mean over seeds with its 95 % interval.

    `seed` is text, since `all` is one of its values. `trained_at` `all` in the local arm is its summary.
    `prevalence` is the malignant fraction of the tested images. `note` says why a value is empty, or that some
    resamples were undefined. Arguments and errors as in `scoring.score`.
    """
    return _results(score(predictions, test_split=test_split, resamples=resamples, seed=seed))


def comparisons_table(
    predictions: pd.DataFrame, *, test_split: str, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """comparisons.csv: `arm` minus `against`, paired by resample, with 95 % interval and two-sided p.

    `tested_at` a hospital compares the models that the arms would give it (local: its own) on its own patients.
    Those p are adjusted (Holm) over the hospitals of one metric, arm, against and setting; `all` stands outside
    the family. Intervals are not adjusted. Arguments and errors as in `scoring.score`.
    """
    return _comparisons(score(predictions, test_split=test_split, resamples=resamples, seed=seed))


def evaluate(
    predictions: pd.DataFrame, *, test_split: str, resamples: int = 2000, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`results_table` and `comparisons_table` from one bootstrap."""
    scores = score(predictions, test_split=test_split, resamples=resamples, seed=seed)
    return _results(scores), _comparisons(scores)
