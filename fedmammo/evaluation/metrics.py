"""The metrics of a study: what each is called, of what it is, which way is better, whether it has an interval."""

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

from fedmammo.config.evaluation import UNITS, Unit
from fedmammo.evaluation import calibration, decisions, ranking
from fedmammo.evaluation.tested import Measure, Measures

PRIMARY = "auroc"
Better = Literal["higher", "lower", "0", "1", ""]


class Metric(NamedTuple):
    """A metric.

    Attributes:
        name: in tables.
        unit: of what.
        measure: computes it.
        better: `higher`, `lower`, or the value that is best; nothing where neither is.
        kind: a `share` lies between 0 and 1; of a `number` nothing is known.
        cautious: whether its intervals cover too often, whoever is tested.
        recalibrated: whether scores are first corrected by what each hospital's validation patients say.
        about: one line.
    """

    name: str
    unit: Unit
    measure: Measure
    better: Better = "higher"
    kind: Literal["share", "number"] = "share"
    cautious: bool = False
    recalibrated: bool = False
    about: str = ""


class Curve(NamedTuple):
    """A curve, or other numbers that one pass over the scores gives.

    Attributes:
        unit: of what.
        points: where it is measured.
        measure: computes a number for each point.
        kind: as of a metric.
        cautious: likewise.
        recalibrated: likewise.
    """

    unit: Unit
    points: Sequence[float]
    measure: Measures
    kind: Literal["share", "number"] = "share"
    cautious: bool = False
    recalibrated: bool = False


ABOUT = {
    "auroc": "area under the ROC curve: the share of pairs (malignant, benign) that are ranked rightly",
    "partial_auroc": "area at specificities from .8 to 1, scaled so that .5 is chance and 1 perfect",
    "auprc": "average precision: area under the curve of precision and recall",
    "sensitivity_at_90_specificity": "sensitivity at 90 % specificity on the test patients' own ROC curve",
    "sensitivity": "at the cut that validation patients set for a specificity of 90 %",
    "specificity": "at the same cut: what it comes to on test patients",
    "balanced_accuracy": "mean of sensitivity and specificity at the cut that validation patients set for it",
    "brier": "mean squared difference between probability and truth",
    "calibration_slope": "slope of truth on log odds: below 1 scores are too sure",
    "calibration_intercept": "what has to be added to log odds so that their mean is right",
    "calibration_error": "root of the mean squared difference of probability and truth in ten bins, less chance",
    "recall_rate": "share of units above the cut for 90 % specificity, at the declared prevalence",
    "ppv": "positive predictive value at that cut and the declared prevalence",
    "npv": "negative predictive value at that cut and the declared prevalence",
}


def metrics_of(unit: Unit, prevalence: float | None = None) -> Sequence[Metric]:
    """Return a study's metrics: all of its unit, AUROC also of the others, recalls at a declared prevalence."""

    def metric(name: str, measure: Measure, better: Better = "higher", of: Unit = unit) -> Metric:
        return Metric(name, of, measure, better, "number" if better in ("0", "1") else "share", about=ABOUT[name])

    found = [
        metric("auroc", ranking.auroc),
        *(metric("auroc", ranking.auroc, of=other) for other in UNITS if other != unit),
        metric("partial_auroc", ranking.partial_auroc),
        metric("auprc", ranking.average_precision),
        metric("sensitivity_at_90_specificity", ranking.sensitivity_on_curve)._replace(cautious=True),
        metric("sensitivity", decisions.sensitivity),
        metric("specificity", decisions.specificity),
        metric("balanced_accuracy", decisions.balanced_accuracy),
    ]
    of_probability = [
        metric("brier", calibration.brier, "lower"),
        metric("calibration_slope", calibration.slope, "1"),
        metric("calibration_intercept", calibration.intercept, "0"),
        metric("calibration_error", calibration.error, "lower"),
    ]
    found += of_probability
    found += [one._replace(name=f"{one.name}_recalibrated", recalibrated=True) for one in of_probability]
    if prevalence is not None:
        found += [
            metric("recall_rate", partial(decisions.recall_rate, prevalence=prevalence), ""),
            metric("ppv", partial(decisions.positive_value, prevalence=prevalence)),
            metric("npv", partial(decisions.negative_value, prevalence=prevalence)),
        ]
    return found


def metric_named(name: str, unit: Unit) -> Metric:
    """Return a metric of a study's unit, such as that of its primary comparison."""
    return next(one for one in metrics_of(unit) if (one.name, one.unit) == (name, unit))
