"""The page of a plan: what a study can show, what it needs and costs, before anything is trained."""

from collections.abc import Mapping, Sequence

import pandas as pd

from fedmammo.commands.plan import Planned
from fedmammo.evaluation.intervals import POWER
from fedmammo.planning.development import side_by_side
from fedmammo.report import plan_charts as charts
from fedmammo.report import plan_words as words
from fedmammo.report.blocks import Block, Figure, Section, Table, text
from fedmammo.report.page import page_html


def plan_page(planned: Planned) -> str:
    """Return the page."""
    tables, primary = planned.tables, planned.study.evaluation.primary
    plan, power = tables["plan"], tables["power"]
    sure: list[Block] = [
        *_texts(words.sure(planned)),
        text("A line begins at half of the width of the 95 % interval, and ends at the smallest true difference that "
             f"is shown as superior with a probability of {100 * POWER:g} %; dashed: the margin.", kind="small"),
        Figure(charts.detectable(plan, primary.margin), _table("How sure, at each place", plan, words.SHOWN, "plan"),
               "the smallest difference that each hospital can show"),
    ]  # fmt: skip
    more: list[Block] = [
        text(f"Power to show a true difference of {primary.margin:+g} as superior; dashed: {POWER:g}; points: the "
             "study's own patients. Seeds and draws stay as they are.", kind="small"),
        Figure(charts.power(power, POWER), _table("Power by tested patients", power, words.BY_PATIENTS, "power",
               folded=True), "power against numbers of tested patients"),
    ]  # fmt: skip
    needs = side_by_side(tables["development"])
    answer = [text(planned.answer[0], kind="answer"), *map(text, planned.answer[1:])]
    sections = [
        Section("answer", "What the study can show", answer),
        Section("sure", "How sure the study will be", sure),
        Section("more", "With more or fewer patients", more),
        Section("needs", "How many patients a model needs", [
            *_texts(words.needs(planned)), _table("Riley's criteria: what is there, and the most that one asks for",
                                                  needs, words.NEEDS),
            _table("Each criterion", tables["development"], _own(tables["development"]), "development", folded=True)]),
        Section("costs", "What taking part costs", [
            *_texts(words.costs(planned)), *_rows(tables, "costs", words.COSTS)]),
        Section("privacy", "What patients are promised", [
            *_texts(words.privacy(planned)), *_rows(tables, "privacy", words.BUDGETS)]),
        Section("assumed", "What is assumed", [
            text(words.OTHERWISE), _table("Assumptions", tables["assumptions"], words.ASSUMED, "assumptions")]),
    ]  # fmt: skip
    return page_html(f"Plan of {planned.study.name}", [text(planned.compared, kind="small")], sections)


def _own(table: pd.DataFrame) -> dict[str, str]:
    return {str(name): str(name).replace("_", " ") for name in table}


def _table(
    caption: str, table: pd.DataFrame, columns: Mapping[str, str], file: str = "", folded: bool = False
) -> Table:
    rows = table.reset_index(drop=True)
    told = {name: heading for name, heading in columns.items() if not rows[name].isin(["", None]).all()}
    return Table(caption, rows, told, file, folded)


def _rows(tables: Mapping[str, pd.DataFrame], name: str, columns: Mapping[str, str]) -> Sequence[Block]:
    return [_table(f"{name}.csv", tables[name], columns, name)] if name in tables else []


def _texts(lines: Sequence[str]) -> list[Block]:
    return [text(line, kind="small") for line in lines]
