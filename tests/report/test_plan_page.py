"""The page of a plan in a real browser, with and without a pilot's rows, and what its charts draw."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser

from fedmammo.commands.plan import Planned
from fedmammo.planning.assumptions import MEANING, Arms, Assumptions
from fedmammo.planning.bases import bases_of
from fedmammo.planning.development import development_table
from fedmammo.planning.pilot import Pilot
from fedmammo.planning.precision import Components, Repeats
from fedmammo.planning.tables import answer, plan_table, power_table
from fedmammo.planning.tested import Tested as Place
from fedmammo.report.plan_page import plan_page
from fedmammo.report.plan_words import parts_of
from tests.report.browser import chromium, drawn, faults, opened
from tests.report.made_up import study_of

ALL = Place("all", 300, 150, 150, 150, 150, (1,) * 300, 1)
NAMES = ("hospital_1", "hospital_2", "small_<b>hospital</b>")
PLACES = [ALL, *(ALL._replace(name=name, patients=size, positives=size / 2, benign=size / 2, malignant=size / 2,
                              fewest=size // 2) for name, size in zip(NAMES, (200, 90, 10), strict=True))]  # fmt: skip


def planned(pilot: bool) -> Planned:
    """Return the plan of made-up patients."""
    assumed, repeats = Assumptions(), Repeats(1, 20)
    parts = Components(0.0, 3e-4, 0.0, 4e-4, 1e-4, 100, 98)
    pilots = {name: Pilot(parts, repeats, 0.7, 0.6, 1.0, 100, 50) for name in ("all", *NAMES)} if pilot else None
    bases = bases_of(PLACES, assumed, Arms(3, True, repeats), pilots)
    plan = plan_table(bases, 0.05, 0.0)
    training = {place.name: round(0.6 * place.patients) for place in PLACES}
    rows = [(name, value, "assumed", np.nan, MEANING[name]) for name, value in assumed.numbers().items()]
    tables = {
        "plan": plan,
        "power": power_table(bases, 0.05, 0.0),
        "development": development_table(PLACES, training, 0.75, 10, 0.5),
        "assumptions": pd.DataFrame(rows, columns=["name", "value", "source", "pilot", "meaning"]),
    }
    return Planned(study_of(3, ("real",), 20, 0), "compared", answer(plan), tables, [], ["north: would refuse"], 0.5)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.mark.parametrize(("pilot", "width", "scheme"), [(False, 1280, "light"), (True, 400, "dark")])
def test_a_page_has_no_faults(browser: Browser, tmp_path: Path, pilot: bool, width: int, scheme: str) -> None:
    page = tmp_path / "plan.html"
    page.write_text(plan_page(planned(pilot)))
    assert faults(browser, page, width, scheme) == []


def test_a_planner_chooses_a_hospital(browser: Browser, tmp_path: Path) -> None:
    path, complaints = tmp_path / "plan.html", list[str]()
    path.write_text(plan_page(planned(True)))
    page = opened(browser, path, complaints)
    drawn(page)
    chart = page.locator("#more figure.chart")
    line = chart.locator(".mark-line path").first
    before = line.get_attribute("d")
    chart.locator("select").select_option("hospital_2")
    page.wait_for_timeout(100)
    assert line.get_attribute("d") != before and complaints == []


def test_names_are_text_on_the_page() -> None:
    page = plan_page(planned(False))
    assert "<b>hospital</b>" not in page and "small_&lt;b&gt;hospital" in page


def test_the_screen_tells_the_same_tables() -> None:
    parts = {part.title: part for part in parts_of(planned(True))}
    sure = parts["how sure the study will be"].table
    assert sure is not None and len(sure) == 8 and sure["from"].tolist() == ["assumed", "pilot"] * 4
    power = parts["more or fewer patients, over all hospitals"].table
    assert power is not None and {"superior", "non-inferior"} < set(power) and "tested at" not in power
    assert parts["privacy"].lines[-1] == "north: would refuse" and parts["privacy"].table is None
    assert parts["plan of made-up"].lines[-1].startswith("small_<b>hospital</b>: will not be assessable (10 patients")
