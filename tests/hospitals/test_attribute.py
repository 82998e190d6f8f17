"""Hospitals by a recorded attribute: names, rare values, patients without one."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmammo.config.sections import HospitalsConfig
from fedmammo.errors import InputError
from fedmammo.hospitals.assignment import assign, hospital_names
from fedmammo.hospitals.attribute import hospitals_by_attribute
from fedmammo.hospitals.profiles import Profile
from fedmammo.hospitals.rules import ByAttribute


def patients(values: list[object], column: str = "margins", split: list[str] | None = None) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "malignant": [number % 2 == 0 for number in range(len(values))],
            "images": 1,
            "split": split or "train",
            column: values,
        },
        index=[f"P_{number:03d}" for number in range(len(values))],
    )


def config(attribute: str = "margins", minimum: int = 1) -> HospitalsConfig:
    rule = {"by": "attribute", "attribute": attribute, "minimum_patients": minimum}
    return HospitalsConfig.model_validate({"assignment": rule})


def test_each_value_has_its_hospital() -> None:
    table = patients(["SPICULATED"] * 3 + ["CIRCUMSCRIBED"] * 2)
    assert hospital_names(config(), table) == ["margins-CIRCUMSCRIBED", "margins-SPICULATED"]
    assert assign(table, config()).tolist() == ["margins-SPICULATED"] * 3 + ["margins-CIRCUMSCRIBED"] * 2


def test_rare_values_share_a_hospital() -> None:
    """Of 5, 2 and 1 patients, the last two are below 3; the value named `other` is one of them."""
    table = patients(["a"] * 5 + ["b"] * 2 + ["other"])
    assert hospital_names(config(minimum=3), table) == ["margins-a", "margins-other"]
    assert assign(table, config(minimum=3)).tolist() == ["margins-a"] * 5 + ["margins-other"] * 3
    assert hospital_names(config(minimum=9), table) == ["margins-other"]


def test_patients_without_a_value_are_spread_in_proportion() -> None:
    """20 and 10 patients; of six without a value 4 and 2 are added. Blank text is no value."""
    table = patients(["a"] * 20 + ["b"] * 10 + [None, "", "  ", float("nan"), pd.NA, None])
    added = assign(table, config())[30:]
    assert added.value_counts().to_dict() == {"margins-a": 4, "margins-b": 2}


def test_a_value_that_nobody_trains_with_counts_as_none() -> None:
    table = patients(["a"] * 4 + ["b"] * 2 + ["c"] * 3, split=["train"] * 6 + ["test"] * 3)
    assert hospital_names(config(), table) == ["margins-a", "margins-b"]
    assert assign(table, config())[6:].value_counts().to_dict() == {"margins-a": 2, "margins-b": 1}


def test_numbers_ascend_as_numbers_and_density_zero_is_unknown() -> None:
    table = patients(pd.array([10, 9, 2, None] * 3, dtype="Int64"), "subtlety")
    assert hospital_names(config("subtlety"), table) == ["subtlety-2", "subtlety-9", "subtlety-10"]
    table = patients(pd.array([0, 4, 2, None] * 3, dtype="Int64"), "density")
    assert hospital_names(config("density"), table) == ["density-2", "density-4"]


def test_names_are_safe_and_differ() -> None:
    """What a folder cannot be called becomes a dash; names that then are alike are numbered in the values' order."""
    values = ["St. Mary", "St/Mary", "../up", "北京", "上海", "x" * 200]
    names = hospital_names(config("my site"), patients(values * 2, "my site"))
    assert names == [
        "my-site-up",
        "my-site-St-Mary",
        "my-site-St-Mary-2",
        "my-site-" + "x" * 52,
        "my-site",
        "my-site-2",
    ]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.none() | st.text(max_size=80), min_size=1, max_size=30), st.integers(1, 5))
def test_any_column_gives_hospitals_that_a_study_can_have(values: list[str | None], minimum: int) -> None:
    """Every name makes a profile; every patient is dealt; patients with one value stay together."""
    values = values * 2  # a column that is another for every patient is refused
    table = patients(list(values))
    if not any(value and value.strip() for value in values):
        with pytest.raises(InputError, match="no training patient of the cohort has a margins"):
            hospital_names(config(minimum=minimum), table)
        return
    names = hospital_names(config(minimum=minimum), table)
    assert len(set(names)) == len(names)
    for name in names:
        Profile(name=name)
    hospital_of = assign(table, config(minimum=minimum))
    assert set(hospital_of) == set(names)
    has_value = np.array([bool(value and value.strip()) for value in values])
    assert (hospital_of[has_value].groupby(np.array(values, dtype=object)[has_value]).nunique() == 1).all()


def test_a_column_that_is_another_for_every_patient_names_patients() -> None:
    """Two who share a value would do, and so does one hospital for all rare values."""
    numbers = [f"MRN {number}" for number in range(5)]
    with pytest.raises(InputError, match="record is another for every training patient, so hospitals would be called"):
        hospital_names(config("record"), patients(numbers, "record"))
    assert hospital_names(config("record", minimum=2), patients(numbers, "record")) == ["record-other"]
    assert len(hospital_names(config("record"), patients([*numbers, "MRN 4"], "record"))) == 5


def test_a_column_that_is_not_there_lists_those_that_are() -> None:
    with pytest.raises(InputError, match=r"attribute: the cohort has no column 'margin'; expected one of .*margins$"):
        hospitals_by_attribute(patients(["a"]), np.array([True]), ByAttribute(by="attribute", attribute="margin"))


@pytest.mark.parametrize("column", ["image", "source", "images", "split", "patient", "weather"])
def test_what_names_a_patient_names_no_hospital(column: str) -> None:
    """A hospital's name goes into every table of a run, where no identity may be."""
    table = patients(["P_1/scan", "P_2/scan"], column=column)
    table.index.name = "patient"
    if column in ("patient", "weather"):  # the one is the index, the other nowhere
        table = table.drop(columns=column)
    with pytest.raises(InputError, match=f"attribute: the cohort has no column '{column}'"):
        hospital_names(config(column), table)
