"""The report of a run: one page that draws what the run's tables hold, and computes nothing."""

from pathlib import Path

from fedmammo.disk.files import write_text
from fedmammo.report.blocks import Section, text
from fedmammo.report.chapter import Chapter
from fedmammo.report.page import page_html
from fedmammo.report.sections import CHAPTERS
from fedmammo.report.words import DONE
from fedmammo.run.results import Run

REPORT = "report.html"


def run_page(run: Run) -> str:
    """Return the page of a run. Raises InputError where it is not finished."""
    run.check_finished()
    about = run.study.about
    head = [text(f"Study {run.study.name}, {DONE[run.study.at_sites]} by fedmammo.", kind="small")]
    head += [text(about.limitations)] if about.limitations else []
    return page_html(about.title or run.study.name, head, sections_of(run))


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
