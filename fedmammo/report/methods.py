"""A paper's methods section and tables as Markdown; every number is one of the run's tables or configuration."""

from collections.abc import Mapping, Sequence

import pandas as pd

from fedmammo.config.arm import ALL
from fedmammo.report.blocks import shown
from fedmammo.report.chapter import headings, whole
from fedmammo.report.citations import cited
from fedmammo.report.facts import Facts, facts_of, plain
from fedmammo.report.prose import METHOD, in_markdown
from fedmammo.run.results import Run

RESULTS = ("arm", "setting", "value", "ci_low", "ci_high", "patients", "positives", "note")
VERDICTS = ("tested_at", "verdict", "difference", "ci_low", "ci_high", "p", "p_holm", "patients", "positives", "note")
FLOW = ("stage", "name", "patients", "images", "malignant", "note")
HOLDINGS = ("hospital", "digitiser", "patients", "images", "malignant", "prevalence", "label_distance",
            "density_distance")  # fmt: skip


def methods(run: Run) -> str:
    """Return the section, the tables, and what to cite. What only people know is marked as theirs to write.

    Raises InputError where the run is not finished.
    """
    run.check_finished()
    facts = facts_of(run)
    title = plain(facts["title"]) if "title" in facts else run.study.name
    parts = [f"# {title}", "## Methods"]
    for heading, templates in METHOD.items():
        parts += [f"### {heading}", *in_markdown(templates, facts, "the authors")]
    parts += ["## Results", *_results(run, facts), "## References"]
    for what, works in cited(run.study, plain(facts.get("origin", []))).items():
        parts.append(f"{what}:\n\n" + "\n".join(f"- {work}" for work in works))
    return "\n\n".join(parts) + "\n"


def _results(run: Run, facts: Facts) -> list[str]:
    """Return the main result and the tables that the run has."""
    found = []
    if "verdict" in facts:
        found += [
            f"Primary comparison, {plain(facts['verdict'])}",
            _table("Verdicts", run.verdicts, headings(*VERDICTS)),
        ]
    if run.has("results"):
        rows = whole(run)
        shown_rows = rows[(rows["trained_at"] == ALL) & (rows["tested_at"] == run.together)]
        where = "all hospitals' patients" if run.together == ALL else "mean over hospitals, each tested on its own"
        what = f"{plain(facts['metric'])} per {run.study.evaluation.unit}, {where}"
        found.append(_table(what, shown_rows, headings(*RESULTS)))
    if run.has("flow"):
        found.append(_table("Where patients went", run.flow, headings(*FLOW)))
    if run.has("holdings"):
        held = run.holdings
        first = held[(held["draw"] == held["draw"].iloc[0]) & (held["split"] == ALL)]
        found.append(_table("Hospitals in the first draw", first, headings(*HOLDINGS)))
    return found


def _table(caption: str, frame: pd.DataFrame, columns: Mapping[str, str]) -> str:
    """Return rows of a table of the run, with a caption above."""
    head = _line([*columns.values()])
    rule = _line(["---"] * len(columns))
    rows = [_line([shown(value) for value in values]) for values in frame[[*columns]].itertuples(index=False)]
    return "\n".join([f"{caption}:", "", head, rule, *rows])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
