"""How well scores separate malignant from benign, for many patient weights at once.

`weighted_metrics` gives each metric for every row of a matrix of patient weights; a weight of k stands for k copies of
the patient with all images. With weights of 1 these are the numbers of scikit-learn and torchmetrics, which are slower
by two orders of magnitude and know no weights of patients (tests compare them). Malignant (1) is positive. Scores are
probabilities of malignancy in [0, 1]; an image is called malignant if its score is greater than the threshold.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

METRICS = (
    "auroc",
    "auprc",
    "auroc_per_patient",
    "balanced_accuracy",
    "sensitivity_at_90_specificity",
    "specificity_achieved",
    "brier",
    "calibration_error",
)
CALIBRATION_BINS = 10
_STEPS = np.arange(CALIBRATION_BINS + 1) / CALIBRATION_BINS
# torchmetrics' own edges: counted from the nearer end, to the last bit
_EDGES = np.where(_STEPS < 0.5, 0.1 * np.arange(CALIBRATION_BINS + 1), 1 - 0.1 * np.arange(CALIBRATION_BINS + 1)[::-1])
_ELEMENTS_AT_ONCE = 1 << 16  # resamples x images of one chunk: half a megabyte stays in the cache


class Value(NamedTuple):
    """A number, or NaN with the reason why it is undefined."""

    value: float
    note: str = ""


class Thresholds(NamedTuple):
    """Cuts in score chosen on validation scores; see `choose_thresholds`."""

    balanced: Value
    specificity: Value


@dataclass(frozen=True)
class Scored:
    """One model's scores of some patients' images.

    `label` (images,) is 0 or 1, `score` (images,) in [0, 1], `patient` (images,) an index 0 .. patients - 1 in
    which every number occurs.
    """

    label: Integers
    score: Floats
    patient: Integers

    def per_patient(self) -> "Scored":
        """One row a patient: malignant with any malignant image, score the maximum over the images."""
        patients = int(self.patient.max(initial=-1)) + 1
        label, score = np.zeros(patients, dtype=np.int64), np.zeros(patients)
        np.maximum.at(label, self.patient, self.label)
        np.maximum.at(score, self.patient, self.score)
        return Scored(label, score, np.arange(patients))


def choose_thresholds(label: Integers, score: Floats) -> Thresholds:
    """Cuts for one model from its validation images, `label` (images,) of 0 and 1, `score` (images,).

    `balanced` is the validation score with the greatest balanced accuracy (Youden 1950, Cancer 3:32), the smallest
    of equals; it needs both classes. `specificity` is the smallest number that at least 90 % of the benign
    images do not exceed; it needs benign images.
    """
    malignant, benign = np.sort(score[label == 1]), np.sort(score[label == 0])
    if not len(benign):
        why = "no benign image in validation" if len(malignant) else "no patient in validation"
        return Thresholds(Value(np.nan, why), Value(np.nan, why))
    at_least_90_percent = -(-9 * len(benign) // 10)  # in integers: .9 has no exact binary fraction
    specificity = Value(float(benign[at_least_90_percent - 1]))
    if not len(malignant):
        return Thresholds(Value(np.nan, "no malignant image in validation"), specificity)
    cuts = np.unique(score)
    missed = np.searchsorted(malignant, cuts, side="right")
    cleared = np.searchsorted(benign, cuts, side="right")
    # Youden's index times both class sizes: integers, so that equal cuts are seen as equal
    best = np.argmax(cleared * len(malignant) - missed * len(benign))
    return Thresholds(Value(float(cuts[best])), specificity)


def average(parts: Mapping[str, Value]) -> Value:
    """Unweighted mean of named parts; undefined, with the reasons, as soon as one part is."""
    notes = {name: part.note for name, part in parts.items() if part.note}
    if not notes:
        return Value(float(np.mean([part.value for part in parts.values()])))
    if len(notes) == len(parts) and len(set(notes.values())) == 1:
        return Value(np.nan, next(iter(notes.values())))
    return Value(np.nan, "; ".join(f"{name}: {note}" for name, note in notes.items()))


def _why_undefined(metric: str, images: Scored, patients: Scored, thresholds: Thresholds) -> str:
    if not len(images.label):
        return "no patient tested"
    if metric in ("brier", "calibration_error"):
        return ""
    tested, unit = (patients, "patient") if metric == "auroc_per_patient" else (images, "image")
    if metric != "specificity_achieved" and not tested.label.any():
        return f"no malignant {unit} tested"
    if metric != "sensitivity_at_90_specificity" and tested.label.all():
        return f"no benign {unit} tested"
    if metric == "balanced_accuracy":
        return thresholds.balanced.note
    if metric in ("sensitivity_at_90_specificity", "specificity_achieved"):
        return thresholds.specificity.note
    return ""


def point_metrics(images: Scored, thresholds: Thresholds) -> dict[str, Value]:
    """Every metric of METRICS; `thresholds` are those of the same model.

    `calibration_error` is the expected calibration error (l1, 10 bins of equal width).
    """
    patients = images.per_patient()
    values = weighted_metrics(images, thresholds, np.ones((1, len(patients.label))))
    found = {}
    for metric in METRICS:
        why = _why_undefined(metric, images, patients, thresholds)
        found[metric] = Value(np.nan, why) if why else Value(float(values[metric][0]))
    return found


def _ranking(scored: Scored, weights: Floats, precision: bool = True) -> tuple[Floats, Floats]:
    """AUROC and average precision for every row of `weights` (resamples, patients); ties count half.

    `precision`: whether average precision is wanted; else it is 0.
    """
    order = np.argsort(-scored.score, kind="stable")
    label, patient = scored.label[order].astype(float), scored.patient[order]
    last_of_equals = np.flatnonzero(np.append(np.diff(scored.score[order]) != 0, True))
    without_ties = len(last_of_equals) == len(order)
    auroc, average = np.empty(len(weights)), np.zeros(len(weights))
    rows = max(1, _ELEMENTS_AT_ONCE // len(order))
    for start in range(0, len(weights), rows):
        part = slice(start, start + rows)
        weight = weights[part].take(patient, axis=1)
        gained = weight * label
        lost = weight - gained
        true = gained.cumsum(axis=1)
        if not without_ties:
            true = true[:, last_of_equals]
            gained = np.diff(true, axis=1, prepend=0.0)
            lost = np.diff(lost.cumsum(axis=1)[:, last_of_equals], axis=1, prepend=0.0)
        malignant, benign = true[:, -1], lost.sum(axis=1)
        with np.errstate(invalid="ignore"):
            auroc[part] = np.einsum("rn,rn->r", lost, true - gained / 2) / (malignant * benign)
            if precision:
                called = (gained + lost).cumsum(axis=1)
                share = np.divide(true, called, out=np.zeros_like(true), where=called > 0)
                found = np.einsum("rn,rn->r", gained, share) / malignant
                average[part] = np.where(benign > 0, found, np.nan)
    return auroc, average


def _sums_per_patient(images: Scored, thresholds: Thresholds) -> Floats:
    """What adds up over images, (6 + CALIBRATION_BINS + 1, patients); its rows are named by `weighted_metrics`."""
    score, malignant, benign = images.score, images.label.astype(float), 1.0 - images.label
    bins = np.searchsorted(_EDGES, score, side="right") - 1  # a score of exactly 1 has a bin of its own
    rows = [malignant, benign]
    rows += [malignant * (score > thresholds.specificity.value), benign * (score <= thresholds.specificity.value)]
    rows += [malignant * (score > thresholds.balanced.value), benign * (score <= thresholds.balanced.value)]
    rows += [(score - malignant) ** 2]
    rows += [(malignant - score) * (bins == number) for number in range(CALIBRATION_BINS + 1)]
    patients = int(images.patient.max(initial=-1)) + 1
    return np.stack([np.bincount(images.patient, row, minlength=patients) for row in rows])


def weighted_metrics(images: Scored, thresholds: Thresholds, weights: Floats) -> dict[str, Floats]:
    """Every metric of METRICS for each row of `weights` (resamples, patients), non-negative.

    Each value is (resamples,), NaN where the metric is undefined under those weights. Beyond the weights, memory
    does not grow with resamples x images.
    """
    if not len(images.label):
        return {metric: np.full(len(weights), np.nan) for metric in METRICS}
    auroc, auprc = _ranking(images, weights)
    auroc_per_patient, _ = _ranking(images.per_patient(), weights, precision=False)
    # einsum, not BLAS: its order of summation does not depend on the number of threads
    sums = np.einsum("rp,kp->kr", weights, _sums_per_patient(images, thresholds))
    malignant, benign, found, cleared, found_balanced, cleared_balanced, squared = sums[:7]
    undefined = np.full(len(weights), np.nan)
    with np.errstate(invalid="ignore"):
        values = {
            "auroc": auroc,
            "auprc": auprc,
            "auroc_per_patient": auroc_per_patient,
            "balanced_accuracy": (found_balanced / malignant + cleared_balanced / benign) / 2,
            "sensitivity_at_90_specificity": found / malignant,
            "specificity_achieved": cleared / benign,
            "brier": squared / (malignant + benign),
            "calibration_error": np.abs(sums[7:]).sum(axis=0) / (malignant + benign),
        }
    if thresholds.balanced.note:
        values["balanced_accuracy"] = undefined
    if thresholds.specificity.note:
        values["sensitivity_at_90_specificity"] = values["specificity_achieved"] = undefined
    return values
