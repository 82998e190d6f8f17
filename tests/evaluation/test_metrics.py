import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    recall_score,
    roc_auc_score,
)

from fedmammo.evaluation import metrics
from fedmammo.evaluation.metrics import (
    METRICS,
    Scored,
    Thresholds,
    Value,
    average,
    choose_thresholds,
    point_metrics,
    weighted_metrics,
)

from torchmetrics.functional.classification import binary_calibration_error  # isort: skip  (after the guard)

HALF = Thresholds(Value(0.5), Value(0.3))


def scored(label: list[int], score: list[float], patient: list[int]) -> Scored:
    return Scored(np.array(label), np.array(score, dtype=float), np.array(patient))


@st.composite
def scored_patients(draw: st.DrawFn) -> tuple[Scored, np.ndarray]:
    """Up to 8 patients with 1 to 3 images, scores with many ties and both ends, and integer weights."""
    images = draw(st.lists(st.integers(1, 3), min_size=1, max_size=8))
    patient = np.repeat(np.arange(len(images)), images)
    score = st.one_of(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 1.0]), st.floats(0, 1))
    label = draw(st.lists(st.integers(0, 1), min_size=len(patient), max_size=len(patient)))
    scores = draw(st.lists(score, min_size=len(patient), max_size=len(patient)))
    weights = draw(
        st.lists(st.lists(st.integers(0, 3), min_size=len(images), max_size=len(images)), min_size=1, max_size=3)
    )
    return scored(label, scores, list(patient)), np.array(weights, dtype=float)


def replicate(images: Scored, weights: np.ndarray) -> Scored:
    """The data that integer weights stand for: every copy of a patient is a patient of its own."""
    copies = [(patient, copy) for patient, weight in enumerate(weights) for copy in range(int(weight))]
    rows = [np.flatnonzero(images.patient == patient) for patient, _ in copies]
    picked = np.concatenate(rows) if rows else np.array([], dtype=int)
    owner = np.repeat(np.arange(len(copies)), [len(one) for one in rows])
    return Scored(images.label[picked], images.score[picked], owner)


def libraries(images: Scored) -> dict[str, float]:
    """The metrics as scikit-learn and torchmetrics compute them, at the thresholds of HALF; both classes are there."""
    label, score, patients = images.label, images.score, images.per_patient()
    error = binary_calibration_error(torch.from_numpy(score), torch.from_numpy(label), n_bins=10, norm="l1")
    return {
        "auroc": roc_auc_score(label, score),
        "auprc": average_precision_score(label, score),
        "auroc_per_patient": roc_auc_score(patients.label, patients.score) if 0 < patients.label.mean() < 1 else np.nan,
        "balanced_accuracy": balanced_accuracy_score(label, score > HALF.balanced.value),
        "sensitivity_at_90_specificity": recall_score(label, score > HALF.specificity.value),
        "specificity_achieved": recall_score(label, score > HALF.specificity.value, pos_label=0),
        "brier": brier_score_loss(label, score, pos_label=1),
        "calibration_error": float(error),
    }


def test_four_images_by_hand() -> None:
    """Patient 0: benign .1 and .4; patient 1: malignant .35 and .8.

    Pairs: (.35 > .1), (.35 < .4), (.8 > .1), (.8 > .4): AUROC 3/4. Precision at each find: 1/1, 2/3: mean 5/6.
    Patient maxima .4 < .8: AUROC 1. Over .5 only .8: (1/2 + 2/2) / 2. Over .3: both malignant, .1 cleared: 1, 1/2.
    Brier (.01 + .16 + .4225 + .04) / 4. Each image has a bin of its own: (.1 + .4 + .65 + .2) / 4.
    """
    images = scored([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    expected = [3 / 4, 5 / 6, 1, 3 / 4, 1, 1 / 2, 0.158125, 0.3375]
    found = point_metrics(images, HALF)
    assert list(found) == list(METRICS)
    assert [value.value for value in found.values()] == pytest.approx(expected, abs=1e-12)
    assert all(not value.note for value in found.values())


def test_weights_by_hand() -> None:
    """One image a patient: benign .2 (weight 3), benign .6 (1), malignant .6 (2), malignant .4 (1).

    12 weighted pairs: malignant .6 beats .2 in 2 x 3, ties .6 in 2 x 1 (counts 1); malignant .4 beats .2 in 1 x 3,
    loses to .6: AUROC (6 + 1 + 3) / 12. Precision: at .6 it is 2/3 for 2 of 3 malignant, at .4 3/4 for 1 of 3.
    Over .5: found 2 of 3, cleared 3 of 4.
    """
    images = scored([0, 0, 1, 1], [0.2, 0.6, 0.6, 0.4], [0, 1, 2, 3])
    found = weighted_metrics(images, HALF, np.array([[3.0, 1.0, 2.0, 1.0]]))
    assert found["auroc"] == pytest.approx([10 / 12], abs=1e-12)
    assert found["auprc"] == pytest.approx([2 / 3 * 2 / 3 + 3 / 4 * 1 / 3], abs=1e-12)
    assert found["balanced_accuracy"] == pytest.approx([(2 / 3 + 3 / 4) / 2], abs=1e-12)


@settings(max_examples=80, deadline=None)
@given(scored_patients())
def test_weights_equal_the_libraries_on_replicated_patients(drawn: tuple[Scored, np.ndarray]) -> None:
    images, weights = drawn
    weighted = weighted_metrics(images, HALF, weights)
    for row, one in enumerate(weights):
        copies = replicate(images, one)
        points, both = point_metrics(copies, HALF), len(copies.label) and 0 < copies.label.mean() < 1
        expected = libraries(copies) if both else {metric: value.value for metric, value in points.items()}
        for metric in METRICS:
            assert points[metric].value == pytest.approx(expected[metric], abs=1e-12, nan_ok=True)
            assert weighted[metric][row] == pytest.approx(expected[metric], abs=1e-12, nan_ok=True)
            assert np.isnan(points[metric].value) == bool(points[metric].note)


def test_many_images_equal_the_libraries() -> None:
    rng = np.random.default_rng(1)
    images = Scored(np.tile([0, 1, 0], 100), np.round(rng.random(300), 2), np.repeat(np.arange(100), 3))
    expected = libraries(images)
    for metric, value in point_metrics(images, HALF).items():
        assert value.value == pytest.approx(expected[metric], abs=1e-12, nan_ok=True), metric


def test_chunks_of_resamples_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    images = Scored(rng.integers(0, 2, 40), rng.random(40), np.repeat(np.arange(20), 2))
    weights = rng.multinomial(20, np.full(20, 1 / 20), size=33).astype(float)
    whole = weighted_metrics(images, HALF, weights)
    monkeypatch.setattr(metrics, "_ELEMENTS_AT_ONCE", 100)  # two resamples at once
    chunked = weighted_metrics(images, HALF, weights)
    for metric in METRICS:
        assert np.array_equal(whole[metric], chunked[metric], equal_nan=True)


def test_specificity_threshold_is_the_smallest_that_clears_nine_of_ten_benign_images() -> None:
    """10 benign .00 ... .09: nine lie at or below .08. 11 benign .00 ... .10: .9 x 11 = 9.9, so ten, up to .09."""
    for benign, expected in ((10, 0.08), (11, 0.09)):
        score = np.append(np.arange(benign) / 100, [0.5])
        label = np.append(np.zeros(benign, dtype=int), 1)
        cut = choose_thresholds(label, score).specificity.value
        assert cut == pytest.approx(expected)
        assert (score[label == 0] <= cut).mean() >= 0.9
        assert (score[label == 0] <= np.nextafter(cut, 0)).mean() < 0.9


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])), min_size=2, max_size=20))
def test_balanced_threshold_is_the_best_and_the_smallest_of_the_best(pairs: list[tuple[int, float]]) -> None:
    label, score = np.array([one[0] for one in pairs]), np.array([one[1] for one in pairs])
    if label.min() == label.max():
        return
    cut = choose_thresholds(label, score).balanced.value

    def doubled_youden(threshold: float) -> int:
        called = score > threshold
        found, cleared = (called & (label == 1)).sum(), (~called & (label == 0)).sum()
        return int(found * (label == 0).sum() + cleared * (label == 1).sum())

    everything = {threshold: doubled_youden(threshold) for threshold in score}
    assert everything[cut] == max(everything.values())
    assert cut == min(one for one, value in everything.items() if value == everything[cut])


@pytest.mark.parametrize(
    ("label", "balanced", "specificity"),
    [
        ([], "no patient in validation", "no patient in validation"),
        ([1, 1], "no benign image in validation", "no benign image in validation"),
        ([0, 0], "no malignant image in validation", ""),
    ],
)
def test_thresholds_that_validation_cannot_give(label: list[int], balanced: str, specificity: str) -> None:
    cuts = choose_thresholds(np.array(label, dtype=int), np.linspace(0.2, 0.4, len(label)))
    assert (cuts.balanced.note, cuts.specificity.note) == (balanced, specificity)
    images = scored([0, 1], [0.2, 0.9], [0, 1])
    points, weighted = point_metrics(images, cuts), weighted_metrics(images, cuts, np.ones((3, 2)))
    assert points["balanced_accuracy"].note == balanced
    assert points["sensitivity_at_90_specificity"].note == points["specificity_achieved"].note == specificity
    for metric in METRICS:
        assert np.isnan(weighted[metric]).all() == bool(points[metric].note)
    assert points["auroc"].value == 1


@pytest.mark.parametrize(("only", "missing"), [(0, "malignant"), (1, "benign")])
def test_one_class_leaves_what_is_defined(only: int, missing: str) -> None:
    images = scored([only, only, only], [0.2, 0.4, 0.9], [0, 0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the libraries would warn of an undefined metric: they must not be asked
        points = point_metrics(images, HALF)
    defined = {"brier", "calibration_error"}
    defined.add("specificity_achieved" if only == 0 else "sensitivity_at_90_specificity")
    assert {metric for metric in METRICS if not points[metric].note} == defined
    assert points["auroc"].note == f"no {missing} image tested"
    assert points["auroc_per_patient"].note == f"no {missing} patient tested"
    weighted = weighted_metrics(images, HALF, np.ones((2, 2)))
    assert {metric for metric in METRICS if not np.isnan(weighted[metric]).any()} == defined


def test_nobody_tested() -> None:
    nobody = Scored(np.array([], dtype=np.int64), np.array([]), np.array([], dtype=np.int64))
    assert {value.note for value in point_metrics(nobody, HALF).values()} == {"no patient tested"}
    weighted = weighted_metrics(nobody, HALF, np.ones((4, 0)))
    assert all(np.isnan(values).all() and values.shape == (4,) for values in weighted.values())


def test_a_patient_is_malignant_with_any_malignant_image_and_scores_its_maximum() -> None:
    patients = scored([0, 1, 0, 0], [0.9, 0.2, 0.3, 0.1], [0, 0, 1, 1]).per_patient()
    assert patients.label.tolist() == [1, 0]
    assert patients.score.tolist() == [0.9, 0.3]


def test_average_names_the_parts_that_are_undefined() -> None:
    assert average({"a": Value(1.0), "b": Value(2.0)}) == Value(1.5)
    assert average({"a": Value(1.0), "b": Value(np.nan, "why")}).note == "b: why"
    assert average({"a": Value(np.nan, "why"), "b": Value(np.nan, "why")}).note == "why"
    assert average({"a": Value(np.nan, "x"), "b": Value(np.nan, "y")}).note == "a: x; b: y"
