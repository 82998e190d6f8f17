"""The sections of a study's report, in their order: one file for what belongs together."""

from fedmammo.report.chapter import Chapter
from fedmammo.report.sections import (
    beside,
    budgets,
    curves,
    heterogeneity,
    hospitals,
    learning,
    method,
    partitions,
    privacy,
    rounds,
    subgroups,
    synthetic,
    value,
    verdicts,
    ways,
)

CHAPTERS: tuple[Chapter, ...] = (
    verdicts.CHAPTER,
    beside.CHAPTER,
    ways.CHAPTER,
    budgets.CHAPTER,
    partitions.CHAPTER,
    heterogeneity.CHAPTER,
    hospitals.MATRIX,
    value.CHAPTER,
    learning.CHAPTER,
    curves.RANKING,
    curves.CALIBRATION,
    curves.DECISIONS,
    rounds.CHAPTER,
    subgroups.CHAPTER,
    hospitals.DIFFER,
    hospitals.COSTS,
    privacy.CHAPTER,
    synthetic.LOOKS,
    synthetic.QUALITY,
    method.CHAPTER,
)
