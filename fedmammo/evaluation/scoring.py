"""Scores every model on all test patients and on each hospital's, once, for the tables to read.

The rules: a metric is averaged over folds (each patient is scored in its own fold), then over repeats (seeds and draws
of hospitals) inside each resample. The local arm's summary is the unweighted mean over its hospitals' models of the
metric on all test patients. Scores of different models are never pooled.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from fedmammo.config.arm import ALL
from fedmammo.evaluation.metrics import (
    METRICS,
    Floats,
    Integers,
    Scored,
    Value,
    average,
    point_metrics,
    weighted_metrics,
)
from fedmammo.evaluation.predictions import Predictions, Repeat, Series, arrange
from fedmammo.evaluation.statistics import Draw, draw_resamples, mean_over_repeats


class Estimate(NamedTuple):
    """A metric of one series: a value for each repeat, and (resamples,) values averaged over repeats."""

    repeats: dict[Repeat, Value]
    resampled: Floats

    @property
    def mean(self) -> Value:
        """The mean over repeats."""
        draws = len({repeat.draw for repeat in self.repeats})
        names = {repeat: f"{repeat.seed}, draw {repeat.draw}" if draws > 1 else repeat.seed for repeat in self.repeats}
        return average({f"seed {names[repeat]}": value for repeat, value in self.repeats.items()})


class Tested(NamedTuple):
    """Who was tested: numbers of patients and images, and the malignant fraction of the images.

    Where hospitals were drawn several times these are means over the draws, the counts rounded.
    """

    patients: int
    images: int
    prevalence: float


class Group(NamedTuple):
    """The images of one fold tested at one place: their rows, whose they are (0 ..), and those patients' weights."""

    rows: Integers
    patient: Integers
    weights: Floats


@dataclass(frozen=True)
class Scores:
    """All that both tables read: estimates by series, tested_at and metric, from one draw of resamples."""

    predictions: Predictions
    tested: dict[str, Tested]
    estimates: dict[tuple[Series, str, str], Estimate]

    @property
    def settings(self) -> list[str]:
        """The settings, as they first appear."""
        return list(dict.fromkeys(one.setting for one in self.predictions.series))

    def trained_at(self, arm: str, setting: str) -> list[str]:
        """Where `arm` was trained in `setting`; for the local arm its summary, then the hospitals."""
        found = (one for one, _, _ in self.estimates if (one.arm, one.setting) == (arm, setting))
        return sorted(dict.fromkeys(one.trained_at for one in found), key=lambda place: place != ALL)


def _groups(predictions: Predictions, draw: Draw, tested_at: str) -> dict[tuple[Repeat, int], Group]:
    """The group tested at `tested_at` for each repeat and fold; it may be empty."""
    groups = {}
    for part, images in predictions.images.items():
        rows = np.flatnonzero((images.hospital == tested_at) | (tested_at == ALL))
        patients, patient = np.unique(images.patient[rows], return_inverse=True)
        groups[part] = Group(rows, patient, draw.patients[:, patients])
    return groups


def _tested(predictions: Predictions, groups: dict[tuple[Repeat, int], Group]) -> Tested:
    once = [repeat for repeat in predictions.repeats if repeat.seed == predictions.repeats[0].seed]
    parts = [{part: group for part, group in groups.items() if part[0] == repeat} for repeat in once]
    labels = [np.concatenate([predictions.images[p].label[g.rows] for p, g in part.items()]) for part in parts]
    patients = [sum(group.weights.shape[1] for group in part.values()) for part in parts]
    images = [len(of_draw) for of_draw in labels]
    prevalence = [of_draw.mean() for of_draw in labels if len(of_draw)]
    return Tested(round(np.mean(patients)), round(np.mean(images)), float(np.mean(prevalence)))


def _estimates(
    predictions: Predictions, series: Series, groups: dict[tuple[Repeat, int], Group], weights: Floats
) -> dict[str, Estimate]:
    """Every metric of one series on `groups`: averaged over folds, then over repeats."""
    values: dict[str, dict[Repeat, Value]] = {metric: {} for metric in METRICS}
    resampled = {metric: np.zeros((len(predictions.repeats), len(weights))) for metric in METRICS}
    for index, repeat in enumerate(predictions.repeats):
        by_fold = {}
        folds = {fold: group for (of_repeat, fold), group in groups.items() if of_repeat == repeat}
        for fold, group in folds.items():
            model = predictions.models[series, repeat, fold]
            scored = Scored(predictions.images[repeat, fold].label[group.rows], model.score[group.rows], group.patient)
            by_fold[f"fold {fold}"] = point_metrics(scored, model.thresholds)
            weighted = weighted_metrics(scored, model.thresholds, group.weights)
            for metric in METRICS:
                resampled[metric][index] += weighted[metric] / len(folds)
        for metric in METRICS:
            values[metric][repeat] = average({fold: found[metric] for fold, found in by_fold.items()})
    return {metric: Estimate(values[metric], mean_over_repeats(resampled[metric], weights)) for metric in METRICS}


def _mean_over_models(models: dict[str, Estimate]) -> Estimate:
    """The unweighted mean over `models` (by hospital) of one metric, repeat by repeat and resample by resample."""
    repeats = {
        repeat: average({hospital: model.repeats[repeat] for hospital, model in models.items()})
        for repeat in next(iter(models.values())).repeats
    }
    return Estimate(repeats, np.mean([model.resampled for model in models.values()], axis=0))


def score(predictions: pd.DataFrame, *, test_split: str, resamples: int = 2000, seed: int = 0) -> Scores:
    """Scores every model of `predictions` on all test patients and on each hospital's, with `resamples`.

    Columns and errors as in `predictions.arrange`; `seed` starts the generator of the resamples.
    """
    arranged = arrange(predictions, test_split)
    seeds, draws = ({repeat[axis] for repeat in arranged.repeats} for axis in (0, 1))
    draw = draw_resamples(arranged.patients, len(seeds), len(draws), resamples, seed)
    tested: dict[str, Tested] = {}
    estimates: dict[tuple[Series, str, str], Estimate] = {}
    for tested_at in (ALL, *arranged.hospitals):
        groups = _groups(arranged, draw, tested_at)
        tested[tested_at] = _tested(arranged, groups)
        for series in arranged.series:
            for metric, estimate in _estimates(arranged, series, groups, draw.repeats).items():
                estimates[series, tested_at, metric] = estimate
    for setting in dict.fromkeys(one.setting for one in arranged.series if one.arm == "local"):
        alone = [one for one in arranged.series if one.arm == "local" and one.setting == setting]
        for metric in METRICS:
            models = {one.trained_at: estimates[one, ALL, metric] for one in alone}
            estimates[Series("local", setting, ALL), ALL, metric] = _mean_over_models(models)
    return Scores(arranged, tested, estimates)
