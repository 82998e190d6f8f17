"""Runs beside each other: each number from its own run's table; what cannot be compared is refused."""

from pathlib import Path

import pytest

from fedmammo.errors import InputError
from fedmammo.report.runs_page import runs_page
from fedmammo.run.results import FINISHED, Run
from tests.report.made_up import made_up
from tests.report.walk import walk, wrong_cells


def test_each_number_is_of_its_own_run(tmp_path: Path) -> None:
    runs = [Run(tmp_path / name, made_up(tmp_path / name, hospitals=count)) for name, count in (("one", 2), ("two", 3))]
    page = runs_page(runs)
    found = walk(page)
    assert {file.split("/")[0] for file, *_ in found.cells} == {"one", "two"}
    assert wrong_cells(found, tmp_path) == []
    assert "hospitals.assignment.count" in page  # in what they differ
    assert "hospitals.seed" not in page


def test_what_cannot_stand_side_by_side_is_refused(tmp_path: Path) -> None:
    run = Run(tmp_path / "one", made_up(tmp_path / "one"))
    other = Run(tmp_path / "more" / "one", made_up(tmp_path / "more" / "one"))
    with pytest.raises(InputError, match="same name"):
        runs_page([run, other])
    primary = run.study.evaluation.primary.model_copy(update={"metric": "auprc"})
    evaluation = run.study.evaluation.model_copy(update={"primary": primary})
    made_up(tmp_path / "more" / "two")
    with pytest.raises(InputError, match="auprc per lesion, auroc per lesion"):
        runs_page([run, Run(tmp_path / "more" / "two", run.study.model_copy(update={"evaluation": evaluation}))])
    (tmp_path / "one" / FINISHED).unlink()
    with pytest.raises(InputError, match="one: is not finished"):
        runs_page([run, other])
