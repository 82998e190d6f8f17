"""Checklists for reporting: which item asks what, and what a run and its people answer."""

from functools import cache
from importlib.resources import files

import yaml
from pydantic import Field

from fedmammo.config.about import About
from fedmammo.config.schema import Section
from fedmammo.report.blocks import Asked, Block, Text
from fedmammo.report.facts import Facts, sentences
from fedmammo.report.prose import asked

NAMES = ("tripod_ai", "tripod_cluster", "claim_2024")


class Item(Section):
    """An item of a checklist.

    Attributes:
        id: as published, such as `3a`.
        section: of the paper.
        topic: within it.
        asks: what it asks for, in our own words.
        run: sentences with facts in braces; one whose facts are not known is left out.
        about: the key of a study's `about` that answers it, or a part of it.
        people: what else people have to write.
    """

    id: str = Field(pattern=r"^[0-9]+[a-z]?$")
    section: str
    topic: str
    asks: str
    run: tuple[str, ...] = ()
    about: str = ""
    people: str = ""


class Checklist(Section):
    """A checklist, as its file says it; `citation` is where it was published."""

    title: str
    citation: str
    items: list[Item]


@cache
def checklist(name: str) -> Checklist:
    """Read one of `NAMES`."""
    path = files("fedmammo.report") / "checklists" / f"{name}.yaml"
    return Checklist.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def answers(name: str, item: Item, about: About, facts: Facts) -> tuple[list[Block], bool]:
    """Answer an item of a checklist, and say whether nothing is left to people.

    People's own answer stands in place of the run's. What they have not written yet is asked for.
    """
    own = about.items.get(f"{name}-{item.id}", "")
    if own:
        return [Text([own])], True
    said = sentences(item.run, facts)
    found: list[Block] = [Text(said)] if said else []
    if item.about in facts:
        return [*found, Text(facts[item.about])], True
    if item.about:
        return [*found, asked(item.about)], False
    if item.people or not said:
        return [*found, Asked(item.people or item.asks)], False
    return found, True
