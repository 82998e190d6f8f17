"""What the terminal shows; a capture is no terminal, so that progress shows what went wrong and nothing else."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedmammo.cohort.store import Cohort
from fedmammo.config.deployment import Deployment
from fedmammo.config.study import parse
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
