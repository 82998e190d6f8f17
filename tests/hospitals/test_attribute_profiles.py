"""Hospitals by attribute that a profile describes: their devices are its own, their patients those with the value."""

from typing import Any

import pytest

from fedmammo.cohort.store import Cohort
from fedmammo.config.study import parse
from fedmammo.errors import InputError
from fedmammo.hospitals.dealing import deal
from fedmammo.hospitals.digitiser import load_digitiser


def test_a_profile_describes_the_hospital_of_a_value(phantom_study: dict[str, Any], phantom_cohort: Cohort) -> None:
    rule = {"by": "attribute", "attribute": "density"}
    plain = deal(phantom_cohort, parse(phantom_study | {"hospitals": {"assignment": rule}}, "test"))
    name = plain.names[-1]
    described = rule | {"profiles": {name: "digital_centre"}}
    dealt = deal(phantom_cohort, parse(phantom_study | {"hospitals": {"assignment": described}}, "test"))
    assert dealt.names == plain.names
    assert dealt.profiles[-1].images_per_second == 200 and dealt.profiles[0] == plain.profiles[0]
    patients = dealt.draws[0]
    assert (patients["hospital"] == plain.draws[0]["hospital"]).all()
    device = load_digitiser("digital_detector").digest
    assert set(patients.loc[patients["hospital"] == name, "digitiser"]) == {device}
    assert set(patients.loc[patients["hospital"] != name, "digitiser"]) == {""}


def test_a_profile_of_no_hospital_is_refused(phantom_study: dict[str, Any], phantom_cohort: Cohort) -> None:
    rule = {"by": "attribute", "attribute": "density", "profiles": {"north": "digital_centre"}}
    with pytest.raises(InputError, match="profiles: the study has no hospital north; it has density-"):
        deal(phantom_cohort, parse(phantom_study | {"hospitals": {"assignment": rule}}, "test"))
