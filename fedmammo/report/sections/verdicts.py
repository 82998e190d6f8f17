"""The first screen: should my hospital join? Answered per hospital and over all, by the verdicts."""

from collections.abc import Sequence

import pandas as pd

from fedmammo.config.arm import ALL
from fedmammo.report.blocks import Block, Cell, Figure, Rows, Side, Table, Text, text
from fedmammo.report.chapter import Chapter, estimate, setting_of, whole
from fedmammo.report.charts import dots, forest
from fedmammo.run.results import Run

ARMS = {"local": "alone", "federated": "federated", "centralized": "centralised", "reader": "reader"}


def blocks(run: Run) -> Sequence[Block]:
    """Return the answers, what was scored, and what it cost."""
    verdicts = run.verdicts
    if verdicts.empty:
        return []
    first = verdicts.iloc[0]
    shown = _own_models(run)
    metric = f"{first['metric'].upper()} per {first['unit']}"
    return [
        text(Cell("verdicts", 0, "sentence", first["sentence"]), kind="answer"),
        Side([
            Figure(
                dots(shown, "value", metric, "tested_at"),
                Table("What each arm scores on each hospital's patients", shown, _SCORES, "results", folded=True),
                "dots with intervals: what each arm scores on each hospital's patients",
            ),
            Figure(
                forest(verdicts, "tested_at", f"{first['arm']} minus {first['against']}", float(first["margin"])),
                Table("Differences, with the margin", verdicts, _VERDICTS, "verdicts", folded=True),
                "dots with intervals: what joining changes at each hospital; a dashed line is the margin",
            ),
        ]),
        _answers(run, shown),
        text("Varied: ", Cell("verdicts", 0, "varies", first["varies"]), ". Fixed: ",
             Cell("verdicts", 0, "fixed", first["fixed"]), ".", kind="small"),
    ]  # fmt: skip


_SCORES = {
    "tested_at": "patients of", "arm": "arm", "value": "value", "ci_low": "from", "ci_high": "to",
    "patients": "patients", "positives": "malignant", "note": "note",
}  # fmt: skip
_VERDICTS = {
    "tested_at": "patients of", "verdict": "verdict", "difference": "difference", "ci_low": "from", "ci_high": "to",
    "p": "p", "p_holm": "p, adjusted", "margin": "margin", "patients": "patients", "positives": "malignant",
    "note": "note",
}  # fmt: skip


def _own_models(run: Run) -> pd.DataFrame:
    """Return what the model that each arm would give to each hospital scores there; local its own."""
    rows, setting = whole(run), setting_of(run)
    of_reader = rows["arm"] == "reader"
    own = (rows["trained_at"] == ALL) | ((rows["arm"] == "local") & (rows["trained_at"] == rows["tested_at"]))
    return rows[own & ((rows["setting"] == setting) | of_reader)]


def _answers(run: Run, shown: pd.DataFrame) -> Rows:
    """Return a row for each hospital: verdict, who was tested, what each arm scores there."""
    arms = [arm for arm in ARMS if arm in set(shown["arm"])]
    rows: list[list[str | Cell | Text]] = []
    for at, row in run.verdicts.iterrows():
        number, here = int(str(at)), shown[shown["tested_at"] == row["tested_at"]]
        scores = [here[here["arm"] == arm] for arm in arms]
        rows.append([
            "all hospitals" if row["tested_at"] == ALL else Cell("verdicts", number, "tested_at", row["tested_at"]),
            Cell("verdicts", number, "verdict", row["verdict"]),
            Text([Cell("verdicts", number, "patients", row["patients"]), " (",
                  Cell("verdicts", number, "positives", row["positives"]), ")"]),
            *(Text(estimate("results", one.iloc[0])) if len(one) else "" for one in scores),
            Cell("verdicts", number, "sentence", row["sentence"]),
        ])  # fmt: skip
    headings = ["hospital", "verdict", "patients (malignant)", *(ARMS[arm] for arm in arms), "in words"]
    return Rows("Should my hospital join?", headings, rows)


CHAPTER = Chapter("answer", "Should my hospital join?", ("verdicts", "results"), blocks)
