from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from fedmammo.config.arm import ALL
from fedmammo.config.evaluation import Unit
from fedmammo.evaluation.calibration import recalibration
from fedmammo.evaluation.metrics import Metric, metrics_of
from fedmammo.evaluation.predictions import Repeat, Series, arrange
from fedmammo.evaluation.scoring import READER, Place, Scores, mean_over_models
from fedmammo.evaluation.thresholds import choose_thresholds
from fedmammo.evaluation.variance import covariance_of

Study = Callable[..., pd.DataFrame]
CENTRALIZED = Series("centralized", "real", ALL)
METRICS = {(one.name, one.unit): one for one in metrics_of("lesion", 0.1)}


def metric(name: str, unit: Unit = "lesion") -> Metric:
    return METRICS[name, unit]


def scores_of(table: pd.DataFrame) -> Scores:
    return Scores(arrange(table, "test"))


def lesions(table: pd.DataFrame, **chosen: object) -> pd.DataFrame:
    """Test lesions with these values, the scores of their images averaged."""
    rows = table[(table["split"] == "test") & np.all([table[key] == value for key, value in chosen.items()], axis=0)]
    return rows.groupby(["lesion", "fold"], as_index=False).agg(score=("score", "mean"), label=("label", "max"))


def test_a_lesion_is_the_mean_of_its_images_and_folds_are_never_compared(study: Study) -> None:
    """Within folds: rightly ranked pairs over pairs. Pooled scores of two models would say something else."""
    table = study(folds=3, patients=54)
    found = scores_of(table).estimates(Place(), metric("auroc"), [CENTRALIZED])[CENTRALIZED]
    for seed in (0, 1):
        right = pairs = 0.0
        for fold in range(3):
            rows = lesions(table, arm="centralized", seed=seed, fold=fold)
            count = float((rows["label"] == 1).sum() * (rows["label"] == 0).sum())
            right, pairs = right + count * roc_auc_score(rows["label"], rows["score"]), pairs + count
        assert found.repeats[Repeat(seed, 0)].value == pytest.approx(right / pairs, abs=1e-12)
        pooled = lesions(table, arm="centralized", seed=seed)
        assert right / pairs != pytest.approx(roc_auc_score(pooled["label"], pooled["score"]), abs=1e-6)
    values = [found.repeats[Repeat(seed, 0)].value for seed in (0, 1)]
    assert found.mean.value == pytest.approx(np.mean(values), abs=1e-12)


def test_units(study: Study) -> None:
    """Of images the AUROC is that of all rows; a patient's two breasts are two units."""
    table = study(images=2, seeds=1, patients=30)
    second = table["image"].str.endswith("1")
    table.loc[second, "breast"] = table["patient"] + "-R"
    table.loc[second, "lesion"] = table["patient"] + "-R1"
    scores = scores_of(table)
    sizes = {unit: scores.who(Place(), unit).units for unit in ("image", "lesion", "breast", "patient")}
    assert sizes == {"image": 60, "lesion": 60, "breast": 60, "patient": 30}
    rows = table[(table["arm"] == "centralized") & (table["split"] == "test")]
    found = scores.estimates(Place(), metric("auroc", "image"), [CENTRALIZED])[CENTRALIZED].mean.value
    assert found == pytest.approx(roc_auc_score(rows["label"], rows["score"]), abs=1e-12)


def test_the_local_summary_is_the_mean_over_models_and_so_is_its_influence(study: Study) -> None:
    series = [Series("local", "real", f"H{number}") for number in range(3)]
    found = scores_of(study()).estimates(Place(), metric("auroc"), series)
    summary = mean_over_models([*found.values()])
    for repeat in (Repeat(0, 0), Repeat(1, 0)):
        expected = np.mean([one.repeats[repeat].value for one in found.values()])
        assert summary.repeats[repeat].value == pytest.approx(expected, abs=1e-12)
    assert summary.sample is not None
    parts = [one.sample.influence for one in found.values() if one.sample]
    assert np.allclose(summary.sample.influence, np.mean(parts, axis=0), atol=1e-15)


def test_duplicated_images_add_nothing(study: Study) -> None:
    """Every patient's images twice: the same lesions, so the same values, and the same variance over patients."""
    table = study(images=1, patients=30)
    twice = pd.concat([table, table.assign(image=table["image"] + "-again")])
    for name in ("auroc", "brier", "auprc", "calibration_slope"):
        for unit in ("lesion", "image") if name == "auroc" else ("lesion",):
            one, two = (
                scores_of(each).estimates(Place(), metric(name, unit), [CENTRALIZED])[CENTRALIZED]
                for each in (table, twice)
            )
            assert one.sample is not None and two.sample is not None
            assert two.mean.value == pytest.approx(one.mean.value, abs=1e-9)
            assert np.allclose(covariance_of(two.sample), covariance_of(one.sample), rtol=1e-6)


def test_pseudonyms_and_the_order_of_rows_do_not_matter(study: Study) -> None:
    """A cohort that is prepared anew has other pseudonyms, in another order; every bit stays what it was."""
    table = study()
    names = {"patient": table["patient"].map(lambda name: f"{name[::-1]}!")}
    names |= {unit: table[unit].str[::-1] for unit in ("breast", "lesion", "image")}
    first = scores_of(table)
    for other in (scores_of(table.assign(**names)), scores_of(table.sample(frac=1, random_state=1))):
        for one in METRICS.values():
            a, b = (each.estimates(Place(), one, [CENTRALIZED])[CENTRALIZED] for each in (first, other))
            assert a.repeats == b.repeats or str(a.repeats) == str(b.repeats)
            if a.sample and b.sample:
                assert np.array_equal(a.sample.influence, b.sample.influence, equal_nan=True)


def test_validation_cuts_are_applied_to_the_test_scores(study: Study) -> None:
    table = study(seeds=1, patients=60)
    test, validation = lesions(table, arm="centralized"), table[table["arm"] == "centralized"]
    validation = (
        validation[validation["split"] == "validation"].groupby("lesion").agg({"score": "mean", "label": "max"})
    )
    cut = choose_thresholds(validation["label"].to_numpy(), validation["score"].to_numpy()).specific
    scores = scores_of(table)
    found = {
        name: scores.estimates(Place(), metric(name), [CENTRALIZED])[CENTRALIZED].mean.value
        for name in ("sensitivity", "specificity")
    }
    assert found["sensitivity"] == pytest.approx((test["score"][test["label"] == 1] > cut).mean())
    assert found["specificity"] == pytest.approx((test["score"][test["label"] == 0] <= cut).mean())


def test_scores_are_recalibrated_by_the_patients_hospital(study: Study) -> None:
    """Brier of a model whose scores each hospital corrects by the line of its own validation lesions."""
    table = study(seeds=1, patients=72)
    rows = table[table["arm"] == "federated"]
    squares = []
    for _, own in rows.groupby("hospital"):
        of = {
            split: part.groupby("lesion").agg(score=("score", "mean"), label=("label", "max"))
            for split, part in own.groupby("split")
        }
        line = recalibration(of["validation"]["label"].to_numpy(), of["validation"]["score"].to_numpy())
        assert line is not None and line.slope != 1
        squares += [*(line.of(of["test"]["score"].to_numpy()) - of["test"]["label"]) ** 2]
    one = Series("federated", "real", ALL)
    found = scores_of(table).estimates(Place(), metric("brier_recalibrated"), [one])[one].mean.value
    assert found == pytest.approx(np.mean(squares), abs=1e-12)


def test_the_reader_is_a_series_where_assessments_are_known(study: Study) -> None:
    """An assessment that was not recorded leaves its lesion out of the reader's row alone."""
    table = study(seeds=1, patients=30)
    assert not scores_of(table).reader
    read = table.assign(assessment=np.where(table["label"] == 1, "4", "2"))
    read.loc[read["patient"] == "p0000", "assessment"] = ""
    scores = scores_of(read)
    assert scores.reader
    found = scores.estimates(Place(), metric("auroc"), [READER])[READER]
    assert found.mean.value == 1
    assert len(scores.tested(Place(), metric("auroc"), READER, Repeat(0, 0)).label) == 29


def test_why_a_number_is_undefined(study: Study) -> None:
    """H1 has no malignant test patient in either seed; in fold 1 nobody at all: its other fold is what is left."""
    table = study(folds=2, patients=48)
    gone = (table["hospital"] == "H1") & (table["fold"] == 1) & (table["split"] == "test")
    scores = scores_of(table[~gone])
    found = scores.estimates(Place("H1"), metric("brier"), [CENTRALIZED])[CENTRALIZED]
    assert not found.mean.note and scores.who(Place("H1"), "lesion").patients == 8
    benign = table["label"] == 0
    scores = scores_of(table[benign | (table["hospital"] != "H1") | (table["split"] != "test")])
    assert scores.estimates(Place("H1"), metric("auroc"), [CENTRALIZED])[CENTRALIZED].mean == (
        pytest.approx(np.nan, nan_ok=True),
        "nobody malignant tested",
    )
    few = table[(table["split"] == "test") | (table["seed"] == 1)]
    found = scores_of(few).estimates(Place(), metric("balanced_accuracy"), [CENTRALIZED])[CENTRALIZED]
    assert found.sample is None
    assert found.mean.note == "no cut: validation needs both classes in 1 of 2 repeats"


def test_a_hospital_that_cannot_recalibrate_leaves_scores_as_they_are(study: Study) -> None:
    table = study(seeds=1)
    scores, names = scores_of(table[table["split"] == "test"]), ("brier_recalibrated", "brier")
    one, same = (scores.estimates(Place(), metric(name), [CENTRALIZED])[CENTRALIZED].mean for name in names)
    assert one == same


def test_a_place_can_be_the_values_of_a_column(study: Study) -> None:
    table = study(seeds=1, patients=30).assign(
        density=lambda rows: (rows["patient"].str[-1].astype(int) % 2).astype(str)
    )
    scores = scores_of(table)
    odd = Place(ALL, "density", "1")
    assert scores.who(odd, "lesion").patients == 15
    rows = lesions(table, arm="centralized", density="1")
    found = scores.estimates(odd, metric("auroc"), [CENTRALIZED])[CENTRALIZED].mean.value
    assert found == pytest.approx(roc_auc_score(rows["label"], rows["score"]), abs=1e-12)
