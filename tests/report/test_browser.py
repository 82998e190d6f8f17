"""Reports in a real browser: charts have marks, nothing is fetched, nothing is wrong, on any screen and on paper."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from fedmammo.report.run_page import run_page
from fedmammo.run.results import Run
from tests.report.browser import chromium
from tests.report.made_up import made_up

CHARTS = (
    "figures => figures.map(figure => figure.querySelectorAll("
    "'.mark-symbol path, .mark-rule line, .mark-rect path, .mark-area path, .mark-line path').length)"
)
SETTINGS = ("real", "real-epsilon-1", "real-epsilon-6")


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


def opened(browser: Browser, path: Path, complaints: list[str], **kind: Any) -> Page:
    page = browser.new_context(**kind).new_page()
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda asked: None if asked.url.startswith(("file:", "data:")) else complaints.append(asked.url))
    page.goto(path.as_uri())
    return page


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_every_chart_has_marks_and_nothing_is_fetched_or_wrong(
    browser: Browser, report: Path, width: int, scheme: str
) -> None:
    complaints: list[str] = []
    page = opened(browser, report, complaints, viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.wait_for_function("document.querySelectorAll('figure.chart:not([data-drawn])').length === 0")
    marks = page.locator("figure.chart").evaluate_all(CHARTS)
    assert len(marks) >= 11
    assert min(marks) > 0
    assert "Should my hospital join?" in page.inner_text("#answer")
    assert page.locator("#answer td p.superior, #answer td p.inconclusive").count() > 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(page)
    serious = [one for one in found.response["violations"] if one["impact"] in ("serious", "critical")]
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in serious] == []
    assert complaints == []


def test_a_reader_chooses_a_setting_and_prints(browser: Browser, report: Path) -> None:
    complaints: list[str] = []
    page = opened(browser, report, complaints)
    page.wait_for_function("document.querySelectorAll('figure.chart:not([data-drawn])').length === 0")
    chart = page.locator("#ranking figure.chart").first
    before = chart.locator(".mark-line path").last.get_attribute("d")
    chart.locator("select").select_option("real-epsilon-6")
    page.wait_for_timeout(100)
    assert chart.locator(".mark-line path").last.get_attribute("d") != before
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
