"""What the terminal says beyond a study's one question, on tables that are written here by hand."""

from pathlib import Path

import pandas as pd
import pytest

from fedmammo.evaluation.heterogeneity import HETEROGENEITY
from fedmammo.evaluation.learning import LEARNING_CURVE
from fedmammo.evaluation.tables import COMPARISONS
from fedmammo.evaluation.value import VALUES
from fedmammo.report import answers
from fedmammo.run.results import Run
from tests.report.made_up import made_up

ABOUT = {"metric": "auroc", "unit": "lesion", "setting": "real", "patients": 50, "positives": 20, "repeats": 1}
PAIR = {"arm": "federated", "against": "without_one", "against_setting": "real"}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Of a study that has one arm more than three."""
    study = made_up(tmp_path)
    tables = {
        "comparisons": (
            COMPARISONS,
            [{**PAIR, "tested_at": "all", "difference": 0.01, "ci_low": -0.02, "ci_high": 0.04}],
        ),
        "heterogeneity": (
            HETEROGENEITY,
            [
                {**PAIR, "what": "mean", "estimate": 0.03, "ci_low": 0.01, "ci_high": 0.05},
                {**PAIR, "what": "new hospital", "estimate": 0.03, "ci_low": -0.06, "ci_high": 0.12},
            ],
        ),
        "values": (
            VALUES,
            [
                {"what": "shapley", "hospital": "A", "tested_at": "all", "value": 0.2, "ci_low": 0.1, "ci_high": 0.3},
                {"what": "last-in", "hospital": "A", "tested_at": "all", "note": "no interval"},
                {"what": "shapley", "hospital": "A", "tested_at": "B", "value": 0.9},
            ],
        ),
        "learning_curve": (
            LEARNING_CURVE,
            [
                {"by": "hospitals", "what": "seen", "size": 5, "value": 0.8, "ci_low": 0.7, "ci_high": 0.9},
                {"by": "hospitals", "what": "extrapolated", "size": 10, "value": 0.82, "ci_low": 0.7, "ci_high": 0.9},
                {"by": "patients, local", "what": "seen", "size": 62, "value": 0.6},
                {"by": "patients, local", "what": "extrapolated", "size": 124, "note": "no extrapolation: why"},
            ],
        ),
    }  # fmt: skip
    for name, (columns, rows) in tables.items():
        frame = pd.DataFrame([ABOUT | row for row in rows]).reindex(columns=columns)
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    more = study.model_copy(update={"arms": {**study.arms, "without_one": {}}})
    return Run(tmp_path, more)


def test_differences_at_hospitals_stand_beside_those_of_all_patients(run: Run) -> None:
    (row,) = answers.differences(run).to_dict("records")
    assert row == {
        "arm": "federated",
        "minus": "without_one",
        "all patients": "+.010 (-.020, +.040)",
        "mean over hospitals": "+.030 (+.010, +.050)",
        "a new hospital": "-.060 to +.120",
    }


def test_worth_is_told_of_all_patients(run: Run) -> None:
    (row,) = answers.worth(run).to_dict("records")
    assert row == {"hospital": "A", "in any order (Shapley)": "+.200 (+.100, +.300)", "joining last": "not told"}


def test_curves_say_why_they_end(run: Run) -> None:
    assert answers.curves(run) == [
        "5 hospitals: .800 (.700, .900); 10 would give .820 (.700, .900)",
        "62 patients (local): .600; no extrapolation: why",
    ]


def test_three_arms_need_no_more_words(run: Run, tmp_path: Path) -> None:
    plain = Run(tmp_path, run.study.model_copy(update={"arms": {"local": {}, "federated": {}}}))
    assert answers.differences(plain).empty and answers.worth(plain).empty
