"""Curves: models scored while they are trained, without a trace in anything else; measured as results are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fedmammo
from fedmammo.config.study import StudyConfig, parse
from fedmammo.evaluation.predictions import COLUMNS
from fedmammo.run.curves import curves_of
from fedmammo.run.folder import RunFolder
from fedmammo.run.results import Run
from tests.commands.processes import digests

ARMS = {"arms": ["local", "federated"]}
BUDGET = {"settings": ["real", "real-epsilon-6"], "privacy": {"secret_seed": 1}}
Finish = Callable[..., Path]


def study(content: dict[str, Any], rounds: int = 3, averaged: int = 1, every: int = 2, **keys: Any) -> StudyConfig:
    """The small study, drawing curves of images' AUROC."""
    evaluation = {"every": every, "unit": "image"}
    federation = {"rounds": rounds, "local_steps": 1, "averaged_rounds": averaged}
    return parse(content | ARMS | keys | {"evaluation": evaluation, "federation": federation}, "small")


def test_curves_change_nothing_else_and_grow_with_the_study(
    phantom_study: dict[str, Any], run_inline: Finish, tmp_path: Path
) -> None:
    """With and without a budget, one seed and then another: all but the curves is there to the last byte."""
    on, off = tmp_path / "on", tmp_path / "off"
    run_inline(study(phantom_study, seeds=[0], **BUDGET), on)
    assert set(pd.read_csv(on / "curves.csv", dtype=str)["seed"]) == {"0", "all"}
    config = study(phantom_study, seeds=[0, 1], **BUDGET)
    run_inline(config, on)
    run_inline(study(phantom_study, every=0, seeds=[0, 1], **BUDGET), off)
    with_curves, without = digests(on), digests(off)
    more = with_curves.keys() - without.keys()
    assert more == {"curves.csv", *(f"deployments/{one.name}/scores-00002.csv" for one in config.deployments)}
    assert without == {name: content for name, content in with_curves.items() if name not in more}

    curves = Run(on, config).curves
    grouped = curves.groupby(["arm", "setting", "trained_at"], sort=False)
    assert list(grouped.groups) == [
        *(("local", setting, name) for setting in BUDGET["settings"] for name in [*holders(3), "all"]),
        *(("federated", setting, "all") for setting in BUDGET["settings"]),
    ]
    for _, own in grouped:
        points = list(own[["round", "seed", "draw"]].itertuples(index=False, name=None))
        assert points == [(2, "0", "0"), (2, "1", "0"), (2, "all", "all"),
                          (3, "0", "0"), (3, "1", "0"), (3, "all", "all")]  # fmt: skip
        values = own["value"].to_numpy().reshape(2, 3)
        np.testing.assert_allclose(values[:, :2].mean(axis=1), values[:, 2], atol=1e-15)
    results = Run(on, config).results.query("metric == 'auroc' and unit == 'image' and tested_at == 'all'")
    place = ["arm", "setting", "seed", "draw", "trained_at", "tested_at", "unit", "metric"]
    shown = [*place, "value", "ci_low", "ci_high", "note"]
    last = curves[curves["round"] == 3].set_index(place)
    ended = results.query("arm != 'reader'")[shown].set_index(place).loc[last.index]
    pd.testing.assert_frame_equal(last.drop(columns="round"), ended, rtol=1e-12)
    assert not Run(off, config).folder.joinpath("curves.csv").exists()


def holders(count: int) -> list[str]:
    return [f"hospital-{number}" for number in range(1, count + 1)]


@pytest.mark.parametrize(("averaged", "so_far"), [(1, 1), (3, 2)])
def test_a_point_is_of_the_models_as_they_are_then(
    phantom_study: dict[str, Any], run_inline: Finish, tmp_path: Path, averaged: int, so_far: int
) -> None:
    """After round 2 of 3: what a study of two rounds ends with, whose mean is over as many as the other's so far."""
    whole = study(phantom_study, averaged=averaged)
    out = run_inline(whole, tmp_path / "whole")
    shorter = run_inline(study(phantom_study, rounds=2, averaged=so_far, every=0), tmp_path / "shorter")
    for one in whole.deployments:
        found = pd.read_csv(out / f"deployments/{one.name}/scores-00002.csv", dtype={"score": str})
        ended = pd.read_csv(shorter / f"deployments/{one.name}/predictions.csv", dtype={"score": str})
        pd.testing.assert_frame_equal(found, ended[list(COLUMNS)])


def scored(folds: list[list[tuple[str, int, float]]], config: StudyConfig, folder: RunFolder, number: int = 0) -> None:
    """Let deployments have scored patients of one image, each a name, a label and a score; in the end at 0."""
    for deployment, patients in zip(config.deployments, folds, strict=True):
        rows = [
            [*deployment.place.values(), "all", "cross-validation", "A", *[name] * 4, label, score]
            for name, label, score in patients
        ]
        table = pd.DataFrame(rows, columns=list(COLUMNS))
        if number:
            folder.keep_scores(deployment, number, table)
        else:
            folder.finish(deployment, {}, [], table, seconds=0)


def test_scores_of_different_folds_are_never_compared(small_study: dict[str, Any], tmp_path: Path) -> None:
    """Of 2 + 2 pairs within folds three are ranked rightly; over folds it would be 7 of 9."""
    small_study |= {"arms": ["federated"], "federation": {"rounds": 5, "local_steps": 1}}
    config = parse(small_study | {"evaluation": {"folds": 2, "unit": "image", "every": 3}}, "small")
    first = [("p", 1, 0.2), ("q", 0, 0.1), ("r", 0, 0.15)]
    second = [("s", 1, 0.6), ("t", 1, 0.9), ("u", 0, 0.7)]
    folder = RunFolder(tmp_path)
    scored([first, second], config, folder, 3)
    scored([first, [("s", 1, 0.8), *second[1:]]], config, folder)
    table = curves_of(config, folder, config.deployments)
    assert table["round"].tolist() == [3, 3, 5, 5]
    assert table["value"].tolist() == [0.75, 0.75, 1, 1]
    assert table["note"].tolist() == ["", "no interval: fewer than 10 patients of a class"] * 2
    assert table[["ci_low", "ci_high"]].isna().all(axis=None)


def test_synthetic_images_alone_are_a_point(small_study: dict[str, Any], tmp_path: Path) -> None:
    """No patient's round is ever scored there: nothing else is looked for."""
    more = {"arms": ["federated"], "settings": ["synthetic"], "synthesis": {"source": "phantom"}}
    config = parse(small_study | more | {"evaluation": {"folds": 2, "unit": "image", "every": 1}}, "small")
    scored([[("p", 1, 0.2), ("q", 0, 0.1)], [("r", 0, 0.15), ("s", 1, 0.1)]], config, RunFolder(tmp_path))
    assert curves_of(config, RunFolder(tmp_path), config.deployments)["round"].tolist() == [2, 2]


def test_a_run_without_curves_says_so(phantom_study: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(fedmammo.InputError, match=r"the run has no curves; its study says evaluation\.every: 0$"):
        _ = Run(tmp_path, study(phantom_study, every=0)).curves
    with pytest.raises(fedmammo.InputError, match=r"has no curves\.csv yet; run its study again"):
        _ = Run(tmp_path, study(phantom_study)).curves
