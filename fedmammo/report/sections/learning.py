"""How far more hospitals, or more patients, would carry: learning curves."""

from collections.abc import Sequence

import pandas as pd

from fedmammo.report.blocks import Block, Cell, Figure, Table, Text, text
from fedmammo.report.chapter import Chapter, Parts, estimate, headings, setting_of
from fedmammo.report.charts import learning
from fedmammo.run.results import Run

FILE = "learning_curve"


def blocks(run: Run) -> Sequence[Block]:
    """Return the curves of the primary setting: by hospitals, by patients."""
    table = run.learning_curve
    rows = table[table["setting"] == setting_of(run)]
    seen = rows[rows["what"] == "seen"]
    if seen.empty:
        return []
    keys = headings("by", "what", "size", "value", "ci_low", "ci_high", "models", "limit", "loss", "rate", "note")
    title = f"{rows['metric'].iloc[0].upper()} per {rows['unit'].iloc[0]}, all test patients"
    return [
        *(Text(_said(part, str(by))) for by, part in rows.groupby("by", sort=False)),
        text(
            "Dots are models of coalitions of hospitals; the line is an inverse power law, dashed where nothing is "
            "seen. Its band holds the mean curve at each size, if the law goes on and those to come are like these; "
            "that is believed, not tested. It says nothing of a single new hospital, nor of other networks. What the "
            "step from here to there is worth has no interval: two sizes that lie within one band may differ all the "
            "same, or not.",
            kind="small",
        ),
        Figure(
            learning(rows[[*keys]], title),
            Table("Learning curves", rows, keys, FILE, folded=True),
            "dots by the number of hospitals or patients, a curve through them, and its band",
        ),
    ]


def _said(part: pd.DataFrame, by: str) -> Parts:
    """Say what was reached, and what twice as many would."""

    def cell(row: pd.Series, key: str) -> Cell:
        return Cell(FILE, int(str(row.name)), key, row[key])

    last, beyond = part[part["what"] == "seen"].iloc[-1], part[part["what"] == "extrapolated"].iloc[-1]
    what = by.partition(",")[0]
    told: Parts = [f"By {by}: with ", cell(last, "size"), f" {what} ", *estimate(FILE, last)]
    if pd.isna(beyond["value"]):
        return [*told, "; ", cell(beyond, "note"), "."]
    return [*told, "; with ", cell(beyond, "size"), " it would be ", *estimate(FILE, beyond), "."]


CHAPTER = Chapter("learning", "How far more would carry", (FILE,), blocks)
