"""A run's models scored again: its own bytes on its own cohort, and a refusal of all that cannot be scored."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fedmammo.cohort.store import Cohort, write_cohort
from fedmammo.commands.evaluate import rescore
from fedmammo.config.study import parse
from fedmammo.errors import InputError

Run = Callable[..., Path]


def again(run: Path, cohort: Path, split: str = "test") -> pd.DataFrame:
    return rescore(run, cohort, split, lambda _: None)


@pytest.fixture(scope="module")
def finished(
    new_study: Callable[[], dict[str, Any]],
    run_inline: Run,
    phantom_cohort: Cohort,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A run with ten hospitals (`hospital-10` sorts before `hospital-2`), two seeds, and an arm that differs."""
    study = new_study() | {
        "cohort": {"path": str(phantom_cohort.folder)},
        "hospitals": {"assignment": {"by": "uniform", "count": 10}},
        "federation": {"rounds": 1, "local_steps": 2},
        "arms": {"local": {}, "federated": {"diagnosis.augmentation.flips": "none"}},
        "seeds": [1, 10],
    }
    return run_inline(parse(study, "small"), tmp_path_factory.mktemp("rescore") / "run")


@pytest.fixture
def own_run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to be damaged."""
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def test_a_run_leaves_what_the_docs_say(finished: Path, phantom_cohort: Cohort) -> None:
    assert {path.name for path in finished.iterdir()} == {
        ".lock", ".finished", "config.yaml", "verdicts.csv", "results.csv", "comparisons.csv", "subgroups.csv",
        "roc.csv",
        "precision_recall.csv", "calibration.csv", "decision_curve.csv", "guarantees.csv", "costs.csv",
        "heterogeneity.csv", "flow.csv", "holdings.csv", "columns.csv", "predictions.csv", "rounds.csv",
        "timings.csv", "models",
        "deployments", "hospitals",
    }  # fmt: skip
    assert len(list((finished / "models").iterdir())) == 2 * (10 + 1)
    patients = set(phantom_cohort.manifest["patient"])
    assert not any(patient in (finished / "predictions.csv").read_text() for patient in patients)


def test_its_own_cohort_and_split_give_its_own_results(finished: Path, phantom_cohort: Cohort) -> None:
    """To the last byte: scores are read from CSV for the run's tables and are computed anew here."""
    table = again(finished, phantom_cohort.folder)
    assert table.to_csv(index=False) == (finished / "results.csv").read_text()
    assert set(table["arm"]) == {"local", "federated", "reader"}


def test_another_preparation_gives_the_same_results(finished: Path, phantom_cohort: Cohort, tmp_path: Path) -> None:
    """Other pseudonyms, the same patients: no value depends on a pseudonym."""
    rows = phantom_cohort.manifest.assign(listed_in="", listed_row=None, at=phantom_cohort.manifest.index)
    facts = {"source": "", "notes": {}}
    write_cohort(tmp_path / "other", rows, [], lambda row: phantom_cohort.patches[row["at"]], 128, lambda: facts)
    assert Cohort.open(tmp_path / "other").key != phantom_cohort.key
    assert again(finished, tmp_path / "other").to_csv(index=False) == (finished / "results.csv").read_text()


@pytest.mark.parametrize("split", ["train", "test"])
def test_another_institutions_patients_under_the_same_thresholds(
    finished: Path, phantom_cohort: Cohort, tmp_path: Path, split: str
) -> None:
    """Nobody of it trains or sets thresholds."""
    training = phantom_cohort.manifest[phantom_cohort.manifest["split"] == "train"].assign(split=split)
    rows = training.assign(listed_in="", listed_row=None, at=training.index)
    facts = {"source": "", "notes": {}}
    write_cohort(tmp_path / "other", rows, [], lambda row: phantom_cohort.patches[row["at"]][::-1], 128, lambda: facts)
    table = again(finished, tmp_path / "other", split)
    assert set(table["split"]) == {split}
    assert set(table.loc[table["tested_at"] == "all", "patients"]) == {20}
    assert table["value"].notna().any()


def test_a_split_that_is_not_there_is_refused_and_nothing_is_written(finished: Path, own_cohort: Cohort) -> None:
    before = sorted(own_cohort.folder.iterdir())
    with pytest.raises(InputError, match=r"--split val: .*cohort has no such split; it has test, train"):
        again(finished, own_cohort.folder, "val")
    assert sorted(own_cohort.folder.iterdir()) == before


@pytest.mark.parametrize("content", [None, b"", b"\xff" * 100])
def test_a_model_that_is_missing_or_damaged_is_named(
    own_run: Path, phantom_cohort: Cohort, content: bytes | None
) -> None:
    """Not left out in silence: the local arm's summary is the mean over all hospitals."""
    model = own_run / "models/local-real-seed10-draw0-fold0-hospital-7.safetensors"
    model.unlink()
    if content is not None:
        model.write_bytes(content)
    with pytest.raises(InputError, match=r"seed10-draw0-fold0-hospital-7.safetensors: cannot be read as safetensors"):
        again(own_run, phantom_cohort.folder)


def test_what_is_no_finished_run_is_refused(own_run: Path, phantom_cohort: Cohort) -> None:
    for content, expected in (("", "is damaged"), ("arm,score\nlocal,1\n", "is damaged"), (None, "no finished run")):
        (own_run / "predictions.csv").unlink()
        if content is not None:
            (own_run / "predictions.csv").write_text(content)
        with pytest.raises(InputError, match=expected):
            again(own_run, phantom_cohort.folder)
    with pytest.raises(InputError, match="is not the configuration of a run"):
        again(phantom_cohort.folder, phantom_cohort.folder)


def test_a_cohort_that_was_altered_is_refused(finished: Path, own_cohort: Cohort) -> None:
    with (own_cohort.folder / "patches.npy").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read()
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    with pytest.raises(InputError, match="patches or manifest were altered"):
        again(finished, own_cohort.folder)


def test_a_cross_validated_run_has_no_model_for_others(
    run_inline: Run, phantom_study: dict[str, Any], phantom_cohort: Cohort, tmp_path: Path
) -> None:
    phantom_study |= {"arms": ["centralized"], "federation": {"rounds": 1, "local_steps": 1}}
    phantom_study["evaluation"]["folds"] = 2
    out = run_inline(parse(phantom_study, "small"), tmp_path / "run")
    with pytest.raises(InputError, match="was cross-validated"):
        again(out, phantom_cohort.folder)
