"""Reports in a real browser: charts have marks, nothing is fetched, nothing is wrong, on any screen and on paper."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from fedmammo.report.run_page import run_page
from fedmammo.run.results import Run
from tests.report.browser import chromium, drawn, faults, opened
from tests.report.made_up import made_up
from tests.report.walk import strange_numbers, walk, wrong_cells

SETTINGS = ("real", "real-epsilon-1", "real-epsilon-6")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made-up")
    study = made_up(folder, hospitals=4, settings=SETTINGS, draws=3)
    page = folder / "report.html"
    page.write_text(run_page(Run(folder, study)))
    return page


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_a_report_has_no_faults(browser: Browser, report: Path, width: int, scheme: str) -> None:
    assert faults(browser, report, width, scheme) == []


def test_a_reader_chooses_a_setting_and_prints(browser: Browser, report: Path) -> None:
    complaints: list[str] = []
    page = opened(browser, report, complaints)
    drawn(page)
    assert page.locator("figure.chart").count() >= 11
    chart = page.locator("#ranking figure.chart").first
    line = chart.locator(".mark-line path").last
    before = line.get_attribute("d")
    chart.locator("select").select_option("real-epsilon-6")
    page.wait_for_timeout(100)
    assert line.get_attribute("d") != before
    assert page.pdf().startswith(b"%PDF")
    assert complaints == []


def test_without_javascript_every_chart_is_a_table(browser: Browser, report: Path) -> None:
    page = opened(browser, report, [], java_script_enabled=False)
    named = page.locator("figure.chart").evaluate_all("figures => figures.map(figure => figure.dataset.table)")
    assert len(named) >= 11
    for name in named:
        assert page.locator(f"table#{name} tbody tr").count() > 0
    page.locator("summary").first.click()
    assert page.locator("details table").first.is_visible()


@pytest.mark.long
def test_the_demo_and_a_real_study_end_in_reports_without_faults(browser: Browser, tmp_path: Path) -> None:
    """The demo as `make demo` runs it; and, where real patients and a network are named, three ways to deal them."""
    program = Path(sys.executable).with_name("fedmammo")

    def run(*words: str, **more: str) -> None:
        subprocess.run([program, *words], check=True, cwd=tmp_path, env={**os.environ, **more})

    run("data", "phantom", "demo/tree", "--patients", "160", "--seed", "1", "--difficulty", "0")
    run("data", "prepare", "demo/tree", "demo/cohort")
    run("run", str(ROOT / "configs" / "quickstart.yaml"), "--out", "demo/run")
    folders = [tmp_path / "demo" / "run"]
    if {"FEDMAMMO_COHORT", "FEDMAMMO_WEIGHTS"} <= set(os.environ):
        run("run", str(ROOT / "configs" / "hospitals_alike.yaml"), "--set", "hospitals.seed=0..2", "--out", "real")
        folders.append(tmp_path / "real")
    for folder in folders:
        page = folder / "report.html"
        assert [faults(browser, page, width) for width in (1280, 400)] == [[], []]
        found = walk(page.read_text())
        assert wrong_cells(found, folder) == []
        assert strange_numbers(found, folder) == set()
