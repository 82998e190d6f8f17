"""The screen of a study: its tables are made by the evaluation itself, of made-up predictions."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedmammo.config.study import parse
from fedmammo.evaluation.evaluate import evaluate
from fedmammo.report.summary import summary
from fedmammo.run.results import Run

SETTINGS = ("real", "real-epsilon-6", "real-as-epsilon-6")


def predictions(seeds: int) -> pd.DataFrame:
    """40 patients at A and 12 at B; scores of two arms in three settings."""
    rng = np.random.default_rng(0)
    rows = []
    for arm, setting in ((arm, setting) for arm in ("local", "federated") for setting in SETTINGS):
        for seed in range(seeds):
            for trained_at in ("A", "B") if arm == "local" else ("all",):
                for number in range(52):
                    label, hospital = number % 2, "A" if number < 40 else "B"
                    score = 1 / (1 + np.exp(-rng.normal(label * (1.5 if arm == "federated" else 0.5))))
                    names = {unit: f"{unit}{number}" for unit in ("patient", "breast", "lesion", "image")}
                    place = {"arm": arm, "setting": setting, "seed": seed, "draw": 0, "fold": 0}
                    tested = {"trained_at": trained_at, "split": "test", "hospital": hospital, "label": label}
                    rows.append({**place, **tested, "score": score, **names})
    return pd.DataFrame(rows)


def run_of(small_study: dict[str, Any], folder: Path, seeds: int = 1) -> Run:
    """A run's folder with its tables, of which a budget's rows say what was spent."""
    small_study |= {"settings": {name: {} for name in SETTINGS}, "arms": ["local", "federated"]}
    study = parse(small_study, "small")
    found = evaluate(predictions(seeds), "test", study.evaluation)
    private = found.results["setting"] == "real-epsilon-6"
    found.results.loc[private, ["epsilon", "delta", "end_to_end"]] = [5.99, 1e-4, "patient"]
    for field in fields(found):
        getattr(found, field.name).to_csv(folder / f"{field.name}.csv", index=False)
    return Run(folder, study)


@pytest.fixture
def shown(small_study: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    summary(run_of(small_study, tmp_path))
    return capsys.readouterr().out


def test_verdicts_come_first_and_name_the_estimand(shown: str) -> None:
    text = " ".join(shown.split())
    assert text.startswith(
        "federated against local, setting real: auroc per lesion, margin 0.05; 95 % intervals over patients tested; "
        "fixed: patients learned from and who set cuts, seed, hospitals' patients all hospitals: "
    )
    assert "B: not assessable (12 patients, 6 with a malignant lesion): fewer than 10 patients of a class." in text
    assert text.index("all hospitals: ") < text.index("A: ") < text.index("B: ") < text.index("all test patients")


def test_one_short_table_and_where_the_rest_lies(shown: str, tmp_path: Path) -> None:
    """A row for each arm and setting, with patients and positives; local is labelled as a mean."""
    rows = [line.split() for line in shown.splitlines() if "52 (26)" in line]
    assert [row[0] for row in rows] == [setting for setting in SETTINGS for _ in range(2)]
    assert sum("(mean)" in row for row in rows) == 3
    assert all(name in shown for name in ("verdicts.csv", "comparisons.csv", "subgroups.csv", str(tmp_path)))
    assert len(shown.splitlines()) <= 40 and max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("seeds", [9, 10])
def test_what_a_budget_costs_is_known_from_ten_draws_of_noise_on(
    small_study: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], seeds: int
) -> None:
    run = run_of(small_study, tmp_path, seeds)
    summary(run)
    text = " ".join(capsys.readouterr().out.split())
    assert "real-epsilon-6: epsilon 5.99 at delta 0.0001, covers patient; costs " in text
    if seeds < 10:
        assert "costs not known: draws of its noise: 9, 10 are needed" in text
        return
    rows = run.comparisons.query("setting == 'real-epsilon-6' and against_setting == 'real-as-epsilon-6'")
    row = rows.query("arm == 'federated' and metric == 'auroc' and unit == 'lesion' and tested_at == 'all'").iloc[0]
    assert f"costs {-row['difference']:.3f} ({-row['ci_high']:.3f} to {-row['ci_low']:.3f}) federated" in text
