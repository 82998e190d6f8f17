"""A hospital's own floors and ceilings."""

import pytest
from pydantic import ValidationError

from fedmammo.hospitals.profiles import Profile
from fedmammo.privacy.limits import Limits, strictest


def test_they_are_a_part_of_the_profile() -> None:
    profile = Profile.model_validate({"name": "A", "privacy": {"maximum_epsilon": 2, "central_trust": "refused"}})
    assert profile.privacy == Limits(maximum_epsilon=2, central_trust="refused")
    assert Profile(name="B").privacy == Limits()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("maximum_epsilon", 0),
        ("maximum_epsilon", float("nan")),
        ("maximum_delta", 1),
        ("minimum_noise_multiplier", 0),
        ("maximum_clipping_norm", 0),
        ("minimum_noise", 1),
    ],
)
def test_limits_that_are_none_are_refused(name: str, value: float) -> None:
    """A floor of zero would let a server ask for no noise at all."""
    with pytest.raises(ValidationError):
        Limits.model_validate({name: value})


def test_who_holds_all_patients_keeps_to_what_each_hospital_allows() -> None:
    one = Limits(maximum_epsilon=5, maximum_delta=1e-5, minimum_noise_multiplier=0.1, central_trust="refused")
    other = Limits(maximum_epsilon=50, maximum_clipping_norm=2, without_budget="refused")
    assert strictest([one, other]) == Limits(
        maximum_epsilon=5,
        maximum_delta=1e-5,
        minimum_noise_multiplier=0.1,
        maximum_clipping_norm=2,
        without_budget="refused",
        central_trust="refused",
    )
    assert strictest([Limits(), Limits()]) == Limits()
