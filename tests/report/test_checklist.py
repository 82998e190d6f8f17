"""Checklists are whole, in their published numbering, and name facts that there are."""

import re
from pathlib import Path

import pytest

from fedmammo.config.about import About
from fedmammo.report.blocks import Asked, Text
from fedmammo.report.checklist import NAMES, answers, checklist
from fedmammo.report.facts import facts_of, names_in, plain
from fedmammo.report.prose import METHOD, paragraphs
from tests.report.told import KEYS, told_run


@pytest.mark.parametrize(("name", "items", "parts"), [("tripod_ai", 27, 52), ("tripod_cluster", 19, 37),
                                                      ("claim_2024", 44, 44)])  # fmt: skip
def test_every_item_is_there_once_and_in_order(name: str, items: int, parts: int) -> None:
    found = [item.id for item in checklist(name).items]
    numbers = [re.fullmatch("([0-9]+)([a-z]?)", one) for one in found]
    order = [(int(match[1]), match[2]) for match in numbers if match]
    assert len(found) == len(order) == len(set(order)) == parts
    assert order == sorted(order) and {number for number, _ in order} == set(range(1, items + 1))
    for number in range(1, items + 1):
        letters = "".join(letter for own, letter in order if own == number)
        assert letters == "abcdefgh"[: len(letters)]


def test_what_a_template_names_is_a_fact_and_what_people_are_asked_for_a_key(tmp_path: Path) -> None:
    facts = facts_of(told_run(tmp_path))
    for item in (item for name in NAMES for item in checklist(name).items):
        assert item.run or item.about or item.people
        assert {fact for template in item.run for fact in names_in(template)} <= facts.keys(), item
        assert not item.about or item.about in KEYS
    for templates in METHOD.values():
        assert {fact for template in templates for fact in names_in(template)} <= {*facts, "at_home"}, (
            "which studies of rows do not have"
        )


def test_answers_of_a_run_of_people_and_of_nobody(tmp_path: Path) -> None:
    facts = facts_of(told_run(tmp_path / "told"))
    empty = {name: parts for name, parts in facts.items() if name not in KEYS}
    items = {item.id: item for item in checklist("tripod_ai").items}
    (said,), whole = answers("tripod_ai", items["4"], About(), facts)
    assert isinstance(said, Text) and plain(said.parts).startswith("Models are developed and evaluated. The main")
    assert whole
    (told,), whole = answers("tripod_ai", items["18a"], About(), facts)
    assert isinstance(told, Text) and plain(told.parts) == "what people say of funding" and whole
    (field,), whole = answers("tripod_ai", items["18a"], About(), empty)
    assert isinstance(field, Asked) and field.label.startswith("about.funding: ") and not whole
    (_, field), whole = answers("tripod_ai", items["6a"], About(), empty)
    assert isinstance(field, Asked) and not whole
    own = About(items={"tripod_ai-4": "ours"})
    (said,), whole = answers("tripod_ai", items["4"], own, facts)
    assert isinstance(said, Text) and plain(said.parts) == "ours" and whole
    (field,), whole = answers("tripod_ai", items["20a"], About(), {})
    assert isinstance(field, Asked) and field.label == items["20a"].asks and not whole


def test_prose_leaves_out_what_is_not_known_and_asks_people() -> None:
    said, field = paragraphs(["Of {a}.", "Of {b}.", "{funding}"], {"a": ["x"]})
    assert isinstance(said, Text) and plain(said.parts) == "Of x."
    assert isinstance(field, Asked) and field.label.startswith("about.funding: Who paid")
    (said,) = paragraphs(["Of {a}.", "{funding}"], {"a": ["x"], "funding": ["None."]})
    assert isinstance(said, Text) and plain(said.parts) == "Of x. None."
