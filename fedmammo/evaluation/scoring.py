"""Measures every model at every place: a metric's value in each repeat, and how patients move it.

The rules: scores of different folds are never compared (fedmammo.evaluation.tested); a number is averaged over repeats,
which are seeds crossed with draws of hospitals; the local arm's summary is the unweighted mean over its hospitals'
models of the metric on all test patients.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from fedmammo.config.arm import ALL, Arm
from fedmammo.config.evaluation import ASSESSMENT, Unit
from fedmammo.evaluation.metrics import Curve, Metric
from fedmammo.evaluation.predictions import Predictions, Repeat, Series
from fedmammo.evaluation.tested import Flags, Floats, Integers, Tested, UndefinedError
from fedmammo.evaluation.units import Grouping
from fedmammo.evaluation.variance import Sample

KEPT = 64  # places with units, whose groupings are kept
READER = Series("reader", ASSESSMENT, ALL)


class Value(NamedTuple):
    """A number, or NaN with the reason why it is undefined."""

    value: float
    note: str = ""


class Estimate(NamedTuple):
    """A metric of one series at one place.

    Attributes:
        repeats: its value in each repeat.
        sample: the same with what moves it; None where it is undefined in a repeat.
    """

    repeats: dict[Repeat, Value]
    sample: Sample | None

    @property
    def mean(self) -> Value:
        """The mean over repeats; undefined, with the reason, as soon as one is."""
        lost = {repeat: one.note for repeat, one in self.repeats.items() if one.note}
        if not lost:
            return Value(float(np.mean([one.value for one in self.repeats.values()])))
        reasons = list(dict.fromkeys(lost.values()))
        where = "" if len(lost) == len(self.repeats) else f" in {len(lost)} of {len(self.repeats)} repeats"
        return Value(np.nan, "; ".join(reasons) + where)

    def reordered(self, order: Integers) -> "Estimate":
        """Return the same with patients in another order: number i is the one that was `order[i]`."""
        if self.sample is None:
            return self
        influence, has = self.sample.influence[..., order], self.sample.has[:, order]
        return Estimate(self.repeats, replace(self.sample, influence=influence, has=has))


class Who(NamedTuple):
    """Who was tested at a place; means over draws of hospitals, rounded."""

    patients: int
    positives: int
    units: int
    prevalence: float


@dataclass(frozen=True)
class Panel:
    """The units of one repeat: (units,) each."""

    grouping: Grouping
    label: Integers
    patient: Integers
    fold: Integers
    hospital: np.ndarray


class Place(NamedTuple):
    """Which images count: those of a hospital's patients, or of ALL; with a column, those alone that have its value."""

    hospital: str = ALL
    column: str = ""
    value: str = ""
    read: bool = False  # only images that a reader assessed


class Scores:
    """Measures, from one table of predictions.

    Args:
        predictions: laid out.
    """

    def __init__(self, predictions: Predictions) -> None:
        self.predictions = predictions
        self._panels: dict[tuple[Place, Unit], dict[Repeat, tuple[Flags, Panel]]] = {}

    @cached_property
    def reader(self) -> bool:
        """Whether readers' assessments are known."""
        return all(
            ASSESSMENT in shown.about and (shown.about[ASSESSMENT] != "").any()
            for shown in self.predictions.images.values()
        )

    def who(self, place: Place, unit: Unit) -> Who:
        """Say who is tested at a place: patients with any malignant unit are positives."""
        first = [repeat for repeat in self.predictions.repeats if repeat.seed == self.predictions.seeds[0]]
        panels = [panel for repeat, (_, panel) in self._at(place, unit).items() if repeat in first]
        patients = [len(set(panel.patient)) for panel in panels]
        positives = [len(set(panel.patient[panel.label == 1])) for panel in panels]
        shares = [panel.label.mean() for panel in panels if len(panel.label)]
        units = round(float(np.mean([len(panel.label) for panel in panels])))
        prevalence = float(np.mean(shares)) if shares else np.nan
        return Who(round(float(np.mean(patients))), round(float(np.mean(positives))), units, prevalence)

    def estimates(self, place: Place, metric: Metric, series: Iterable[Series]) -> dict[Series, Estimate]:
        """Measure series at a place."""
        alone = Curve(metric.unit, (np.nan,), lambda tested: [metric.measure(tested)], recalibrated=metric.recalibrated)
        return {one: self._measured(place, alone, one)[0] for one in series}

    def arms(self, curve: Curve) -> Iterator[tuple[Series, list[Estimate]]]:
        """Measure a curve on all test patients: an estimate at each point, for each arm in each setting.

        Of an arm that gives each hospital a model of its own it is the mean over these; coalitions have none.
        """
        models: dict[Series, list[Series]] = {}
        for one in (one for one in self.predictions.series if Arm.of(one.arm).kind != "coalitions"):
            models.setdefault(one._replace(trained_at=ALL), []).append(one)
        for arm, own in models.items():
            found = [self._measured(Place(), curve, one) for one in own]
            yield arm, [mean_over_models([*of_point]) for of_point in zip(*found, strict=True)]

    def tested(self, place: Place, metric: Metric | Curve, one: Series, repeat: Repeat) -> Tested:
        """Gather what a metric reads of a series in a repeat."""
        shown, panel = self._at(place, metric.unit)[repeat]
        if one == READER:
            read = self.predictions.images[repeat].about[ASSESSMENT].to_numpy()[shown]
            told = read != ""
            sums, counts = (
                np.bincount(panel.grouping.of_image, values, len(panel.label))
                for values in (np.where(told, read, "0").astype(float), told.astype(float))
            )
            known = counts > 0
            score = np.divide(sums, counts, out=np.zeros_like(sums), where=known)
            none = np.full(known.sum(), np.nan)
            return Tested(panel.label[known], score[known], panel.patient[known], panel.fold[known], none, none, none)
        model = self.predictions.models[one, repeat]
        score = panel.grouping.mean(model.score[shown], self.predictions.pooling)
        cuts = np.array([model.thresholds[fold] for fold in sorted(model.thresholds)])
        if metric.recalibrated:
            score = self._recalibrated(panel, score, one, repeat)
        cut = cuts[panel.fold]
        return Tested(panel.label, score, panel.patient, panel.fold, cut[:, 0], cut[:, 1], cut[:, 2])

    def _recalibrated(self, panel: Panel, score: Floats, one: Series, repeat: Repeat) -> Floats:
        lines, found = self.predictions.models[one, repeat].lines, score.copy()
        for fold in np.unique(panel.fold):
            for hospital in dict.fromkeys(panel.hospital):
                own = (panel.fold == fold) & (panel.hospital == hospital)
                line = lines.get((int(fold), hospital if one.trained_at == ALL else one.trained_at))
                if not own.any():
                    continue
                if line is not None:  # a hospital that cannot tell leaves scores as they are
                    found[own] = line.of(score[own])
        return found

    def _at(self, place: Place, unit: Unit) -> dict[Repeat, tuple[Flags, Panel]]:
        """Return which images of each repeat count, and their units."""
        key = place, unit
        if key not in self._panels:
            if len(self._panels) >= KEPT:
                self._panels.clear()  # tables go place by place
            self._panels[key] = {repeat: self._panel(place, unit, repeat) for repeat in self.predictions.repeats}
        return self._panels[key]

    def _panel(self, place: Place, unit: Unit, repeat: Repeat) -> tuple[Flags, Panel]:
        images = self.predictions.images[repeat]
        shown: Flags = (images.hospital == place.hospital) | (place.hospital == ALL)
        if place.read:
            shown = shown & (images.about[ASSESSMENT].to_numpy() != "")
        if place.column:
            shown = shown & (images.about[place.column].to_numpy() == place.value)
        grouping = Grouping.of(images.names[unit][shown])
        parts = (grouping.first(values[shown]) for values in (images.patient, images.fold, images.hospital))
        return shown, Panel(grouping, grouping.label(images.label[shown]), *parts)

    def _measured(self, place: Place, curve: Curve, one: Series) -> list[Estimate]:
        predictions = self.predictions
        shape = (len(curve.points), len(predictions.seeds), len(predictions.draws))
        values, influence = np.empty(shape), np.zeros((*shape, 2, predictions.patients))
        has, fewest = np.zeros((2, predictions.patients), dtype=bool), predictions.patients
        found: list[dict[Repeat, Value]] = [{} for _ in curve.points]
        for number, repeat in enumerate(predictions.repeats):
            at = divmod(number, shape[2])
            try:
                tested = self.tested(place, curve, one, repeat)
                measured = curve.measure(tested)
            except UndefinedError as error:
                for of_point in found:
                    of_point[repeat] = Value(np.nan, str(error))
                continue
            for point, (value, moved) in enumerate(measured):
                found[point][repeat] = Value(value)
                values[point][at] = value
                for kind in (0, 1):
                    of_kind = tested.label == kind
                    patient = tested.patient[of_kind]
                    influence[point][at][kind] = np.bincount(patient, moved[of_kind], predictions.patients)
            for kind in (0, 1):
                own = np.bincount(tested.patient[tested.label == kind], minlength=predictions.patients) > 0
                has[kind] |= own
                fewest = min(fewest, int(own.sum()))
        estimates = []
        for point, of_point in enumerate(found):
            whole = not any(one.note for one in of_point.values())
            sample = Sample(values[point], influence[point], has, fewest) if whole else None
            estimates.append(Estimate(of_point, sample))
        return estimates


def mean_over_models(models: list[Estimate]) -> Estimate:
    """Return the unweighted mean over hospitals' models, repeat by repeat."""
    repeats = {}
    for repeat in models[0].repeats:
        parts = [model.repeats[repeat] for model in models]
        lost = list(dict.fromkeys(part.note for part in parts if part.note))
        value = np.nan if lost else float(np.mean([part.value for part in parts]))
        repeats[repeat] = Value(value, "; ".join(lost))
    samples = [model.sample for model in models]
    whole = [sample for sample in samples if sample is not None]
    if len(whole) < len(samples):
        return Estimate(repeats, None)
    values, influence = (np.mean([getattr(one, name) for one in whole], axis=0) for name in ("values", "influence"))
    has = np.any([one.has for one in whole], axis=0)
    return Estimate(repeats, Sample(values, influence, has, min(one.fewest for one in whole)))
