"""Sections on hospitals' differences, their worth, and learning curves, on tables that are written here by hand."""

import re
from html import unescape
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fedmammo.evaluation.heterogeneity import DOUBLING, HETEROGENEITY
from fedmammo.evaluation.learning import LEARNING_CURVE
from fedmammo.evaluation.value import VALUES
from fedmammo.report.chapter import Chapter
from fedmammo.report.run_page import run_page, sections_of
from fedmammo.report.sections import heterogeneity, learning, value
from fedmammo.run.results import Run
from tests.report.made_up import made_up
from tests.report.walk import strange_numbers, walk, wrong_cells

COUNTS = {"patients": 50, "positives": 20, "repeats": 1, "metric": "auroc", "unit": "lesion", "setting": "real"}
Rows = list[dict[str, Any]]


def limits(middle: float, away: float, key: str = "estimate") -> dict[str, float]:
    return {key: middle, "ci_low": middle - away, "ci_high": middle + away}


def differences() -> Rows:
    about = {"arm": "federated", "against": "local", "against_setting": "real"}
    rows: Rows = [
        {"what": "hospital", "about": "hospital_1", "weight": 0.625, **limits(0.0125, 0.0375)},
        {"what": "hospital", "about": "hospital_2", "weight": 0.375, **limits(0.0625, 0.0875)},
        {"what": "hospital", "about": "hospital_3", "note": "fewer than 10 patients of a class"},
        {"what": "mean", "about": "mean", "tau": 0.0211, "i2": 0.7135, "q": 8.25, "hospitals": 4, "left_out": 1,
         **limits(0.035, 0.012)},
        {"what": "new hospital", "about": "a new hospital", "tau": 0.0211, **limits(0.035, 0.092)},
        {"what": "slope", "about": DOUBLING, **limits(-0.015, 0.042)},
    ]  # fmt: skip
    return [COUNTS | about | row for row in rows]


def worths() -> Rows:
    values = [("shapley", 0.12, "hospital_2"), ("shapley", 0.02, ""), ("last-in", -0.05, ""), ("last-in", 0.0, "")]
    rows = [
        {"what": what, "hospital": f"hospital_{1 + number % 2}", "tested_at": "all", "above": above}
        | limits(middle, 0.03, "value")
        for number, (what, middle, above) in enumerate(values)
    ]
    return [COUNTS | row for row in rows]


def curve() -> Rows:
    seen = [
        {"what": "seen", "size": size, "models": 1, **limits(0.7 + 0.02 * size, 0.03, "value")} for size in (1, 2, 3, 4)
    ]
    law = {"limit": 0.8, "loss": 0.1, "rate": 0.75}
    fitted = [{"what": "fitted", "size": size, **law, **limits(0.7 + 0.02 * size, 0.03, "value")} for size in (1, 4)]
    beyond = [{"what": "extrapolated", "size": 8, **law, **limits(0.7975, 0.0425, "value")}]
    return [COUNTS | {"by": "hospitals"} | row for row in (*seen, *fitted, *beyond)]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    study = made_up(tmp_path)
    for name, columns, rows in (
        ("heterogeneity", HETEROGENEITY, differences()),
        ("values", VALUES, worths()),
        ("learning_curve", LEARNING_CURVE, curve()),
    ):
        pd.DataFrame(rows).reindex(columns=columns).round(6).to_csv(tmp_path / f"{name}.csv", index=False)
    return Run(tmp_path, study)


def said(run: Run, chapter: Chapter) -> str:
    section = next(one for one in sections_of(run) if one.name == chapter.name)
    return " ".join(unescape(re.sub("<[^>]+>", "", str(section.html()))).replace("\N{NO-BREAK SPACE}", " ").split())


def changed(run: Run, name: str, rows: Rows, columns: list[str]) -> Run:
    pd.DataFrame(rows).reindex(columns=columns).to_csv(run.folder / f"{name}.csv", index=False)
    return Run(run.folder, run.study)


def test_every_number_is_a_cell(run: Run) -> None:
    found = walk(run_page(run))
    assert wrong_cells(found, run.folder) == [] and strange_numbers(found, run.folder) == set()
    names = [section.name for section in sections_of(run)]
    assert {"heterogeneity", "value", "learning"} <= set(names)


def test_without_tables_they_are_silent(tmp_path: Path) -> None:
    names = [section.name for section in sections_of(Run(tmp_path, made_up(tmp_path)))]
    assert not {"heterogeneity", "value", "learning"} & set(names)


def test_hospitals_differences_in_words(run: Run) -> None:
    text = said(run, heterogeneity.CHAPTER)
    assert "Federated minus local: on average over 4 hospitals 0.035 (0.023 to 0.047)" in text
    assert (
        "standard deviation between them, as estimated: 0.021 (I² 0.714); at a new hospital between −0.057 and 0.127."
        in text
    )
    assert f"By {DOUBLING}: −0.015 (−0.057 to 0.027), not shown to matter." in text


def test_a_mean_that_is_not_known(run: Run) -> None:
    why = "no interval: fewer than 3 hospitals"
    rows = [row for row in differences() if row["what"] == "hospital"]
    rows.append(COUNTS | {**rows[0], "what": "mean", "about": "mean", "estimate": None, "note": why})
    text = said(changed(run, "heterogeneity", rows, HETEROGENEITY), heterogeneity.CHAPTER)
    assert f"Federated minus local: {why}." in text


def test_worth_in_words(run: Run) -> None:
    text = said(run, value.CHAPTER)
    assert (
        "In any order of joining, the metric on all patients rises with hospital_1 0.120 (0.090 to 0.150); of" in text
    )
    assert "of the others neither was shown. hospital_1 stands above hospital_2." in text
    assert (
        "Joining last, the metric on all patients falls with hospital_1 −0.050 (−0.080 to −0.020); of the others"
        in text
    )


def test_a_curve_in_words(run: Run) -> None:
    text = said(run, learning.CHAPTER)
    assert "By hospitals: with 4 hospitals 0.780 (0.750 to 0.810); with 8 it would be 0.797 (0.755 to 0.840)." in text


def test_a_curve_that_is_not_told(run: Run) -> None:
    why = "no extrapolation: fewer than 4 sizes"
    rows = [*curve()[:3], COUNTS | {"by": "hospitals", "what": "extrapolated", "size": 6, "note": why}]
    assert f"with 3 hospitals 0.760 (0.730 to 0.790); {why}." in said(
        changed(run, "learning_curve", rows, LEARNING_CURVE), learning.CHAPTER
    )
