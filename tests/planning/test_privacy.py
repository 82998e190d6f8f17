"""The noise of each budget beside what hospitals' patients say, and who would refuse."""

from typing import Any

import pytest

from fedmammo.config.deployment import Deployment
from fedmammo.config.study import parse
from fedmammo.planning.privacy import privacy_rows, refused_without_budget
from fedmammo.privacy.limits import Limits

OPEN = Limits(without_budget="accepted", central_trust="accepted")
PATIENTS = {"north": 100, "south": 20}


def deployment(content: dict[str, Any], setting: str = "real-epsilon-6", trust: str = "local") -> Deployment:
    content["settings"], content["privacy"] = [setting], {"trust": trust}
    content["federation"] = {"rounds": 4, "local_steps": 1}
    return parse(content, "small").deployment("federated", setting)


def test_signal_to_noise_by_hand(small_study: dict[str, Any]) -> None:
    """Four steps at epsilon 6: noise 2 x .6851; a hundred patients pull against it with 73, in four steps 146."""
    north, south = privacy_rows(deployment(small_study), PATIENTS, dict.fromkeys(PATIENTS, OPEN))
    assert north["noise_multiplier"] == pytest.approx(1.3702, rel=1e-3)
    assert north["signal_to_noise"] == pytest.approx(100 / 1.3702, rel=1e-3)
    assert north["signal_to_noise_of_all_steps"] == pytest.approx(200 / 1.3702, rel=1e-3)
    assert south["signal_to_noise"] == pytest.approx(20 / 1.3702, rel=1e-3)
    assert north["epsilon"] == pytest.approx(6, rel=0.01) and north["best_attack"] == pytest.approx(0.19, abs=0.01)
    assert north["refuses"] == south["refuses"] == "" and north["protection"]


def test_a_trusted_server_hears_all_hospitals_against_one_noise(small_study: dict[str, Any]) -> None:
    rows = privacy_rows(deployment(small_study, trust="central"), PATIENTS, dict.fromkeys(PATIENTS, OPEN))
    assert [row["signal_to_noise"] for row in rows] == pytest.approx([120 / 1.3702] * 2, rel=1e-3)


def test_shares_of_noise_are_more_than_one_noise_where_nobody_is_gone(small_study: dict[str, Any]) -> None:
    """Of five hospitals the shares of three are the noise: 120 patients pull against the root of 5/3 of it, sized for
    five steps in place of four.
    """
    content = small_study | {"privacy": {"trust": "secure", "dropouts": 1, "colluding": 1}}
    content |= {"settings": ["real-epsilon-6"], "federation": {"rounds": 4, "local_steps": 1}}
    five = {"north": 100, "south": 5, "east": 5, "west": 5, "middle": 5}
    rows = privacy_rows(parse(content, "small").deployment("federated", "real-epsilon-6"), five,
                        dict.fromkeys(five, Limits()))  # fmt: skip
    noise = 0.6851 * 5**0.5 * (5 / 3) ** 0.5
    assert [row["signal_to_noise"] for row in rows] == pytest.approx([120 / noise] * 5, rel=1e-3)
    assert rows[0]["steps"] == 5 and rows[0]["refuses"] == ""


def test_limits_that_would_refuse(small_study: dict[str, Any]) -> None:
    limits = {"north": Limits(maximum_epsilon=2), "south": OPEN}
    north, south = privacy_rows(deployment(small_study), PATIENTS, limits)
    assert north["refuses"] == "epsilon 6 is not between 0 and 2" and south["refuses"] == ""
    rows = privacy_rows(deployment(small_study, trust="central"), PATIENTS, {"north": Limits(), "south": OPEN})
    assert rows[0]["refuses"] == "the server is not trusted to add the noise"


def test_without_a_budget_there_is_nothing_to_tell_but_who_refuses(small_study: dict[str, Any]) -> None:
    config = parse(small_study, "small")
    assert privacy_rows(config.deployment("federated", "real"), PATIENTS, {}) == []
    limits = {"north": Limits(), "south": OPEN}
    assert refused_without_budget({"real": None, "real-epsilon-6": 6.0}, limits) == [
        "north: would refuse real, which has no budget (without_budget)"
    ]
    assert refused_without_budget({"real-epsilon-6": 6.0}, limits) == []
    assert refused_without_budget({"real": None}, {"south": OPEN}) == []
