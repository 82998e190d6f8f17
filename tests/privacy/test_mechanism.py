"""What a mechanism is, and what none can be."""

import json
from dataclasses import replace
from math import inf, nan

import pytest

from fedmammo.privacy.mechanism import Mechanism

MECHANISM = Mechanism("train", clipping_norm=1.0, noise_multiplier=1.5, rate=0.2, rounds=20, local_steps=10)


def test_trap_05_steps_are_those_of_all_rounds():
    """Noise for 20 rounds would be too little: 20 rounds of 10 steps draw 200 times."""
    assert MECHANISM.steps == 200


def test_travels_as_json():
    assert Mechanism(**json.loads(json.dumps(MECHANISM.to_dict()))) == MECHANISM


@pytest.mark.parametrize("name", ["clipping_norm", "noise_multiplier", "rate", "rounds", "local_steps"])
@pytest.mark.parametrize("value", [0, -1, nan, inf])
def test_every_number_is_positive_and_finite(name, value):
    with pytest.raises(ValueError, match=f"^{name.replace('_', ' ')} .* is not a positive number$"):
        replace(MECHANISM, **{name: value})


@pytest.mark.parametrize("name", ["rounds", "local_steps"])
def test_parts_of_a_step_are_refused(name):
    with pytest.raises(ValueError, match="whole numbers"):
        replace(MECHANISM, **{name: 1.5})


def test_a_rate_above_one_is_refused():
    with pytest.raises(ValueError, match=r"rate 1\.01 is not a probability"):
        replace(MECHANISM, rate=1.01)


def test_an_unknown_stage_is_refused():
    with pytest.raises(ValueError, match="nobody knows stage tuning"):
        replace(MECHANISM, stage="tuning")


@pytest.mark.parametrize("spare", [-1, 0.5])
def test_spare_rounds_are_whole_and_count(spare):
    assert replace(MECHANISM, spare=2).releases == 22 and replace(MECHANISM, spare=2).steps == 220
    with pytest.raises(ValueError, match="spare rounds are not a whole number"):
        replace(MECHANISM, spare=spare)
