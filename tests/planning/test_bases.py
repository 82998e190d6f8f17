"""Whose numbers stand for which hospital, and what a pilot cannot tell."""

import pytest

from fedmammo.planning.assumptions import Arms, Assumptions
from fedmammo.planning.bases import bases_of
from fedmammo.planning.pilot import Pilot
from fedmammo.planning.precision import Components, Repeats
from fedmammo.planning.tested import Tested as Place

ALL = Place("all", 200, 100, 100, 100, 100, (1,) * 200, 1)
NORTH = ALL._replace(name="north", patients=50.0, benign=25.0, malignant=25.0)
NOBODY = ALL._replace(name="west", patients=0.0, benign=0.0, malignant=0.0, units=())
PARTS = Components(0.0, 3e-4, 0.0, 4e-4, 1e-4, 100, 98)


def pilots(repeats: Repeats, *names: str) -> dict[str, Pilot]:
    return {name: Pilot(PARTS, repeats, 0.7, 0.6, 1.0, 100, 50) for name in ("all", *names)}


def test_without_a_pilot_each_place_that_tests_somebody_has_a_row() -> None:
    found = bases_of([ALL, NORTH, NOBODY], Assumptions(), Arms(2, True, Repeats(1, 20)))
    assert [(one.name, one.tested.name) for one in found] == [("assumed", "all"), ("assumed", "north")]


def test_a_hospital_of_the_pilot_with_its_new_number_of_patients() -> None:
    """Half as many: twice the variance over patients, and all that draws differ by came from patients."""
    arms = Arms(2, True, Repeats(1, 20))
    _, over_all, _, north = bases_of([ALL, NORTH], Assumptions(), arms, pilots(Repeats(1, 10), "north"))
    assert north.parts == pytest.approx((0, 6e-4, 0, 8e-4, 2e-4, 50, 49)) and north.note == ""
    assert over_all.parts == pytest.approx((0, 1.5e-4, 0, 2e-4, 5e-5, 200, 196))


def test_a_hospital_that_the_pilot_does_not_know() -> None:
    arms = Arms(2, True, Repeats(1, 20))
    known, unknown = (
        bases_of([ALL, NORTH], Assumptions(), arms, pilots(Repeats(1, 10), *names))[3]
        for names in (("east", "south"), ())
    )
    assert known.parts == pytest.approx((0, 6e-4, 0, 8e-4, 2e-4, 50, 49))
    assert known.note == "no such hospital in the pilot: the mean of its hospitals"
    assert unknown.note == "no hospital in the pilot is assessable: as over all"


def test_what_the_pilot_did_not_repeat_is_assumed() -> None:
    one = pilots(Repeats(1, 1))
    draws = bases_of([ALL], Assumptions(), Arms(2, True, Repeats(1, 20)), one)[1]
    assert draws.note == "one draw in the pilot: what draws differ by is assumed"
    assert draws.parts.shared == pytest.approx(draws.parts.alone * 0.1 / (1 + 1.3 / 2 - 1.2))
    assert draws.parts.draws == pytest.approx(0.015**2 + draws.parts.alone - draws.parts.shared)
    seeds = bases_of([ALL], Assumptions(), Arms(2, True, Repeats(5, 1)), one)[1]
    assert seeds.parts.seeds == pytest.approx(0.006**2) and seeds.parts.shared == seeds.parts.alone
    both = bases_of([ALL], Assumptions(), Arms(2, True, Repeats(3, 20)), pilots(Repeats(1, 10)))[1]
    assert both.note == seeds.note == "one seed in the pilot: what seeds differ by is assumed"
    assert both.parts == pytest.approx(PARTS.with_patients(200)._replace(seeds=0.006**2))
