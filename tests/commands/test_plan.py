"""The plan of a small study: what it tells, what it writes, and that a pilot of the same study foretells it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fedmammo import open_run
from fedmammo.cohort.store import Cohort
from fedmammo.commands.plan import plan_study, write_tables
from fedmammo.config.study import StudyConfig, parse
from fedmammo.errors import InputError
from fedmammo.planning.dictionary import TABLES
from fedmammo.report.plan_page import plan_page
from fedmammo.report.plan_words import parts_of


@pytest.fixture(scope="module")
def config(new_study: Callable[[], dict[str, Any]], phantom_cohort: Cohort) -> StudyConfig:
    content = new_study() | {"cohort": {"path": str(phantom_cohort.folder)}, "arms": ["local", "federated"]}
    content["hospitals"] = {"assignment": {"by": "uniform", "count": 2}}
    content["evaluation"] = {"folds": 2, "folds_over": ["train", "test"]}
    return parse(content, "small")


@pytest.fixture(scope="module")
def finished(config: StudyConfig, run_inline: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_inline(config, tmp_path_factory.mktemp("pilot") / "run")


def test_the_patients_are_those_that_are_then_tested(config: StudyConfig, finished: Path) -> None:
    """And a pilot of the very study has the interval that the study had: one repeat, so patients alone."""
    planned = plan_study(config, [], finished, timed=False)
    plan = planned.tables["plan"].set_index(["tested_at", "basis"])
    rows = open_run(finished).comparisons
    for row in rows[rows["role"] != "secondary"].to_dict("records"):
        for basis in ("assumed", "pilot"):
            own = plan.loc[(row["tested_at"], basis)]
            assert (own["patients"], own["positives"]) == (row["patients"], row["positives"])
        if pd.notna(row["ci_low"]):
            assert plan.loc[(row["tested_at"], "pilot"), "half_width"] == pytest.approx(
                (row["ci_high"] - row["ci_low"]) / 2
            )
    told = planned.tables["assumptions"].set_index("name")["pilot"].dropna()
    assert set(told.index) == {"auroc", "correlation"}


def test_costs_are_those_of_the_run(config: StudyConfig, finished: Path) -> None:
    """Bytes and rounds to the byte; hours within what folds of other patients differ by."""
    found = plan_study(config, [], None, timed=True).tables["costs"].set_index(["arm", "hospital"])
    costs = open_run(finished).costs.set_index(["arm", "hospital"])
    assert set(found.index) == set(costs.index)
    for place in found.index:
        for key in ("rounds", "megabytes_up", "megabytes_down"):
            assert found.loc[place, key] == pytest.approx(costs.loc[place, key], abs=1e-9)
        assert found.loc[place, "simulated_hours"] == pytest.approx(costs.loc[place, "simulated_hours"], rel=0.3)


def test_every_table_is_written_and_explained(config: StudyConfig, tmp_path: Path) -> None:
    budget = config.model_copy(update={"settings": {"real": {}, "real-epsilon-6": {}}})
    planned = plan_study(budget, ["auroc=.8"], None, timed=True)
    write_tables(tmp_path / "plan", planned)
    written = {path.name for path in (tmp_path / "plan").iterdir()}
    assert written == {*TABLES, "columns.csv"}
    for name, columns in TABLES.items():
        assert list(pd.read_csv(tmp_path / "plan" / name)) == list(columns), name
    assumed = pd.read_csv(tmp_path / "plan" / "assumptions.csv").set_index("name")
    assert assumed.loc["auroc", ["value", "source"]].tolist() == [0.8, "told"]
    assert set(assumed["source"]) == {"told", "assumed"}


def test_the_screen_and_the_page_say_what_is_assumed(config: StudyConfig) -> None:
    planned = plan_study(config, [], None, timed=False)
    parts = parts_of(planned)
    text = "\n".join(line for part in parts for line in [part.title, *part.lines])
    assert "federated against local, setting real: auroc per lesion, margin 0.05; 1 seed x 1 draw" in text
    assert "nothing was trained" in text and "change one with --assume" in text and "no setting has a budget" in text
    page = plan_page(planned)
    for line in planned.answer:
        assert line in page
    assert page.count('<figure class="chart"') == 2 and "deviation_of_draws" in page


def test_hospitals_that_would_refuse_are_named(config: StudyConfig) -> None:
    content = config.model_dump()
    content["hospitals"]["assignment"] = {"by": "profiles", "profiles": ["university_hospital", "rural_clinic"]}
    content["settings"] = {"real-epsilon-6": {}, "real": {}}
    planned = plan_study(parse(content, "small"), [], None, timed=False)
    assert set(planned.tables["privacy"]["hospital"]) == {"university_hospital", "rural_clinic"}
    assert all("without_budget" in line for line in planned.refusals)


@pytest.mark.parametrize(
    ("change", "assume", "says"),
    [
        ({"primary": {"metric": "auprc"}}, [], "evaluation.primary.metric: auprc; plans are made for auroc"),
        ({}, ["true_difference=-.05"], "true_difference=-0.05: is worse than the margin of 0.05"),
        ({"test": "val", "folds": 0}, [], "evaluation.test: val: the tested patients of .* have not both classes"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_one_line(
    change: dict[str, Any], assume: list[str], says: str, config: StudyConfig
) -> None:
    content = config.model_dump()
    content["evaluation"] |= change
    with pytest.raises(InputError, match=says):
        plan_study(parse(content, "small"), assume, None, timed=False)


def test_a_folder_that_is_none_for_a_plan_or_a_pilot_is_refused(
    config: StudyConfig, finished: Path, tmp_path: Path
) -> None:
    planned = plan_study(config, [], None, timed=False)
    with pytest.raises(InputError, match="is no folder for a plan"):
        write_tables(finished, planned)
    with pytest.raises(InputError, match="is not the configuration of a run"):
        plan_study(config, [], tmp_path, timed=False)
    other = config.model_copy(update={"settings": {"real-epsilon-6": {}}})
    with pytest.raises(InputError, match="has no setting real-epsilon-6; a pilot compares the arms"):
        plan_study(other, [], finished, timed=False)
