"""What the terminal shows; a capture is no terminal, so that progress shows what went wrong and nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedmammo.cohort.store import Cohort
from fedmammo.config.deployment import Deployment
from fedmammo.config.study import parse
from fedmammo.evaluation.tables import COMPARISONS, RESULTS
from fedmammo.federation.server import event_of
from fedmammo.federation.spread import FINISHED
from fedmammo.report import terminal


def test_a_table_shows_numbers_short_and_missing_ones_empty(capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.DataFrame({"a_name": ["x", None], "whole": [3.0, np.nan], "part": [0.12345, 12.0]})
    frame["count"] = pd.array([7, pd.NA], dtype="Int64")
    terminal.table(frame, "title")
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0] == ["title"]
    assert lines[1] == ["a", "name", "whole", "part", "count"]
    assert lines[3:] == [["x", "3", "0.123", "7"], ["12"]]


def test_names_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """Brackets and colons mean something to rich, unless it is told otherwise."""
    odd = "[red]a[/b] :smile:"
    terminal.table(pd.DataFrame({odd: [odd]}), odd)
    with terminal.working(odd) as report:
        report(odd)
    terminal.status.print(odd)
    out, err = capsys.readouterr()
    assert out.count(odd) == 3
    assert err == f"{odd}\n"


def test_a_cohort_says_what_is_in_quarantine(own_cohort: Cohort, capsys: pytest.CaptureFixture[str]) -> None:
    (own_cohort.folder / "quarantine.csv").write_text(
        "source,row,reason\na.csv,2,torn: x\na.csv,3,torn: y\nb.png,,odd\n"
    )
    terminal.cohort(Cohort.open(own_cohort.folder))
    shown = " ".join(capsys.readouterr().out.split())
    assert "torn 2 odd 1 3 rows in quarantine" in shown
    assert "patients 20 4 24" in shown


def test_hospitals_are_shown_split_by_split(
    phantom_cohort: Cohort, small_study: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.hospitals(phantom_cohort, parse(small_study, "small"))
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.index("who holds what: train") < shown.index("who holds what: test")
    assert "hospital-1 hospital-2 hospital-3" in shown
    assert "patients 7 7 6" in shown


def write_tables(folder: Path, results: list[dict[str, Any]], comparisons: list[dict[str, Any]]) -> None:
    pd.DataFrame(results, columns=RESULTS).to_csv(folder / "results.csv", index=False)
    pd.DataFrame(comparisons, columns=COMPARISONS).to_csv(folder / "comparisons.csv", index=False)


def test_arms_stand_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An estimate with its interval, one without, and none at all; other seeds and places are not shown."""
    whole = {"setting": "real", "seed": "all", "trained_at": "all", "tested_at": "all", "metric": "auroc"}
    write_tables(
        tmp_path,
        [
            {**whole, "arm": "centralized", "value": 0.8, "ci_low": 0.75, "ci_high": 0.8555},
            {**whole, "arm": "federated", "value": 0.7},
            {**whole, "arm": "local", "note": "no malignant image tested"},
            {**whole, "arm": "local", "seed": "0", "value": 0.111},
            {**whole, "arm": "local", "tested_at": "NA", "value": 0.222},
        ],
        [
            {"metric": "auroc", "arm": "federated", "against": "local", "setting": "real", "against_setting": "real",
             "tested_at": "NA", "difference": 0.1, "ci_low": -0.05, "ci_high": 0.25, "p": 0.0421},
            {"metric": "brier", "arm": "federated", "against": "local", "setting": "real", "against_setting": "real",
             "tested_at": "all", "difference": 0.333, "ci_low": 0.3, "ci_high": 0.4, "p": 0.5},
            {"metric": "auroc", "arm": "local", "against": "local", "setting": "pretrained", "against_setting": "real",
             "tested_at": "all", "difference": 0.2, "ci_low": 0.1, "ci_high": 0.3, "p": 0.001},
        ],
    )  # fmt: skip
    terminal.comparison(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    shown = " ".join(" ".join(lines).split())
    assert "metric centralized federated local" in shown
    assert "auroc 0.800 0.700 undefined (0.750, 0.856) no interval" in shown
    assert "tested at federated − local" in shown
    assert "NA +0.100 (-0.050, +0.250) p 0.042" in shown
    assert "pretrained − real: difference in AUROC" in shown
    assert "tested at local" in shown and "all +0.200 (+0.100, +0.300) p 0.001" in shown
    assert not any(hidden in shown for hidden in ("0.111", "0.222", "0.333", "guarantee"))
    assert lines[-1].startswith(f"{tmp_path}: results.csv")


def test_one_arm_has_nothing_to_be_compared_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = {"setting": "real", "seed": "all", "trained_at": "all", "tested_at": "all", "metric": "auroc"}
    write_tables(tmp_path, [{**whole, "arm": "local", "value": 0.5, "ci_low": 0.5, "ci_high": 0.5}], [])
    terminal.comparison(tmp_path)
    assert "difference" not in capsys.readouterr().out


def test_what_a_run_guarantees_is_said_unless_it_learned_from_patients_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = {"arm": "local", "seed": "all", "trained_at": "all", "tested_at": "all", "metric": "auroc"}
    scored = {**whole, "value": 0.5, "ci_low": 0.5, "ci_high": 0.5, "delta": 1e-4}
    real = {**scored, "setting": "real", "delta": None, "end_to_end": "none"}
    private = {**scored, "setting": "pretrained-epsilon-6", "epsilon": 5.99, "end_to_end": "none"}
    write_tables(tmp_path, [real], [])
    terminal.comparison(tmp_path)
    assert "privacy" not in capsys.readouterr().out
    write_tables(tmp_path, [real, private], [])
    terminal.comparison(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert ["local", "pretrained-epsilon-6", "5.990", "0.0001", "none"] in [line.split() for line in lines]


def test_progress_names_the_hospital_that_failed(
    small_study: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    config = parse(small_study, "small")
    one = config.deployment("federated", "real", seed=4)
    event = {"deployment": {"name": one.name, **one.place}, "stage": "train", "round": 2, "rounds": 5}
    with terminal.Progress(config) as progress:
        progress.update({**event, "hospitals": {"A": "ok", "B": "ok"}})
        progress.update({**event, "hospitals": {"A": "ok", "B": "failed: [Errno 28] full"}})
        progress.update({**event, "stage": "features", "rounds": 0, "hospitals": {"A": "ok"}})
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "federated · real · seed 4 · train 2: B failed: [Errno 28] full\n"


def test_progress_shows_each_deployment_at_work_until_it_is_finished(small_study: dict[str, Any]) -> None:
    config = parse(small_study, "small")
    first, other = config.deployment("federated", "real", seed=4), config.deployment("local", "real", seed=4)

    def event(of: Deployment, stage: str, number: int = 0, rounds: int = 0) -> dict[str, Any]:
        return event_of(of, stage) | {"round": number, "rounds": rounds, "hospitals": {"A": "ok"}}

    with terminal.Progress(config) as progress:
        progress.update(event(first, "train", 2, 5))
        progress.update(event(other, "train", 1, 5))
        progress.update(event(first, "train", 3, 5))
        shown = {task.description: (task.completed, task.total) for task in progress._bars.tasks}
        assert shown == {
            "study": (0, 3),
            "federated · real · seed 4 · train": (3, 5),
            "local · real · seed 4 · train": (1, 5),
        }
        progress.update(event(other, "score"))  # of how many rounds is not known
        progress.update(event(first, FINISHED))
        shown = {task.description: (task.completed, task.total) for task in progress._bars.tasks}
        assert shown == {"study": (1, 3), "local · real · seed 4 · score": (0, None)}
