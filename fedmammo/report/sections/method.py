"""How the study was done, how to do it again, and what checklists for reporting ask."""

from collections.abc import Sequence

import yaml

from fedmammo.config.about import About
from fedmammo.config.arm import ALL
from fedmammo.config.study import StudyConfig
from fedmammo.report.blocks import Asked, Block, Cell, Table, Text, text
from fedmammo.report.chapter import Chapter, headings, portable
from fedmammo.report.checklist import NAMES, answers, checklist
from fedmammo.report.citations import cited
from fedmammo.report.facts import Facts, facts_of, names_in, plain
from fedmammo.report.outline import Entries, Entry, Folded, Part, Typed
from fedmammo.report.prose import METHOD, asked, paragraphs
from fedmammo.run.results import Run

FLOW = headings("stage", "name", "patients", "images", "malignant", "note")
IN_WORDS = {"trained": "trained models", "thresholds": "set thresholds", "tested": "tested", "no part": "had no part"}
TUNING = "What was tuned on whom"


def blocks(run: Run) -> Sequence[Block]:
    """Return the method, what people say of the study, and the checklists."""
    facts = facts_of(run)
    rests_on = cited(run.study, plain(facts.get("origin", []))).items()
    return [
        *([Part("Patients", _flow(run))] if run.has("flow") else []),
        *(Part(title, _written(title, paragraphs(templates, facts))) for title, templates in METHOD.items()),
        Part("To do it again", [
            text("The same study on the same cohort gives the same bytes. Save the configuration as study.yaml."),
            Typed("fedmammo run study.yaml --out again"),
            Folded("Configuration", [Typed(yaml.safe_dump(portable(run.study), sort_keys=False, allow_unicode=True))]),
        ]),
        Part("What people tell", _told(facts)),
        Part("To be cited", [Entries([Entry([what], [Entry([work]) for work in works]) for what, works in rests_on])]),
        Part("Checklists", [_checklist(name, run.study, facts) for name in NAMES]),
    ]  # fmt: skip


def _written(title: str, found: Sequence[Block]) -> list[Block]:
    """Leave out what people have not written, but for what was tuned on whom: one list asks for all of it."""
    return [block for block in found if title == TUNING or not isinstance(block, Asked)]


def _told(facts: Facts) -> list[Block]:
    """Return what people say of the study that the prose does not, and ask for what they have not said."""
    keys = [key for key in About.model_fields if key != "items"]
    in_prose = {name for templates in METHOD.values() for template in templates for name in names_in(template)}
    said = [Text([f"{key.replace('_', ' ').capitalize()}: ", *facts[key]]) for key in keys
            if key in facts and key not in in_prose]  # fmt: skip
    missing = [asked(key) for key in keys if key not in facts and f"{{{key}}}" not in METHOD[TUNING]]
    ask = "To be written by the authors, here or in the study's configuration"
    return [*said, *([Folded(ask, missing)] if missing else [])]


def _checklist(name: str, study: StudyConfig, facts: Facts) -> Folded:
    """Return a checklist, item by item."""
    found, items = checklist(name), []
    for item in found.items:
        answer, whole = answers(name, item, study.about, facts)
        summary = f"{item.id} {item.section}, {item.topic}" if item.topic != item.section else f"{item.id} {item.topic}"
        items.append(Folded(f"{summary}: {item.asks}", answer, "" if whole else "to be completed"))
    return Folded(found.title, [text(found.citation, kind="small"), *items])


def _flow(run: Run) -> list[Block]:
    """Return the patients' way as boxes, and as a table."""
    flow = run.flow

    def entry(at: int, label: str) -> Entry:
        row = flow.loc[at]
        counts: list[str | Cell] = []
        for key, unit in (("patients", " patients"), ("malignant", " with a malignant lesion"), ("images", " images")):
            if row[key] == row[key]:
                unit = " rows or files" if row["stage"] in ("listed", "quarantined") else unit
                counts += [", " if counts else "", Cell("flow", at, key, row[key]), unit]
        return Entry([f"{label}: ", *counts])

    def entries(stage: str) -> list[Entry]:
        rows = flow[(flow["stage"] == stage) & (flow["name"] != ALL)]
        return [entry(int(str(at)), str(name)) for at, name in rows["name"].items()]

    def first(stage: str, label: str) -> Entry:
        return entry(int(str(flow.index[flow["stage"] == stage][-1])), label)

    lost = Entry(first("quarantined", "could not be prepared").parts, entries("quarantined"))
    ways = [Entry(["by split"], entries("split")), Entry(["by hospital"], entries("hospital")),
            Entry(["in the study"], [first(stage, label) for stage, label in IN_WORDS.items()])]  # fmt: skip
    whole = Entry(first("prepared", "prepared").parts, ways)
    boxes = Entries([Entry(first("listed", "listed").parts, [lost, whole])], "flow", "where patients went")
    return [
        boxes,
        text("Hospitals, and who trained and was tested, are of ",
             Cell("flow", len(flow) - 1, "note", flow["note"].iloc[-1]), ".", kind="small"),
        Table("Where patients went", flow, FLOW, "flow", folded=True),
    ]  # fmt: skip


CHAPTER = Chapter("method", "Method and reporting", (), blocks)
