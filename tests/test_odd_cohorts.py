"""Cohorts that a statistician would rather not have: a study on them ends, and says what could not be measured."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fedmammo import open_run
from fedmammo.cohort.store import Cohort, write_cohort
from fedmammo.config.study import parse
from fedmammo.report.summary import summary

RANKED = ["auroc", "auprc", "partial_auroc", "balanced_accuracy", "sensitivity_at_90_specificity"]
Choose = Callable[[pd.DataFrame], pd.DataFrame]


def benign(images: pd.DataFrame) -> pd.DataFrame:
    return images[~images["malignant"].groupby(images["patient"]).transform("any")]


def malignant(images: pd.DataFrame) -> pd.DataFrame:
    return images[images["malignant"]]


def first_patients(images: pd.DataFrame, split: str, count: int) -> pd.DataFrame:
    """Keep the first patients of a split, and all of the other."""
    first = images.loc[images["split"] == split, "patient"].unique()[:count]
    return images[(images["split"] != split) | images["patient"].isin(first)]


@pytest.fixture
def results(
    run_inline: Callable[..., Path],
    phantom_cohort: Cohort,
    small_study: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., pd.DataFrame]:
    """Run a study on some of the phantom patients; returns results.csv once its tables were printed."""

    def study(choose: Choose, **hospitals: Any) -> pd.DataFrame:
        chosen = choose(phantom_cohort.manifest)
        rows = chosen.assign(listed_in="", listed_row=None, at=chosen.index)
        facts = {"source": "", "notes": {}}
        write_cohort(tmp_path / "odd", rows, [], lambda row: phantom_cohort.patches[row["at"]], 128, lambda: facts)
        small_study["cohort"]["path"] = str(tmp_path / "odd")
        small_study["federation"] = {"rounds": 1, "local_steps": 1}
        small_study["hospitals"]["assignment"] = hospitals or {"by": "uniform", "count": 3}
        config = parse(small_study, "odd")
        summary(open_run(run_inline(config, tmp_path / "run")))
        assert "results.csv" in capsys.readouterr().out
        table = pd.read_csv(tmp_path / "run/results.csv", dtype={"seed": str})
        assert not (table["value"].isna() & table["note"].isna()).any(), "every empty value has a reason"
        return table

    return study


def values(table: pd.DataFrame, tested_at: str = "all") -> pd.Series:
    """The federated model's values by metric."""
    rows = table[(table["arm"] == "federated") & (table["seed"] == "all") & (table["tested_at"] == tested_at)]
    return rows[rows["unit"] == "lesion"].set_index("metric")["value"]


def test_nobody_is_malignant(results: Callable[..., pd.DataFrame]) -> None:
    table = results(benign)
    assert values(table)[RANKED].isna().all()
    assert 0 <= values(table)["brier"] <= 1
    assert set(table.loc[table["metric"] == "auroc", "note"]) == {"nobody malignant tested"}
    assert set(table["prevalence"]) == {0.0}


def test_nobody_is_benign(results: Callable[..., pd.DataFrame]) -> None:
    table = results(malignant)
    assert 0 <= values(table)["brier"] <= 1
    assert values(table)[RANKED].isna().all()
    assert set(table.loc[table["metric"] == "auroc", "note"]) == {"nobody benign tested"}


def test_one_patient_is_tested(results: Callable[..., pd.DataFrame]) -> None:
    table = results(lambda images: first_patients(images, "test", 1))
    assert set(table["patients"]) == {1}
    assert values(table)[["auroc", "calibration_slope"]].isna().all()
    whole = table[(table["seed"] == "all") & (table["metric"] == "brier")]
    assert whole["ci_low"].isna().all() and set(whole["note"]) == {"no interval: fewer than 10 patients of a class"}
    assert len(set(table["tested_at"])) == 2  # all, and the one hospital that has a patient to test


def test_every_hospital_has_one_patient_to_train_on(results: Callable[..., pd.DataFrame]) -> None:
    """Nobody is left to set thresholds."""
    table = results(lambda images: first_patients(images, "train", 3))
    assert values(table)[["balanced_accuracy", "sensitivity"]].isna().all()
    assert "no cut: too few benign in validation" in set(table.loc[table["metric"] == "specificity", "note"].dropna())
    assert values(table)[["auroc", "brier"]].notna().all()


def test_hospitals_of_one_class_beside_others(results: Callable[..., pd.DataFrame]) -> None:
    """Label skew so strong that a hospital holds one class; its metrics are empty, those of all are not."""
    table = results(lambda images: images, by="dirichlet", count=2, alpha=0.05)
    assert values(table)[["auroc", "brier"]].notna().all()
    one_class = set(table.loc[table["tested_at"] != "all"].query("prevalence in (0, 1)")["tested_at"])
    assert one_class
    assert all(values(table, hospital)[["auroc"]].isna().all() for hospital in one_class)
