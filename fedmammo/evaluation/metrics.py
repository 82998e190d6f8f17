"""How well scores separate malignant from benign: by the libraries, and for many patient weights at once.

`point_metrics` asks scikit-learn and torchmetrics. `weighted_metrics` gives the same numbers for every row of a
matrix of patient weights; a weight of k stands for k copies of the patient with all images. Malignant (1) is
positive. Scores are probabilities of malignancy in [0, 1]; an image is called malignant if its score is greater
than the threshold.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    recall_score,
    roc_auc_score,
)

import fedmammo.models.torchvision_guard  # noqa: F401  (before torchmetrics, which imports torchvision)

from torchmetrics.functional.classification import binary_calibration_error  # isort: skip

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
    """Every metric of METRICS, by scikit-learn and torchmetrics; `thresholds` are those of the same model.

    `calibration_error` is the expected calibration error (l1, 10 bins of equal width).
    """
    patients = images.per_patient()
    label, score = images.label, images.score
    compute = {
        "auroc": lambda: roc_auc_score(label, score),
        "auprc": lambda: average_precision_score(label, score),
        "auroc_per_patient": lambda: roc_auc_score(patients.label, patients.score),
        "balanced_accuracy": lambda: balanced_accuracy_score(label, score > thresholds.balanced.value),
        "sensitivity_at_90_specificity": lambda: recall_score(label, score > thresholds.specificity.value),
        "specificity_achieved": lambda: recall_score(label, score > thresholds.specificity.value, pos_label=0),
        "brier": lambda: brier_score_loss(label, score, pos_label=1),
        "calibration_error": lambda: binary_calibration_error(
            torch.from_numpy(score), torch.from_numpy(label), n_bins=CALIBRATION_BINS, norm="l1"
        ),
    }
    values = {}
    for metric in METRICS:
        why = _why_undefined(metric, images, patients, thresholds)
        values[metric] = Value(np.nan, why) if why else Value(float(compute[metric]()))
    return values


def _ranking(scored: Scored, weights: Floats) -> tuple[Floats, Floats]:
    """AUROC and average precision for every row of `weights` (resamples, patients); ties count half."""
    order = np.argsort(-scored.score, kind="stable")
    label, patient = scored.label[order].astype(float), scored.patient[order]
    last_of_equals = np.flatnonzero(np.append(np.diff(scored.score[order]) != 0, True))
    auroc, precision = np.empty(len(weights)), np.empty(len(weights))
    rows = max(1, _ELEMENTS_AT_ONCE // len(order))
    for start in range(0, len(weights), rows):
        weight = weights[start : start + rows, patient]
        called = np.cumsum(weight, axis=1)[:, last_of_equals]
        true = np.cumsum(weight * label, axis=1)[:, last_of_equals]
        false = called - true
        malignant, benign = true[:, -1], false[:, -1]
        gained = np.diff(true, axis=1, prepend=0.0)
        area = (np.diff(false, axis=1, prepend=0.0) * (true - gained / 2)).sum(axis=1)
        share = np.divide(true, called, out=np.zeros_like(true), where=called > 0)
        with np.errstate(invalid="ignore"):
            auroc[start : start + rows] = area / (malignant * benign)
            average_precision = (gained * share).sum(axis=1) / malignant
        precision[start : start + rows] = np.where(benign > 0, average_precision, np.nan)
    return auroc, precision


def _sums_per_patient(images: Scored, thresholds: Thresholds) -> Floats:
    """What adds up over images, (6 + CALIBRATION_BINS + 1, patients); its rows are named by `weighted_metrics`."""
    score, malignant, benign = images.score, images.label.astype(float), 1.0 - images.label
    # torchmetrics' own edges, and its extra bin for a score of exactly 1
    edges = torch.linspace(0, 1, CALIBRATION_BINS + 1, dtype=torch.float64)
    bins = torch.bucketize(torch.from_numpy(score), edges, right=True).numpy() - 1
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
    auroc_per_patient, _ = _ranking(images.per_patient(), weights)
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
