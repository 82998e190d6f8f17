"""roc.csv, precision_recall.csv, calibration.csv and decision_curve.csv: what is drawn of each arm in each setting.

Means over repeats, on all test patients. Readers have none: six assessments are points, not a curve. Who gets no
interval was settled on simulated data with known truth (benchmarks/curves.py): 1000 data sets for each of 26 designs,
of 40 to 680 patients, a quarter or half of them malignant, tested at once, in five or in ten folds, by one model or by
three. What is said of coverage below is of
points at which more than four fifths of data sets have an interval: where a share is 0 or 1 in many, which have none,
the others are selected.
"""

from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from itertools import chain

import pandas as pd

from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.evaluation.calibration import BINS, in_bin
from fedmammo.evaluation.decisions import net_benefit
from fedmammo.evaluation.intervals import Interval, interval_of
from fedmammo.evaluation.metrics import Curve
from fedmammo.evaluation.ranking import precisions, sensitivities
from fedmammo.evaluation.scoring import Estimate, Place, Scores
from fedmammo.evaluation.tables import limits_of, limits_shown

RATES = (
    *(0.0, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5),
    *(0.6, 0.7, 0.8, 0.9, 0.95, 1.0),
)  # of false positives: closest where one would act
RECALLS = tuple(number / 20 for number in range(1, 21))  # at 0 nobody is called
FEWEST_IN_BIN = 10  # patients, for an interval of the share of malignant ones

ROC = [
    *("arm", "setting", "false_positive_rate", "sensitivity", "ci_low", "ci_high"),
    *("unit", "patients", "positives", "note"),
]
PRECISION_RECALL = [
    *("arm", "setting", "recall", "precision", "ci_low", "ci_high", "unit", "patients", "positives", "note"),
]
CALIBRATION = [
    *("arm", "setting", "bin_low", "bin_high", "predicted", "observed", "ci_low", "ci_high"),
    *("units", "unit", "patients", "positives", "note"),
]
DECISION_CURVE = [
    *("arm", "setting", "threshold", "prevalence", "net_benefit", "ci_low", "ci_high", "treat_all", "treat_none"),
    *("unit", "patients", "positives", "note"),
]


def roc(scores: Scores, config: EvaluationConfig) -> pd.DataFrame:
    """Return sensitivity at each false positive rate of `RATES`, of each arm.

    Intervals hold for each point alone, not for the curve as a whole. They covered .917 to .989, .964 on average; below
    .93 at rates of .8 and .9 alone, in folds. One that missed was shown in .091 of data sets at most.
    """
    curve = Curve(config.unit, RATES, partial(sensitivities, rates=RATES), cautious=True)
    return pd.DataFrame(_rows(scores, curve, "false_positive_rate", "sensitivity"), columns=ROC)


def precision_recall(scores: Scores, config: EvaluationConfig) -> pd.DataFrame:
    """Return precision among the tested at each recall of `RECALLS`, of each arm.

    Intervals hold for each point alone. They covered .934 to .989, .961 on average, with two malignant units of a fold
    on each side of the point; with fewer, in folds, .915 at low recalls. One that missed was shown in .062 of data sets
    at most.
    """
    curve = Curve(config.unit, RECALLS, partial(precisions, recalls=RECALLS), cautious=True)
    return pd.DataFrame(_rows(scores, curve, "recall", "precision"), columns=PRECISION_RECALL)


def decision_curve(scores: Scores, config: EvaluationConfig) -> pd.DataFrame:
    """Return the net benefit of each arm at each threshold, beside acting on everybody and on nobody.

    At the declared prevalence, to which probabilities are moved; else at that of the tested units.
    """
    measures = [partial(net_benefit, threshold=one, prevalence=config.prevalence) for one in config.thresholds]
    curve = Curve(config.unit, config.thresholds, lambda tested: [measure(tested) for measure in measures], "number")
    table = pd.DataFrame(_rows(scores, curve, "threshold", "net_benefit"), columns=DECISION_CURVE)
    prevalence = scores.who(Place(), config.unit).prevalence if config.prevalence is None else config.prevalence
    odds = table["threshold"] / (1 - table["threshold"])
    return table.assign(prevalence=prevalence, treat_all=prevalence - (1 - prevalence) * odds, treat_none=0.0)


def _rows(scores: Scores, curve: Curve, point: str, value: str) -> Iterator[dict[str, object]]:
    for arm, estimates in scores.arms(curve):
        who = scores.who(Place(), curve.unit)
        for at, estimate in zip(curve.points, estimates, strict=True):
            yield {
                "arm": arm.arm,
                "setting": arm.setting,
                point: at,
                value: estimate.mean.value,
                "unit": curve.unit,
                "patients": who.patients,
                "positives": who.positives,
                **limits_shown(limits_of(estimate, curve)),
            }


def calibration(scores: Scores, config: EvaluationConfig) -> pd.DataFrame:
    """Return mean score and malignant share of the units in each of ten bins of equal width of the score.

    Of the units that all repeats, and the local arm's models, score in the bin: means over repeats would be undefined
    as soon as a bin is empty in one. Counts are means over repeats and models, rounded. Bins in which nobody falls in
    any repeat are left out. With `FEWEST_IN_BIN` patients intervals covered .935 to .988, .969 on average.
    """
    tested, rows = scores.who(Place(), config.unit).units, defaultdict(list)
    for number in range(BINS):
        curve = Curve(config.unit, range(5), partial(in_bin, number=number))
        for arm, (inside, malignant, told, patients, positives) in scores.arms(curve):
            if not inside.mean.value > 0:
                continue
            rows[arm].append(
                {
                    "arm": arm.arm,
                    "setting": arm.setting,
                    "bin_low": number / BINS,
                    "bin_high": (number + 1) / BINS,
                    "predicted": told.mean.value / inside.mean.value,
                    "observed": malignant.mean.value / inside.mean.value,
                    "units": round(inside.mean.value * tested),
                    "unit": config.unit,
                    "patients": round(patients.mean.value),
                    "positives": round(positives.mean.value),
                    **limits_shown(_observed(malignant, inside, patients.mean.value)),
                }
            )
    return pd.DataFrame(chain.from_iterable(rows.values()), columns=CALIBRATION)


def _observed(malignant: Estimate, inside: Estimate, patients: float) -> Interval:
    """Return the interval of the share of malignant units among those in a bin."""
    if malignant.sample is None or inside.sample is None or patients < FEWEST_IN_BIN:
        return Interval(note=f"no interval: fewer than {FEWEST_IN_BIN} patients in the bin")
    return interval_of(malignant.sample / inside.sample, "share")
