"""What is told of one hospital's tested patients in place of their scores: counts, metrics, how sure they are.

A hospital that keeps its scores works this out by itself, by its own floor (fedmammo.evaluation.disclosure); for one
that gives rows the server does, without a floor. Both are made by the functions that measure rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from fedmammo.config.arm import Arm
from fedmammo.config.deployment import Deployment
from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.config.schema import Section
from fedmammo.errors import InputError
from fedmammo.evaluation.disclosure import UNTOLD, Cuts, decided_by_one, enough, rounded, suppressed, two_digits
from fedmammo.evaluation.heterogeneity import FLAT
from fedmammo.evaluation.metrics import Metric, metric_named, metrics_of
from fedmammo.evaluation.predictions import Repeat, Series, arrange
from fedmammo.evaluation.ranking import SPECIFICITY, cuts_on_curve
from fedmammo.evaluation.scoring import READER, Estimate, Place, Scores
from fedmammo.evaluation.subgroups import MOST_VALUES, OF_IMAGES
from fedmammo.evaluation.tables import Pair, at_home, pairs_of_arms, pairs_of_settings, primary_pair
from fedmammo.evaluation.tested import Flags, Tested
from fedmammo.evaluation.variance import Moments, Sample, moments_of

NOT_RECORDED, SEVERAL = "(not recorded)", "(several)"  # values of columns, of patients whose units differ the latter
EDGES = tuple(number / 100 for number in range(99, 0, -1))  # of bins of the score, some of which are told


class Told(Section):
    """A number of a hospital, such as a metric of an arm, or the difference of two arms.

    Attributes:
        arm: whose metric it is; the minuend.
        setting: likewise.
        against: the subtrahend's arm; none where it is no difference.
        against_setting: likewise.
        metric: of the study's unit.
        column: of the cohort, by which a subgroup is told apart; none where it is of all patients.
        value: of the column.
        values: (seeds, draws); none where nothing is told.
        variance: as of `Moments`.
        shared: likewise.
        freedom: likewise.
        note: why nothing is told.
    """

    arm: str
    setting: str
    against: str = ""
    against_setting: str = ""
    metric: str
    column: str = ""
    value: str = ""
    values: tuple[tuple[float, ...], ...] = ()
    variance: float = 0.0
    shared: float = 0.0
    freedom: float = 0.0
    note: str = ""

    def moments(self, fewest: int) -> Moments | None:
        """Return it as intervals read it; None where nothing is told. `fewest`: patients of the smaller class."""
        if self.note:
            return None
        return Moments(np.array(self.values, dtype=float), self.variance, self.shared, self.freedom, fewest)


class Subgroup(Section):
    """Patients of one value of a column, all of whose units have it."""

    column: str
    value: str
    patients: int
    positives: int

    @property
    def fewest(self) -> int:
        """Patients of the smaller class."""
        return min(self.positives, self.patients - self.positives)


class Bin(Section):
    """Units between two cuts in the score of an arm's model, in the first repeat.

    The ROC curve's point at the lower cut, the mean score of the bin, and the malignant share there.
    """

    arm: str
    setting: str
    score_low: float
    score_high: float
    false_positive_rate: float
    sensitivity: float
    predicted: float
    observed: float


class Summary(Section):
    """What is told of one hospital's tested patients.

    Attributes:
        split: name of the tested patients.
        seeds: of the study.
        draws: of hospitals; all with the same tested patients.
        folds: how many there are, at least 1.
        patients: tested; 0 where nothing is told.
        positives: those of them with a malignant lesion.
        numbers: metrics and differences.
        subgroups: those that are told of.
        bins: of scores.
        minimum_count: the fewest patients of a class that are told of; 0 of rows, of which everything is.
        note: why nothing is told.
    """

    split: str
    seeds: tuple[int, ...]
    draws: tuple[int, ...]
    folds: int
    patients: int = 0
    positives: int = 0
    numbers: tuple[Told, ...] = ()
    subgroups: tuple[Subgroup, ...] = ()
    bins: tuple[Bin, ...] = ()
    minimum_count: int = 0
    note: str = ""

    @property
    def fewest(self) -> int:
        """Patients of the smaller class."""
        return min(self.positives, self.patients - self.positives)

    def check(self, deployments: int) -> None:
        """Raise ValueError where numbers are not of its repeats, or repeats not of so many deployments."""
        shape = len(self.seeds), len(self.draws)
        if not 0 < shape[0] * shape[1] * self.folds <= deployments:
            raise ValueError("repeats of other deployments")
        for one in self.numbers:
            if not one.note and (np.shape(one.values) != shape or not one.variance >= 0):
                raise ValueError("a number of other repeats")


def metrics_told(config: EvaluationConfig) -> list[Metric]:
    """Return the metrics that are told: of the study's unit, with a standard error, before recalibration."""
    found = [one for one in metrics_of(config.unit) if one.unit == config.unit and not one.recalibrated]
    return [one for one in found if one.name != "calibration_error"]


def summarize(
    scores: Scores, config: EvaluationConfig, recipes: Mapping[tuple[str, str], str] | None = None, floor: int = 0
) -> Summary:
    """Sum up one hospital's tested patients.

    Args:
        scores: of its patients alone.
        config: names unit, primary comparison and subgroups.
        recipes: as `evaluate` takes them.
        floor: the fewest patients of a class that are told of; 0: everything is told, to the last digit.

    Raises:
        InputError: where the patients are of several hospitals, or not the same in all draws.
    """
    predictions = scores.predictions
    if len(predictions.hospitals) != 1 or predictions.dealings != 1:
        raise InputError("hospitals.seed: draws deal other patients; a hospital sums up the same ones, in one draw")
    return _Hospital(scores, config, floor).summary(dict(recipes or {}))


def summary_of(
    predictions: pd.DataFrame,
    deployments: Sequence[Deployment],
    config: EvaluationConfig,
    recipes: Mapping[tuple[str, str], str] | None = None,
    floor: int = 0,
) -> Summary:
    """Sum up one hospital's rows, which may lack folds that test nobody there.

    Args:
        predictions: of its patients alone, as `fedmammo.evaluation.predictions.arrange` takes them.
        deployments: of which they are.
        config: as of `summarize`, as are the others.
        recipes: likewise.
        floor: likewise.
    """
    split, names = deployments[0].tested, ("seed", "draw", "fold")
    seeds, draws, folds = (sorted({getattr(one, name) for one in deployments}) for name in names)
    tested = predictions[predictions["split"] == split]
    if len(tested[[*names]].drop_duplicates()) < len(seeds) * len(draws) * len(folds):
        place = {"split": split, "seeds": seeds, "draws": draws, "folds": len(folds), "minimum_count": floor}
        return Summary.model_validate(place | {"note": UNTOLD if floor else "a fold tests nobody"})
    return summarize(Scores(arrange(predictions, split, config.unit, config.pooling)), config, recipes, floor)


class _Key(NamedTuple):
    """What a number is of: a metric, of two series where it is a difference."""

    metric: Metric
    one: Series
    other: Series | None = None


class _Hospital:
    """One hospital's patients, while they are summed up. Arguments as of `summarize`."""

    def __init__(self, scores: Scores, config: EvaluationConfig, floor: int) -> None:
        self.scores, self.config, self.floor = scores, config, floor
        self.name = scores.predictions.hospitals[0]
        self.series = [
            one
            for one in scores.predictions.series
            if one == at_home(one, self.name) and Arm.of(one.arm).kind != "coalitions"
        ]
        self._cuts: dict[tuple[Series, Repeat], Cuts] = {}

    def summary(self, recipes: dict[tuple[str, str], str]) -> Summary:
        """Sum everything up."""
        predictions = self.scores.predictions
        who = self.scores.who(Place(self.name), self.config.unit)
        found = Summary(
            split=predictions.split,
            seeds=tuple(predictions.seeds),
            draws=tuple(predictions.draws),
            folds=predictions.folds,
            patients=who.patients,
            positives=who.positives,
            minimum_count=self.floor,
        )
        if found.fewest < self.floor:
            return found.model_copy(update={"patients": 0, "positives": 0, "note": UNTOLD})
        primary = primary_pair(self.config.primary, self.scores)
        others = [*pairs_of_arms(self.scores), *pairs_of_settings(self.scores, recipes)]
        home = (Pair(*(at_home(one, self.name) for one in pair)) for pair in (primary, *others) if READER not in pair)
        pairs = [pair for pair in dict.fromkeys(home) if set(pair) <= set(self.series)]
        numbers = [one for metric in self._metrics() for one in self._numbers(self.scores, metric, self.series, pairs)]
        bins = [one for series in self.series for one in self._bins(series)]
        groups, of_groups = self._subgroups(pairs)
        told = {"numbers": (*numbers, *of_groups), "subgroups": tuple(groups), "bins": tuple(bins)}
        return found.model_copy(update=told)

    def _metrics(self) -> list[Metric]:
        """Return the metrics, the primary one first: what is told at a cut may forbid what comes later."""
        return sorted(metrics_told(self.config), key=lambda one: one.name != self.config.primary.metric)

    def _numbers(
        self, scores: Scores, metric: Metric, series: list[Series], pairs: list[Pair], column: str = "", value: str = ""
    ) -> Iterator[Told]:
        """Tell a metric of each series, and the differences of pairs, of all patients or of a subgroup."""
        estimates = scores.estimates(Place(self.name, column, value), metric, series)
        place = {"metric": metric.name, "column": column, "value": value or (NOT_RECORDED if column else "")}
        for own, estimate in estimates.items():
            about = place | {"arm": own.arm, "setting": own.setting}
            yield self._told(about, _Key(metric, own), estimate.sample, estimate)
        for pair in pairs:
            if set(pair) <= estimates.keys():
                one, other = (estimates[series] for series in pair)
                both = None if one.sample is None or other.sample is None else one.sample - other.sample
                about = place | {"arm": pair.one.arm, "setting": pair.one.setting}
                about |= {"against": pair.other.arm, "against_setting": pair.other.setting}
                yield self._told(about, _Key(metric, *pair), both, one if one.sample is None else other)

    def _told(self, about: dict[str, str], key: _Key, sample: Sample | None, estimate: Estimate) -> Told:
        if sample is None:
            return Told.model_validate(about | {"note": UNTOLD if self.floor else estimate.mean.note})
        values, variance, shared, freedom, _ = moments_of(sample)
        known = bool(np.isfinite(variance) and np.isfinite(freedom))
        told: dict[str, object] = {
            "values": values.tolist(),
            "variance": variance,
            "shared": shared,
            "freedom": freedom,
        }
        if self.floor:
            known = known and variance > FLAT and not decided_by_one(sample.influence) and self._allowed(key)
            shown = [[rounded(value, variance**0.5) for value in row] for row in values.tolist()] if known else []
            told = {name: two_digits(one) for name, one in told.items() if isinstance(one, float)} | {"values": shown}
        return Told.model_validate(
            about | (told if known else {"note": UNTOLD if self.floor else "no standard error is known"})
        )

    def _allowed(self, key: _Key) -> bool:
        """Whether a number at a cut may be told; takes note of the cut if so. What is at no cut may."""
        repeats = self.scores.predictions.repeats
        called = {
            (one, repeat): flags
            for one in (key.one, key.other)
            if one is not None
            for repeat in repeats
            if (flags := _called(key.metric.name, self._tested(key.metric, one, repeat))) is not None
        }
        if not called:
            return True
        if key.other is not None:
            one, other = key.one, key.other
            return all(
                enough(
                    self._tested(key.metric, one, repeat),
                    [called[one, repeat], called[other, repeat]],
                    self.floor,
                    crossed=True,
                )
                for repeat in repeats
            )
        if not all(self._of(place).allow(flags) for place, flags in called.items()):
            return False
        for place, flags in called.items():
            self._of(place).add(flags)
        return True

    def _tested(self, metric: Metric, one: Series, repeat: Repeat) -> Tested:
        return self.scores.tested(Place(self.name), metric, one, repeat)

    def _of(self, place: tuple[Series, Repeat]) -> Cuts:
        if place not in self._cuts:
            metric = metric_named("auroc", self.config.unit)
            self._cuts[place] = Cuts(self._tested(metric, *place), self.floor)
        return self._cuts[place]

    def _bins(self, one: Series) -> Iterator[Bin]:
        """Tell of scores between cuts at hundredths, as many as leave enough on either side. None with folds.

        Scores of folds come from different models, which have no curve together.
        """
        predictions = self.scores.predictions
        if predictions.folds > 1 or not self.floor:
            return
        cuts = self._of((one, predictions.repeats[0]))
        tested, lows, last = cuts.tested, [], 0
        for low in EDGES:
            called = tested.score > low
            if called.sum() > last and cuts.allow(called):  # that nobody lies between two cuts is not told
                cuts.add(called)
                lows.append(low)
                last = called.sum()
        for high, low in pairwise([1.0, *lows, 0.0] if lows else []):
            above: Flags = tested.score > low if low else np.ones(len(tested.score), dtype=bool)
            inside = above & ~(tested.score > high)
            shares = {
                "false_positive_rate": above[~tested.malignant].mean(),
                "sensitivity": above[tested.malignant].mean(),
                "predicted": tested.score[inside].mean(),
                "observed": tested.malignant[inside].mean(),
            }
            told = {name: round(float(share), 2) for name, share in shares.items()}
            yield Bin(arm=one.arm, setting=one.setting, score_low=low, score_high=high, **told)

    def _subgroups(self, pairs: list[Pair]) -> tuple[list[Subgroup], list[Told]]:
        """Tell the primary metric of each arm, and the primary difference, by the values of columns.

        Subgroups are of whole patients, so that those of a column add up to all.
        """
        primary = primary_pair(self.config.primary, self.scores)
        pair = [one for one in pairs if one == Pair(*(at_home(series, self.name) for series in primary))]
        metric = metric_named(self.config.primary.metric, self.config.unit)
        groups: list[Subgroup] = []
        numbers: list[Told] = []
        for column in (one for one in self.config.subgroups if one not in OF_IMAGES):
            scores = by_patient(self.scores, column)
            values = sorted({value for shown in scores.predictions.images.values() for value in shown.about[column]})
            if len(values) > MOST_VALUES or values in ([""], []) or metric.name == "sensitivity_at_90_specificity":
                continue
            who = {value: scores.who(Place(self.name, column, value), metric.unit) for value in values}
            lost = suppressed(
                {name: (one.patients - one.positives, one.positives) for name, one in who.items()}, self.floor
            )
            for value in (one for one in values if one not in lost):
                shown = {"patients": who[value].patients, "positives": who[value].positives}
                groups.append(Subgroup(column=column, value=value or NOT_RECORDED, **shown))
                numbers += self._numbers(scores, metric, self.series, pair, column, value)
        return groups, numbers


def by_patient(scores: Scores, column: str) -> Scores:
    """Return scores of which each patient's units all have one value of a column: SEVERAL where they differ."""
    images = {}
    for repeat, shown in scores.predictions.images.items():
        if column not in shown.about:
            images[repeat] = replace(shown, about=shown.about.assign(**{column: ""}))
            continue
        values = shown.about.groupby(shown.patient)[column].agg(
            lambda own: own.iloc[0] if own.nunique() == 1 else SEVERAL
        )
        images[repeat] = replace(shown, about=shown.about.assign(**{column: values.reindex(shown.patient).to_numpy()}))
    return Scores(replace(scores.predictions, images=images))


def _called(metric: str, tested: Tested) -> Flags | None:
    """Return who lies above the cut at which a metric is measured, (units,); None of a metric at no cut."""
    cuts = {
        "sensitivity": tested.specific,
        "specificity": tested.specific,
        "balanced_accuracy": tested.balanced,
    }
    if metric == "sensitivity_at_90_specificity":
        called: Flags = tested.score > cuts_on_curve(tested, 1 - SPECIFICITY)
        return called
    return tested.score > cuts[metric] if metric in cuts else None
