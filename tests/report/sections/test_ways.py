"""The section on other ways to join, on comparisons that are written here by hand."""

from pathlib import Path
from typing import Any

import pandas as pd

from fedmammo.evaluation.tables import COMPARISONS
from fedmammo.report.outline import Part
from fedmammo.report.run_page import run_page
from fedmammo.report.sections import ways
from fedmammo.run.results import Run
from tests.report.made_up import made_up
from tests.report.walk import strange_numbers, walk, wrong_cells


def row(arm: str, against: str, place: str, **more: Any) -> dict[str, Any]:
    about = {"role": "secondary", "metric": "auroc", "unit": "lesion", "better": "higher"}
    about |= {"setting": "real", "against_setting": "real", "repeats": 1, "patients": 50, "positives": 20}
    limits = {"difference": 0.0125, "ci_low": -0.0125, "ci_high": 0.0375}
    return about | {"arm": arm, "against": against, "tested_at": place} | limits | more


def test_each_question_has_its_pairs(tmp_path: Path) -> None:
    """Pairs that answer none of them, the reader's and those of other settings are left to other sections."""
    study = made_up(tmp_path)
    rows = [
        row(arm, against, place)
        for place in ("all", "hospital_1")
        for arm, against in (
            ("federated", "local"), ("federated", "without_one"), ("personalized-Ditto", "federated"),
            ("federated-FedProx", "federated"), ("scheduled", "federated"), ("ensemble", "reader"),
        )
    ]  # fmt: skip
    rows.append(row("ensemble", "local", "all", setting="other", against_setting="other"))
    pd.DataFrame(rows).reindex(columns=COMPARISONS).to_csv(tmp_path / "comparisons.csv", index=False)
    run = Run(tmp_path, study)
    parts = [block for block in ways.blocks(run) if isinstance(block, Part)]
    assert [part.title for part in parts] == [
        "If one stays away", "A model of one's own", "Late, away, or slow", "Strategies and other variants",
    ]  # fmt: skip
    page = walk(run_page(run))
    assert not wrong_cells(page, tmp_path) and not strange_numbers(page, tmp_path)


def test_three_arms_have_no_other_ways(tmp_path: Path) -> None:
    assert ways.blocks(Run(tmp_path, made_up(tmp_path))) == []
