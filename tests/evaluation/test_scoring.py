from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from fedmammo.config.arm import ALL
from fedmammo.evaluation.metrics import METRICS, choose_thresholds
from fedmammo.evaluation.predictions import Repeat, Series
from fedmammo.evaluation.scoring import Scores, score
from fedmammo.evaluation.statistics import draw_resamples, percentile_interval

Study = Callable[..., pd.DataFrame]
CENTRALIZED = Series("centralized", "real", ALL)


def auroc(table: pd.DataFrame, **chosen: object) -> float:
    """scikit-learn's AUROC of the test rows with these values."""
    rows = table[(table["split"] == "test") & np.all([table[key] == value for key, value in chosen.items()], axis=0)]
    return float(roc_auc_score(rows["label"], rows["score"]))


def scores_of(table: pd.DataFrame, resamples: int = 50) -> Scores:
    return score(table, test_split="test", resamples=resamples)


def test_folds_are_averaged_never_pooled(study: Study) -> None:
    table = study(folds=3, patients=54)
    found = scores_of(table).estimates[CENTRALIZED, ALL, "auroc"]
    for seed in (0, 1):
        by_fold = [auroc(table, arm="centralized", seed=seed, fold=fold) for fold in range(3)]
        assert found.repeats[Repeat(seed, 0)].value == pytest.approx(np.mean(by_fold), abs=1e-12)
        assert found.repeats[Repeat(seed, 0)].value != pytest.approx(
            auroc(table, arm="centralized", seed=seed), abs=1e-6
        )
    assert found.mean.value == pytest.approx(
        (found.repeats[Repeat(0, 0)].value + found.repeats[Repeat(1, 0)].value) / 2
    )


def test_the_local_summary_is_the_mean_over_models_never_pooled(study: Study) -> None:
    table = study()
    summary = scores_of(table).estimates[Series("local", "real", ALL), ALL, "auroc"]
    by_model = [auroc(table, arm="local", seed=1, trained_at=f"H{number}") for number in range(3)]
    assert summary.repeats[Repeat(1, 0)].value == pytest.approx(np.mean(by_model), abs=1e-12)
    assert summary.repeats[Repeat(1, 0)].value != pytest.approx(auroc(table, arm="local", seed=1), abs=1e-6)


@pytest.mark.parametrize("tested_at", [ALL, "H1"])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_resamples_by_hand(study: Study, tested_at: str) -> None:
    """Brier in resample r: weighted by the drawn patients in each fold, mean of folds, drawn mean of seeds.

    Patients are numbered by the lowest score that the first model gives to one of their images.
    """
    table = study(folds=2)
    draw = draw_resamples(patients=24, seeds=2, draws=1, resamples=20, seed=0)
    rows = table[(table["arm"] == "centralized") & (table["split"] == "test")]
    ranked = rows[rows["seed"] == 0].sort_values("score")["patient"]
    numbers = {name: number for number, name in enumerate(ranked.unique())}
    rows = rows.assign(error=(rows["score"] - rows["label"]) ** 2, one=1.0, number=rows["patient"].map(numbers))
    rows = rows[(rows["hospital"] == tested_at) | (tested_at == ALL)]
    expected = []
    for patients, seeds in zip(draw.patients, draw.repeats, strict=True):
        means = rows.groupby(["seed", "fold"]).apply(
            lambda cell, patients=patients: np.divide(*(patients[cell["number"]] @ cell[["error", "one"]]))
        )
        expected.append(
            np.average(means.groupby("seed").agg(lambda part: part.mean(skipna=False)), weights=seeds)
        )  # NaN where a fold drew nobody
    found = scores_of(table, resamples=20).estimates[CENTRALIZED, tested_at, "brier"]
    assert found.resampled == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert np.isfinite(expected).sum() > 10


def test_duplicated_images_add_nothing(study: Study) -> None:
    """Every patient's images twice: the same patients, so the same values and intervals."""
    table = study(images=1, patients=30)
    twice = pd.concat([table, table.assign(image=table["image"] + "-again")])
    once, doubled = scores_of(table).estimates, scores_of(twice).estimates
    for key in once:
        assert doubled[key].resampled == pytest.approx(once[key].resampled, abs=1e-12, nan_ok=True)
        assert doubled[key].mean.value == pytest.approx(once[key].mean.value, abs=1e-12, nan_ok=True)


def test_models_share_the_resamples_so_a_difference_is_paired(study: Study) -> None:
    """A second arm with nearly the first one's scores: the differences are far narrower than either interval."""
    table = study(arms=("centralized",), patients=60)
    rng = np.random.default_rng(0)
    like = table.assign(arm="federated", score=np.clip(table["score"] + rng.normal(0, 0.01, len(table)), 0, 1))
    found = scores_of(pd.concat([table, like]), resamples=500).estimates
    first, second = found[CENTRALIZED, ALL, "auroc"], found[Series("federated", "real", ALL), ALL, "auroc"]
    assert np.std(first.resampled - second.resampled) < 0.2 * np.std(first.resampled)


def test_order_of_rows_does_not_matter_and_seed_does(study: Study) -> None:
    table = study()
    first = scores_of(table).estimates
    shuffled = scores_of(table.sample(frac=1, random_state=1)).estimates
    assert first.keys() == shuffled.keys()
    for key in first:
        assert shuffled[key].resampled == pytest.approx(first[key].resampled, abs=1e-12, nan_ok=True)
    other = score(table, test_split="test", resamples=50, seed=1).estimates
    key = (CENTRALIZED, ALL, "brier")
    assert other[key].mean == first[key].mean
    assert not np.array_equal(other[key].resampled, first[key].resampled)


def test_pseudonyms_do_not_matter(study: Study) -> None:
    """A cohort that is prepared anew has other pseudonyms, in another order; every resample stays what it was."""
    table = study()
    renamed = table.assign(patient=table["patient"].map(lambda name: f"{name[::-1]}!"), image=table["image"].str[::-1])
    first, again = scores_of(table).estimates, scores_of(renamed).estimates
    for key in first:
        assert np.array_equal(again[key].resampled, first[key].resampled, equal_nan=True)


def test_validation_cuts_are_applied_to_the_test_scores(study: Study) -> None:
    table = study(seeds=1)
    rows = table[table["arm"] == "centralized"]
    validation, test = rows[rows["split"] == "validation"], rows[rows["split"] == "test"]
    cut = choose_thresholds(validation["label"].to_numpy(), validation["score"].to_numpy()).specificity.value
    found = scores_of(table).estimates
    sensitivity = (test["score"][test["label"] == 1] > cut).mean()
    specificity = (test["score"][test["label"] == 0] <= cut).mean()
    assert found[CENTRALIZED, ALL, "sensitivity_at_90_specificity"].mean.value == pytest.approx(sensitivity)
    assert found[CENTRALIZED, ALL, "specificity_achieved"].mean.value == pytest.approx(specificity)


def test_a_local_model_without_benign_validation_leaves_its_summary_undefined(study: Study) -> None:
    table = study()
    of_h1 = (table["trained_at"] == "H1") & (table["split"] == "validation") & (table["label"] == 0)
    found = scores_of(table[~of_h1]).estimates
    summary = found[Series("local", "real", ALL), ALL, "balanced_accuracy"]
    assert summary.mean.note == "H1: no benign image in validation"
    assert np.isnan(summary.resampled).all()
    assert not found[Series("local", "real", ALL), ALL, "auroc"].mean.note


def test_a_fold_without_a_hospital_is_named(study: Study) -> None:
    """H1 has no patient in fold 1, so its mean over folds is undefined; the others keep theirs."""
    table = study(folds=2, patients=48)
    gone = (table["hospital"] == "H1") & (table["fold"] == 1) & (table["split"] == "test")
    scores = scores_of(table[~gone])
    assert scores.estimates[CENTRALIZED, "H1", "brier"].mean.note == "fold 1: no patient tested"
    assert scores.tested["H1"].patients == 8
    assert all(not scores.estimates[CENTRALIZED, "H0", metric].mean.note for metric in METRICS)
    interval = percentile_interval(scores.estimates[CENTRALIZED, "H1", "brier"].resampled)
    assert np.isnan(interval.low)
