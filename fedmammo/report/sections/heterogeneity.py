"""How hospitals differ in what they gain: each one's difference, their mean, and what a new hospital may expect."""

from collections.abc import Sequence

import pandas as pd

from fedmammo.report.blocks import Block, Cell, Figure, Side, Table, Text, text
from fedmammo.report.chapter import Chapter, Parts, estimate, headings
from fedmammo.report.charts import pooled
from fedmammo.report.outline import Folded
from fedmammo.run.results import Run

_PAIR = ["arm", "against", "setting", "against_setting"]
FILE = "heterogeneity"
MOST = 4  # pairs that are drawn; the others are told in words and tables
_SLOPES = headings("about", "estimate", "ci_low", "ci_high", "p", "tau", "i2", "hospitals", "left_out", "note")


def blocks(run: Run) -> Sequence[Block]:
    """Return a forest of hospitals for each pair of arms, and in words what it comes to."""
    table = run.heterogeneity
    told: list[Block] = []
    figures: list[Block] = []
    tables: list[Block] = []
    others: list[Block] = []  # than the first pair, which is the primary one
    for _, part in table.groupby(_PAIR, sort=False):
        first = part.iloc[0]
        pair = f"{first['arm']} minus {first['against']}"
        shown, slopes = part[part["what"] != "slope"], part[part["what"] == "slope"]
        if len(slopes):
            tables.append(Table(f"What differences go by: {pair}", slopes, _SLOPES, FILE, folded=True))
        words = Text([f"{pair[0].upper()}{pair[1:]}: ", *_mean(part), *_slopes(part)])
        (others if told else told).append(words)
        keys = headings("about", "what", "estimate", "ci_low", "ci_high", "p", "weight", "tau", "i2", "q")
        keys |= headings("hospitals", "left_out", "patients", "positives", "note")
        title = f"{first['metric'].upper()} per {first['unit']}, {pair}: right is better"
        hospitals = Table(f"Hospitals: {pair}", shown, keys, FILE, folded=True)
        if len(figures) == MOST:
            tables.append(hospitals)
        elif shown["estimate"].notna().any():
            figures.append(Figure(
                pooled(shown[[*keys]], title),
                hospitals,
                f"dots with intervals: {pair} at each hospital, their mean and where a new hospital's may lie",
            ))  # fmt: skip
    if not told:
        return []
    return [
        *told,
        text(
            "The diamond is the mean over hospitals, each a draw from all that are like them; the line below it holds "
            "the true difference of a new one in 95 % of cases. Neither says at which hospital the next gain is. "
            "Hospitals with too few patients are left out. Of few hospitals nobody knows well how much they differ: "
            "the line for a new one may then be too short, above all where I² is small. "
            "A slope over a handful of hospitals suggests, and proves no cause.",
            kind="small",
        ),
        *([Side(figures)] if figures else []),
        *([Folded("Other pairs in words, and what differences go by", [*others, *tables])] if tables else []),
    ]


def _mean(part: pd.DataFrame) -> Parts:
    """Say what the mean is, how much hospitals differ, and what a new one may expect."""
    mean = part[part["what"] == "mean"].iloc[0]
    if pd.isna(mean["estimate"]):
        return [Cell(FILE, int(str(mean.name)), "note", mean["note"]), "."]

    def cell(key: str) -> Cell:
        return Cell(FILE, int(str(mean.name)), key, mean[key])

    told: Parts = ["on average over ", cell("hospitals"), " hospitals ", *estimate(FILE, mean, "estimate")]
    told += ["; standard deviation between them, as estimated: ", cell("tau"), " (I² ", cell("i2"), ")"]
    new = part[part["what"] == "new hospital"].iloc[0]
    if pd.isna(mean["ci_low"]):
        return [*told, "; ", cell("note"), "."]
    limits = [Cell(FILE, int(str(new.name)), key, new[key]) for key in ("ci_low", "ci_high")]
    return [*told, "; at a new hospital between ", limits[0], " and ", limits[1], "."]


def _slopes(part: pd.DataFrame) -> Parts:
    """Say what differences go by."""
    told: Parts = []
    for at, row in part[(part["what"] == "slope") & part["ci_low"].notna()].iterrows():
        open_ = row["ci_low"] <= 0 <= row["ci_high"]
        about = Cell(FILE, int(str(at)), "about", row["about"])
        told += [" By ", about, ": ", *estimate(FILE, row, "estimate"), ", not shown to matter." if open_ else "."]
    return told


CHAPTER = Chapter("heterogeneity", "Do hospitals gain alike?", (FILE,), blocks)
