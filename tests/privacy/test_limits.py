"""A hospital's own floors and ceilings."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from fedmammo.hospitals.profiles import OPEN, Profile
from fedmammo.hospitals.site_file import SiteFile
from fedmammo.privacy.limits import Limits, strictest


def test_they_are_a_part_of_the_profile() -> None:
    profile = Profile.model_validate({"name": "A", "privacy": {"maximum_epsilon": 2, "central_trust": "accepted"}})
    assert profile.privacy == Limits(maximum_epsilon=2, central_trust="accepted")
    assert Profile(name="B").privacy == Limits()


def test_what_nobody_allows_is_refused() -> None:
    assert (Limits().without_budget, Limits().central_trust) == ("refused", "refused")
    assert (OPEN.without_budget, OPEN.central_trust) == ("accepted", "accepted")
    assert SiteFile(name="A", cohort=Path("c"), state=Path("s")).limits == Limits()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("maximum_epsilon", 0),
        ("maximum_epsilon", float("nan")),
        ("maximum_delta", 1),
        ("minimum_noise_multiplier", 0),
        ("maximum_clipping_norm", 0),
        ("lifetime_epsilon", 0),
        ("lifetime_epsilon", float("inf")),
        ("lifetime_delta", 1),
        ("minimum_noise", 1),
        ("minimum_honest", 0),
    ],
)
def test_limits_that_are_none_are_refused(name: str, value: float) -> None:
    """A floor of zero would let a server ask for no noise at all."""
    with pytest.raises(ValidationError):
        Limits.model_validate({name: value})


def test_who_holds_all_patients_keeps_to_what_each_hospital_allows() -> None:
    one = Limits(maximum_epsilon=5, maximum_delta=1e-5, minimum_noise_multiplier=0.1, without_budget="accepted")
    other = Limits(maximum_epsilon=50, maximum_clipping_norm=2, lifetime_epsilon=7, lifetime_delta=1e-6,
                   minimum_honest=3)  # fmt: skip
    trusting = {"central_trust": "accepted"}
    assert strictest([one.model_copy(update=trusting), other.model_copy(update=trusting)]) == Limits(
        maximum_epsilon=5,
        maximum_delta=1e-5,
        minimum_noise_multiplier=0.1,
        maximum_clipping_norm=2,
        lifetime_epsilon=7,
        lifetime_delta=1e-6,
        without_budget="refused",
        central_trust="accepted",
        minimum_honest=3,
    )
    assert strictest([Limits(), Limits()]) == Limits()
    assert strictest([OPEN, OPEN]) == OPEN
    assert strictest([OPEN]).model_fields_set == set(Limits.model_fields), "a limit that is forgotten has its default"
