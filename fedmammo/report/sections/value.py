"""What each hospital is worth: to all, and to each other one."""

from collections.abc import Sequence

import pandas as pd

from fedmammo.config.arm import ALL
from fedmammo.report.blocks import Block, Cell, Figure, Table, Text, text
from fedmammo.report.chapter import Chapter, Parts, estimate, headings, listed, setting_of
from fedmammo.report.charts import worth
from fedmammo.run.results import Run

FILE = "values"
WAYS = {"shapley": "In any order of joining", "last-in": "Joining last"}


def blocks(run: Run) -> Sequence[Block]:
    """Return each hospital's worth in the primary setting; on whose patients is chosen."""
    table = run.values
    shown = table[(table["setting"] == setting_of(run)) & table["value"].notna()]
    if shown.empty:
        return []
    keys = headings(
        "hospital", "what", "tested_at", "value", "ci_low", "ci_high", "p_holm", "above", "patients", "note"
    )
    title = f"{shown['metric'].iloc[0].upper()} per {shown['unit'].iloc[0]}, gained by the hospital's joining"
    return [
        *(Text(_said(shown, what)) for what in WAYS if (shown["what"] == what).any()),
        text(
            "A hospital's Shapley value is the mean, over all orders in which hospitals could join, of what the model "
            "gains when it does; joining last is what all others would miss without it. Both speak of these hospitals, "
            "of models trained as here, and of the patients tested: not of the worth of data for another aim, and not "
            "of a fair price. A hospital stands above another only where their difference, adjusted for all pairs, "
            "was shown; without that, dots that lie apart are no ranking.",
            kind="small",
        ),
        Figure(
            worth(shown[[*keys]], title),
            Table("What each hospital is worth", shown, keys, FILE, folded=True),
            "dots with intervals: what each hospital's joining adds",
        ),
    ]


def _said(shown: pd.DataFrame, what: str) -> Parts:
    """Say whose joining was shown to raise the metric of all, and who was shown to stand above whom."""
    rows = shown[(shown["what"] == what) & (shown["tested_at"] == ALL)]
    raising, lowering = rows[rows["ci_low"] > 0], rows[rows["ci_high"] < 0]
    groups = [(part, word) for part, word in ((raising, "rises"), (lowering, "falls")) if len(part)]
    told: Parts = [f"{WAYS[what]}, the metric on all patients "]
    for number, (part, word) in enumerate(groups):
        hospitals = listed([_one(row) for _, row in part.iterrows()])
        told += ["; it " if number else "", f"{word} with ", *hospitals]
    rest = len(rows) - len(raising) - len(lowering)
    if not groups:
        told += ["was not shown to change with any hospital"]
    elif rest:
        told += ["; of the others neither was shown"]
    told += [". "]
    ranked = rows[rows["above"] != ""]
    for at, row in ranked.iterrows():
        place = int(str(at))
        hospital, others = (Cell(FILE, place, key, row[key]) for key in ("hospital", "above"))
        told += [hospital, " stands above ", others, ". "]
    return told if len(ranked) else [*told, "No hospital was shown to be worth more than another."]


def _one(row: pd.Series) -> Parts:
    return [Cell(FILE, int(str(row.name)), "hospital", row["hospital"]), " ", *estimate(FILE, row)]


CHAPTER = Chapter("value", "What each hospital is worth", (FILE,), blocks)
