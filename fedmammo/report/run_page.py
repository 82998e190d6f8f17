"""The report of a run: one page that draws what the run's tables hold, and computes nothing."""

from fedmammo.report.blocks import Section, text
from fedmammo.report.chapter import Chapter
from fedmammo.report.page import page_html
from fedmammo.report.sections import CHAPTERS
from fedmammo.run.results import Run


def run_page(run: Run, chapters: tuple[Chapter, ...] = CHAPTERS) -> str:
    """Return the page of a run; sections whose tables it does not have are left out."""
    sections = []
    for chapter in chapters:
        if all(run.has(table) for table in chapter.needs):
            blocks = chapter.blocks(run)
            if blocks:
                sections.append(Section(chapter.name, chapter.title, blocks))
    return page_html(run.study.name, [text("A study simulated by fedmammo.", kind="small")], sections)
