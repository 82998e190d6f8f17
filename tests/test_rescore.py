"""What a run leaves behind, and its models scored again."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from fedmammo.cli import main
from fedmammo.cohort.store import Cohort

Call = Callable[..., int]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Call:
    """Call the command line in this process; returns the exit code."""

    def command(*words: object) -> int:
        monkeypatch.setattr(sys, "argv", ["fedmammo", *map(str, words)])
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    return command


@pytest.fixture
def study(phantom_study: dict[str, Any], tmp_path: Path) -> Path:
    """A quick study: only a head is trained, on the inline grid."""
    phantom_study["diagnosis"]["train"] = "head"
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(phantom_study))
    return path


def test_a_run_leaves_what_the_docs_say_and_is_scored_elsewhere(
    call: Call, study: Path, phantom_cohort: Cohort, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scored on its own cohort and split, a run gives its own results again, to the last byte."""
    out = study.parent / "out"
    assert call("run", study, "--out", out) == 0
    first = capsys.readouterr().out
    assert "auroc" in first
    assert {path.name for path in out.iterdir()} == {
        ".lock", "config.yaml", "results.csv", "comparisons.csv", "predictions.csv", "rounds.csv", "timings.csv",
        "run.log", "models", "cells", "hospitals",
    }  # fmt: skip
    predictions = pd.read_csv(out / "predictions.csv")
    assert not set(predictions["patient"]) & set(phantom_cohort.manifest["patient"])
    assert len(list((out / "models").iterdir())) == 5
    models = {path.name: path.read_bytes() for path in (out / "models").iterdir()}

    assert call("run", study, "--out", out) == 0
    assert capsys.readouterr().out == first
    assert {path.name: path.read_bytes() for path in (out / "models").iterdir()} == models

    assert call("evaluate", out, "--cohort", phantom_cohort.folder, "--split", "test") == 0
    assert capsys.readouterr().out == (out / "results.csv").read_text()

    assert call("evaluate", out, "--cohort", phantom_cohort.folder, "--split", "val") == 2
    assert "--split val: " in capsys.readouterr().err
    assert call("run", study, "--set", "federation.rounds=3", "--out", out) == 2
    assert "holds a run of another study (federation differ)" in capsys.readouterr().err.replace("\n", " ")
