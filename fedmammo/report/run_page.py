"""The report of a run: one page that draws what the run's tables hold, and computes nothing."""

from pathlib import Path

from fedmammo.disk.files import write_text
from fedmammo.report.blocks import Section, text
from fedmammo.report.chapter import Chapter
from fedmammo.report.page import page_html
from fedmammo.report.sections import CHAPTERS
from fedmammo.run.results import Run

REPORT = "report.html"


def run_page(run: Run) -> str:
    """Return the page of a run."""
    return page_html(run.study.name, [text("A study simulated by fedmammo.", kind="small")], sections_of(run))


def sections_of(run: Run, chapters: tuple[Chapter, ...] = CHAPTERS) -> list[Section]:
    """Return the sections of a run's report; those whose tables it does not have are left out."""
    found = []
    for chapter in chapters:
        if all(run.has(table) for table in chapter.needs):
            blocks = chapter.blocks(run)
            if blocks:
                found.append(Section(chapter.name, chapter.title, blocks))
    return found


def write_report(run: Run) -> Path:
    """Write the page of a run to its folder; returns where."""
    path = run.folder / REPORT
    write_text(path, run_page(run))
    return path
