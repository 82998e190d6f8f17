"""The report of a run: every number on it is a cell of a table; what has no table has no section."""

from pathlib import Path

import pandas as pd
import pytest

from fedmammo.config.study import parse
from fedmammo.errors import InputError
from fedmammo.report.methods import methods
from fedmammo.report.run_page import run_page, sections_of
from fedmammo.report.sections import CHAPTERS
from fedmammo.run.results import FINISHED, Run
from tests.report.made_up import made_up
from tests.report.walk import strange_numbers, walk, wrong_cells

SETTINGS = ("real", "real-epsilon-1", "real-epsilon-6")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("made-up")
    return Run(folder, made_up(folder, hospitals=4, settings=SETTINGS, draws=3))


def test_every_number_on_the_page_is_a_cell_of_a_table(run: Run) -> None:
    found = walk(run_page(run))
    assert len(found.cells) > 2000
    assert wrong_cells(found, run.folder) == []
    assert strange_numbers(found, run.folder) == set()


def test_a_number_that_was_changed_is_found(run: Run) -> None:
    """The walk itself can fail."""
    page = run_page(run)
    cell = next(one for one in walk(page).cells if one[2] == "ci_low" and one[3])
    changed = page.replace(f">{cell[3]}<", ">0.123<", 1)
    assert wrong_cells(walk(changed), run.folder)
    assert strange_numbers(walk(changed.replace("Every partition", "Every 77.125 partition")), run.folder) == {"77.125"}


def test_a_section_whose_table_is_not_there_is_left_out(run: Run, tmp_path: Path) -> None:
    names = [section.name for section in sections_of(run)]
    assert "ranking" in names
    study = made_up(tmp_path)
    (tmp_path / "roc.csv").unlink()
    left = [section.name for section in sections_of(Run(tmp_path, study))]
    assert "ranking" not in left
    assert "answer" in left
    assert [chapter.name for chapter in CHAPTERS if chapter.name in left] == left


def test_the_same_tables_make_the_same_page(run: Run) -> None:
    assert run_page(run) == run_page(Run(run.folder, run.study))


@pytest.mark.long
def test_a_large_study_makes_a_page_that_can_be_sent(tmp_path: Path) -> None:
    """3 arms x 7 settings x 20 partitions x 5 folds over 50 hospitals: below 5 MB, and no table is read twice."""
    settings = ("real", *(f"real-epsilon-{number}" for number in (1, 3, 6, 12, 20, 60)))
    run = Run(tmp_path, made_up(tmp_path, hospitals=50, settings=settings, draws=20, folds=5))
    assert len(run_page(run).encode()) < 5_000_000


def test_a_study_without_its_primary_comparison_says_that_it_has_no_answer(tmp_path: Path) -> None:
    study = made_up(tmp_path)
    head = (tmp_path / "verdicts.csv").read_text().splitlines()[0]
    (tmp_path / "verdicts.csv").write_text(f"{head}\n")
    assert "No answer: the study did not run what it would compare, federated against local." in run_page(
        Run(tmp_path, study)
    )


def test_a_run_that_is_not_finished_has_no_report(tmp_path: Path) -> None:
    """Its tables may be of a part of what its configuration says."""
    run = Run(tmp_path, made_up(tmp_path))
    (tmp_path / FINISHED).unlink()
    for page in (run_page, methods):
        with pytest.raises(InputError, match="is not finished, or changed since"):
            page(run)


def test_a_page_shows_no_place_of_the_machine_and_no_engine(run: Run) -> None:
    def page(cohort: str, engine: str, board: str | None) -> str:
        where = {"cohort": {"path": cohort}, "engine": {"name": engine, "track": {"tensorboard": board}}}
        return run_page(Run(run.folder, parse(run.study.model_dump(mode="json") | where, "made up")))

    moved = page("/home/me/secret/cohort", "inline", "/tb")
    assert "/home" not in moved and "path: cohort" in moved
    assert page("/elsewhere/cohort", "ray", None) == moved


@pytest.mark.parametrize(("table", "column"), [("guarantees", "end_to_end"), ("verdicts", "note"), ("costs", "arm")])
def test_a_table_without_a_column_is_told_in_one_line(tmp_path: Path, table: str, column: str) -> None:
    run = Run(tmp_path, made_up(tmp_path))
    content = pd.read_csv(tmp_path / f"{table}.csv", dtype=str).drop(columns=column)
    content.to_csv(tmp_path / f"{table}.csv", index=False)
    with pytest.raises(InputError, match=rf"{table}\.csv: is damaged \(no column {column}\)"):
        run_page(run)
