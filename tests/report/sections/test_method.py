"""Method and reporting: numbers are cells, people are asked for what only they know, the configuration is whole."""

import re
from html import unescape
from pathlib import Path

import pytest
import yaml

from fedmammo.config.study import parse
from fedmammo.report.sections.method import CHAPTER
from fedmammo.run.results import Run
from tests.report.made_up import made_up
from tests.report.told import told_run


def html_of(run: Run) -> str:
    return "".join(str(block.html()) for block in CHAPTER.blocks(run))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return told_run(tmp_path)


def test_the_flow_is_boxes_of_cells_and_a_table(run: Run) -> None:
    html = html_of(run)
    assert '<ul class="flow" aria-label="where patients went">' in html
    boxes = html[html.index('<ul class="flow"') : html.index("Hospitals, and who trained")]
    cells = re.findall(r'data-file="flow" data-row="([0-9]+)" data-key="([a-z]+)">([^<]*)<', boxes)
    assert len(cells) > 20
    assert all(run.flow.loc[int(row), key] == float(value) for row, key, value in cells)
    told = re.sub("<[^>]*>", "", re.sub(r"<span data-file[^>]*>[^<]*</span>", "", boxes))
    assert set(re.findall("[0-9]+", told)) == {"1", "2"}, "of hospitals' names"
    assert "no file: " in boxes and "had no part: " in boxes
    assert '<table id="" data-file="flow">' in html


def test_people_are_asked_once_for_what_is_missing(tmp_path: Path) -> None:
    html = unescape(html_of(told_run(tmp_path, about={"funding": "The <town>."})))
    before = html[: html.index("<h3>Checklists")]
    assert before.count("about.ethics: ") == before.count("about.tuning: ") == 1
    assert "about.funding: " not in html and "Funding: The <town>." in before
    assert "18a Open science, Funding: Who paid, and what part the funders had.</summary>" in html


def test_a_run_about_which_all_is_told_asks_for_little(run: Run) -> None:
    html = html_of(run)
    assert "about." not in html[: html.index("<h3>Checklists")]
    assert "what people say of tuning" in html and "what people say of authors" in html
    assert html.count("<summary>") > 52 + 37 + 44


def test_the_study_can_be_run_again(run: Run) -> None:
    (content,) = re.findall(r"<pre[^>]*>(name:[^<]*)</pre>", html_of(run))
    again = parse(yaml.safe_load(unescape(content)), "again")
    assert again.without_engine() == run.study.without_engine()


def test_without_tables_of_patients(tmp_path: Path) -> None:
    html = html_of(Run(tmp_path, made_up(tmp_path, folds=3)))
    assert 'class="flow"' not in html and "Patients were dealt at random" in unescape(html)
