"""A real browser, where there is one: Playwright's own Chromium, or the system's."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
MARKS = (
    "figures => figures.map(figure => figure.querySelectorAll("
    "'.mark-symbol path, .mark-rule line, .mark-rect path, .mark-area path, .mark-line path').length)"
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Open a headless Chromium; skip the test where there is none."""
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        path = own if Path(own).exists() else next(filter(None, map(shutil.which, NAMES)), None)
        if path is None:
            pytest.skip("no browser: apt-get install chromium, or playwright install chromium")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def opened(browser: Browser, path: Path, complaints: list[str], **kind: Any) -> Page:
    """Open a page; errors, and whatever it asks for elsewhere, are added to complaints."""
    page = browser.new_context(**kind).new_page()
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda asked: None if asked.url.startswith(("file:", "data:")) else complaints.append(asked.url))
    page.goto(path.as_uri())
    return page


def drawn(page: Page) -> None:
    """Wait until all charts are drawn."""
    page.wait_for_function("document.querySelectorAll('figure.chart:not([data-drawn])').length === 0")


def faults(browser: Browser, path: Path, width: int, scheme: str = "light") -> list[str]:
    """Return what is wrong with a report on a screen: errors, requests, empty charts, its width, axe's faults."""
    found: list[str] = []
    page = opened(browser, path, found, viewport={"width": width, "height": 900}, color_scheme=scheme)
    drawn(page)
    marks = page.locator("figure.chart").evaluate_all(MARKS)
    found += [f"chart {number} is empty" for number, count in enumerate(marks) if not count]
    found += [] if marks else ["no chart"]
    found += [] if page.locator("#answer p.answer").inner_text() else ["no answer"]
    found += [] if page.evaluate("document.documentElement.scrollWidth") <= width else ["wider than the screen"]
    for one in Axe().run(page).response["violations"]:
        if one["impact"] in ("serious", "critical"):
            found.append(f"{one['id']}: {one['nodes'][0]['html'][:200]}")
    page.context.close()
    return found
