"""Settings: the name of one says what is learned from, and under which budget."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from fedmammo.config.setting import KINDS, Kind, Setting, SettingName

NAMES: TypeAdapter[str] = TypeAdapter(SettingName)


@pytest.mark.parametrize(
    ("name", "kind", "epsilon"),
    [
        ("real", "real", None),
        ("real-epsilon-6", "real", 6.0),
        ("pretrained-epsilon-0.5", "pretrained", 0.5),
        ("augmented", "augmented", None),
        ("synthetic-epsilon-10", "synthetic", 10.0),
    ],
)
def test_a_name_is_read(name: str, kind: Kind, epsilon: float | None) -> None:
    assert Setting.of(name) == Setting(kind, epsilon)


@given(kind=st.sampled_from(KINDS), whole=st.integers(0, 10**6), part=st.none() | st.integers(0, 999))
def test_a_budget_is_the_number_that_is_written(kind: Kind, whole: int, part: int | None) -> None:
    number = str(whole) if part is None else f"{whole}.{part:03d}"
    name = f"{kind}-epsilon-{number}"
    assert NAMES.validate_python(name) == name
    assert Setting.of(name) == Setting(kind, float(number))


@pytest.mark.parametrize("name", ["imagined", "", "REAL", "imagined-epsilon-6", "real-delta-6"])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"nobody knows a setting {name}")):
        Setting.of(name)


@pytest.mark.parametrize("name", ["real-epsilon-", "real-epsilon--1", "real-epsilon-1e3", "real-epsilon-inf", "real-"])
def test_a_study_names_no_budget_that_is_not_a_plain_number(name: str) -> None:
    with pytest.raises(ValidationError):
        NAMES.validate_python(name)


def test_which_settings_learn_from_patients() -> None:
    assert {kind for kind in KINDS if Setting(kind, None).of_patients} == {"real", "augmented", "pretrained"}
