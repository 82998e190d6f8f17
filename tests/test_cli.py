"""The commands: bad input is one line and exit code 2 with nothing written; good input is what the docs say."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer
import yaml

from fedmammo.cli import app, main
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


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["diagnosis.trian=head"], "diagnosis.trian: unknown key"),
        (["federation.rounds=many"], "federation.rounds"),
        (["arms=[elsewhere]"], "arms"),
        (["federation.rounds"], "--set federation.rounds: expected key=value"),
        (["cohort.path=${NOT_THERE}"], "cohort.path: the environment has no NOT_THERE"),
        (["hospitals.assignment={by: profiles, profiles: [moon_base]}"], "profile 'moon_base' is not known"),
        (["hospitals.assignment.count=900"], "hospitals.assignment"),
        (["cohort.path=nowhere"], "nowhere: not a prepared cohort"),
        (["diagnosis.network=swin_gigantic"], "diagnosis.network: timm knows no 'swin_gigantic'"),
        (["diagnosis.features=[99]"], "diagnosis.features: block 99"),
        (["diagnosis.weights=absent.safetensors"], "diagnosis.weights: absent.safetensors cannot be read"),
        (["evaluation.test=val"], "evaluation.test: the cohort has no split 'val'"),
        (["engine.name=ray", "engine.threads_per_hospital=900"], "engine.threads_per_hospital: 900"),
        (["engine.name=ray", "engine.address=127.0.0.1:1"], "engine.address: no Ray cluster answers"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    call: Call, study: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], expected: str
) -> None:
    out = study.parent / "out"
    options = [word for override in overrides for word in ("--set", override)]
    assert call("run", study, *options, "--out", out) == 2
    said = capsys.readouterr().err.strip()
    assert expected in said
    assert len(said.splitlines()) == 1
    assert "Traceback" not in said
    assert not out.exists()


def test_missing_files_are_one_line(call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ("run", tmp_path / "absent.yaml"),
        ("data", "show", tmp_path / "absent"),
        ("data", "prepare", tmp_path / "absent", tmp_path / "cohort"),
        ("sites", "show", tmp_path / "absent.yaml"),
        ("evaluate", tmp_path / "absent", "--cohort", tmp_path, "--split", "test"),
    ):
        assert call(*words) == 2
        said = capsys.readouterr().err.strip()
        assert "absent" in said
        assert len(said.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


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


def test_a_cohort_is_drawn_prepared_and_shown(call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("data", "phantom", tmp_path / "tree", "--patients", 6, "--seed", 3) == 0
    assert call("data", "prepare", tmp_path / "tree", tmp_path / "cohort") == 0
    assert call("data", "show", tmp_path / "cohort") == 0
    assert "0 rows in quarantine" in capsys.readouterr().out
    assert len(Cohort.open(tmp_path / "cohort").patients) == 6


def test_sites_are_shown(call: Call, study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("sites", "show", study) == 0
    shown = capsys.readouterr().out
    assert "who holds what: train" in shown
    assert "hospital-3" in shown


def test_every_command_has_help_with_an_example() -> None:
    commands = typer.main.get_command(app)
    leaves = [
        command for group in commands.commands.values() for command in getattr(group, "commands", {"": group}).values()
    ]  # type: ignore[attr-defined]
    assert len(leaves) == 7
    for command in leaves:
        assert command.help
        assert command.epilog
        assert command.epilog.startswith("Example: fedmammo "), command.name
