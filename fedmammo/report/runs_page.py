"""Several runs beside each other: what each says, and in what their studies differ."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import pandas as pd

from fedmammo.config.arm import ALL
from fedmammo.errors import InputError
from fedmammo.report.blocks import Block, Cell, Figure, Rows, Section, Table, Text, text
from fedmammo.report.chapter import headings, portable, setting_of, whole
from fedmammo.report.charts import dots
from fedmammo.report.page import page_html
from fedmammo.report.words import plain
from fedmammo.run.results import Run

ABOUT = (
    "Each run's own intervals. Two runs that tested the same patients are compared, paired by patient, by fedmammo "
    "compare: that two intervals overlap says little."
)


def runs_page(runs: Sequence[Run]) -> str:
    """Return a page with runs beside each other.

    Raises InputError where one is not finished, two folders have the same name, or the runs have other primary metrics.
    """
    for run in runs:
        run.check_finished()
    named = {run.folder.resolve().name: run for run in runs}
    if len(named) < len(runs):
        raise InputError("two runs have folders of the same name; the report calls runs by it: rename one")
    metrics = {f"{run.study.evaluation.primary.metric} per {run.study.evaluation.unit}" for run in runs}
    if len(metrics) > 1:
        raise InputError(f"the runs' primary metrics differ ({', '.join(sorted(metrics))}); name runs of one metric")
    sections = [
        Section("answers", "What each run says", [text(ABOUT), _answers(named), _scores(named, metrics.pop())]),
        Section("studies", "In what the studies differ", _differences(named)),
    ]
    return page_html(" | ".join(named), [], sections)


def _answers(named: dict[str, Run]) -> Rows:
    rows: list[list[str | Cell | Text]] = []
    for name, run in named.items():
        for at, row in enumerate(run.verdicts.to_dict("records")):
            who = "all hospitals" if row["tested_at"] == ALL else str(row["tested_at"])
            parts = [_of(name, part) for part in plain({str(key): value for key, value in row.items()}, at)]
            rows.append([name, who, Text(parts, str(row["verdict"]).replace(" ", "-"))])
    return Rows("Answers", ["run", "hospital", "answer"], rows)


def _of(name: str, part: str | Cell) -> str | Cell:
    """Place a cell in its run's folder."""
    return part._replace(file=f"{name}/{part.file}") if isinstance(part, Cell) else part


def _scores(named: dict[str, Run], metric: str) -> Block:
    """Return what each run's arms score on all test patients, in its primary setting."""
    parts = {}
    for name, run in named.items():
        rows = whole(run)
        everywhere = (rows["trained_at"] == ALL) & (rows["tested_at"] == run.together)
        parts[f"{name}/results"] = rows[everywhere & rows["setting"].isin((setting_of(run), "assessment"))]
    keys = headings("arm", "setting", "value", "ci_low", "ci_high", "patients", "positives", "note")
    shown = pd.concat(parts)
    shown.insert(0, "run", shown.index.get_level_values(0).str.removesuffix("/results"))
    says = "dots with intervals: what each run's arms score on all test patients"
    columns = {"run": "run", **keys}
    chart = dots(shown[[*columns]], "value", metric.replace("auroc", "AUROC"), "run")
    return Figure(chart, Table("What each run scores on all test patients", shown, columns, folded=True), says)


def _differences(named: dict[str, Run]) -> list[Block]:
    """Return the keys of configuration whose values differ."""
    flat = {name: dict(_flat(portable(run.study))) for name, run in named.items()}
    keys = dict.fromkeys(chain.from_iterable(flat.values()))
    rows = [[key, *(str(one.get(key, "")) for one in flat.values())] for key in keys]
    different = [row for row in rows if len(set(row[1:])) > 1]
    return [Rows("Keys that differ", ["key", *named], different)] if different else [text("In nothing.")]


def _flat(content: Any, name: str = "") -> Any:
    if isinstance(content, dict) and content:
        for key, value in content.items():
            yield from _flat(value, f"{name}.{key}" if name else str(key))
    else:
        yield name, content
