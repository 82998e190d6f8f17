"""The sections of a study's report, in their order: one file each."""

from fedmammo.report.chapter import Chapter
from fedmammo.report.sections import method, verdicts

CHAPTERS: tuple[Chapter, ...] = (verdicts.CHAPTER, method.CHAPTER)
