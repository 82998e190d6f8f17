"""What a study at real hospitals may say."""

from typing import Any

import pytest

from fedmammo.config.study import StudyConfig, parse
from fedmammo.errors import InputError

KEY = "ecdsa-sha2-nistp384 AAAA"
LINK = {"address": "fl.example.org:8000", "certificate": "ca.crt", "secret": "secret"}
RULE = {"assignment": {"by": "site", "keys": {"north": f"{KEY}A north", "south": f"{KEY}B"}}}


def at_sites(small_study: dict[str, Any], **more: Any) -> StudyConfig:
    """The small study at two hospitals."""
    engine = {"name": "superlink", "link": LINK}
    content = {"cohort": {}, "hospitals": RULE, "engine": engine, "arms": ["local", "federated"]}
    return parse(small_study | content | more, "study.yaml")


def test_hospitals_are_those_with_keys_and_there_is_no_cohort(small_study: dict[str, Any]) -> None:
    config = at_sites(small_study, arms=["without_one"])
    assert config.at_sites and list(config.keys) == ["north", "south"]
    assert [one.members for one in config.deployments] == [("south",), ("north",)]
    with pytest.raises(InputError, match=r"^cohort\.path: real hospitals hold their own patients"):
        _ = config.cohort_folder


def test_a_deployment_is_the_same_value_wherever_it_runs(small_study: dict[str, Any]) -> None:
    simulated = parse(small_study | {"arms": ["local", "federated"]}, "study.yaml")
    assert [one.digest for one in simulated.deployments] == [one.digest for one in at_sites(small_study).deployments]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cohort": {"path": "cohort"}}, "cohort.path: real hospitals hold their own patients"),
        ({"engine": {"name": "inline"}}, "engine: real hospitals connect to a SuperLink"),
        ({"engine": {"name": "superlink"}}, "engine: real hospitals connect to a SuperLink"),
        ({"arms": ["centralized", "federated"]}, "arms: centralized needs all patients in one place"),
        ({"settings": ["real", "real-epsilon-6"]}, "settings: some have a budget and some have none"),
        ({"faults": [{"hospital": "north", "kind": "late"}]}, "faults: belong to simulations"),
        ({"hospitals": RULE | {"seed": 3}}, "hospitals.seed: nobody deals real hospitals' patients; leave it out"),
        ({"hospitals": RULE | {"seed": [0, 1]}}, "hospitals.seed: nobody deals real hospitals' patients; leave it out"),
        ({"privacy": {"secret_seed": 1}}, "privacy.secret_seed: real hospitals have secrets of their own"),
    ],
)
def test_what_real_hospitals_cannot_be_asked(small_study: dict[str, Any], change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=r"^study\.yaml: ") as caught:
        at_sites(small_study, **change)
    assert said in str(caught.value)


def test_what_a_simulation_cannot_be_asked(small_study: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"^study\.yaml: engine: a SuperLink is for real hospitals"):
        parse(small_study | {"engine": {"name": "inline", "link": LINK}}, "study.yaml")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "keys"),
        ({"north": "ssh-rsa AAAA"}, "keys.north"),
        ({"../north": KEY}, "keys"),
        ({"all": KEY}, "'all' is taken"),
        ({"north": KEY, "south": f"{KEY} south"}, "two hospitals have the same key"),
    ],
)
def test_keys_are_of_hospitals_one_each(small_study: dict[str, Any], keys: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=r"^study\.yaml: hospitals\.assignment") as caught:
        at_sites(small_study, hospitals={"assignment": {"by": "site", "keys": keys}})
    assert said in str(caught.value)
