"""Plans: what they say, which of them a hospital agrees to, and why not."""

import json
from collections.abc import Callable
from dataclasses import replace
from math import nan
from typing import Any

import pytest

from fedmammo.config.deployment import Deployment
from fedmammo.config.study import parse
from fedmammo.privacy.accounting import epsilon
from fedmammo.privacy.limits import Limits
from fedmammo.privacy.mechanism import Mechanism
from fedmammo.privacy.plan import Plan
from fedmammo.privacy.reasons import RefusalError
from fedmammo.stages.planning import plan_of

MECHANISM = Mechanism("train", 1.0, 2.0, 1.0, 3, 2)
PLAN = Plan("study", "local", 6.0, 1e-4, (MECHANISM,), {"a": 10, "b": 20})
NewStudy = Callable[[], dict[str, Any]]


def deployment_of(new_study: NewStudy, setting: str = "real-epsilon-6", **keys: Any) -> Deployment:
    study = parse(new_study() | {"settings": [setting]} | keys, "small")
    return study.deployment("federated", setting, study.seeds[0])


def test_it_travels_as_text_and_is_named_by_all_of_it() -> None:
    assert Plan.from_json(PLAN.to_json()) == PLAN
    others = [
        replace(PLAN, study="other"), replace(PLAN, trust="central"), replace(PLAN, budget=7.0),
        replace(PLAN, delta=1e-5), replace(PLAN, patients={"a": 10, "b": 21}),
        *(replace(PLAN, mechanisms=(replace(MECHANISM, **{name: value}),)) for name, value in (
            ("clipping_norm", 2.0), ("noise_multiplier", 1.9), ("rate", 0.5), ("rounds", 4), ("local_steps", 3))),
    ]  # fmt: skip
    assert len({plan.digest for plan in (PLAN, *others)}) == len(others) + 1
    assert all(Plan.from_json(plan.to_json()) == plan for plan in others)


def test_it_says_the_unit_the_relation_and_against_whom() -> None:
    content = json.loads(PLAN.to_json())
    assert content["unit"].startswith("patient: all images of one")
    assert content["relation"].startswith("zero-out of one patient")
    assert content["adversary"].startswith("everybody outside the hospital")


@pytest.mark.parametrize("change", [{"unit": "image"}, {"relation": "none"}, {"more": 1}, {"mechanisms": 1}])
def test_a_text_of_another_kind_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(RefusalError, match=r"^refused: not a plan that is understood here: "):
        Plan.from_json(json.dumps(json.loads(PLAN.to_json()) | change))


@pytest.mark.parametrize("name", ["noise_multiplier", "clipping_norm", "rate", "rounds", "local_steps"])
def test_a_mechanism_that_cannot_be_is_refused(name: str) -> None:
    """No noise first of all."""
    content = json.loads(PLAN.to_json())
    content["mechanisms"][0][name] = 0
    with pytest.raises(
        RefusalError, match=r"^refused: not a plan that is understood here: .* is not a positive number$"
    ):
        Plan.from_json(json.dumps(content))


def test_what_a_hospital_agrees_to() -> None:
    """Six steps with multiplier 2 on everybody: mu = sqrt(6)/2, epsilon 5.37 at 1e-4 by the closed form."""
    assert PLAN.epsilon(1e-4) == epsilon(((1.0, 2.0, 6),), 1e-4) == pytest.approx(4.9, abs=0.6)
    PLAN.check(Limits(), "a", 10)
    PLAN.check(Limits(), "b", 20)
    replace(PLAN, trust="central").check(Limits(central_trust="accepted"), "a", 10)


@pytest.mark.parametrize(
    ("change", "limits", "reason"),
    [
        ({}, {"maximum_epsilon": 5.9}, "epsilon 6 is not between 0 and 5.9"),
        ({"budget": nan}, {}, "epsilon nan is not between 0 and 100"),
        ({"budget": -1.0}, {}, "epsilon -1 is not between 0 and 100"),
        ({}, {"maximum_delta": 1e-5}, "delta 0.0001 is not between 0 and 1e-05"),
        ({"delta": nan}, {}, "delta nan is not between 0 and 0.001"),
        ({"trust": "blind"}, {}, "nobody knows trust blind"),
        ({"trust": "secure"}, {}, "masks hide one sum a round"),
        ({"trust": "central"}, {}, "the server is not trusted to add the noise"),
        ({"patients": {"a": 11}}, {}, "it does not declare a's number of training patients"),
        ({"patients": {"b": 10}}, {}, "it does not declare a's number of training patients"),
        ({"mechanisms": ()}, {}, "it says nothing of what is done"),
        ({}, {"minimum_noise_multiplier": 2.1}, "noise multiplier 2 of stage train is below 2.1"),
        ({}, {"maximum_clipping_norm": 0.9}, "clipping norm 1 of stage train is above 0.9"),
        ({"budget": 4.0}, {}, "what is planned costs more than its budget of epsilon 4"),
        ({"mechanisms": (replace(MECHANISM, rounds=6),)}, {}, "what is planned costs more than its budget"),
    ],
)  # fmt: skip
def test_what_it_does_not(change: dict[str, Any], limits: dict[str, Any], reason: str) -> None:
    with pytest.raises(RefusalError) as refused:
        replace(PLAN, **change).check(Limits.model_validate(limits), "a", 10)
    assert str(refused.value).startswith(f"refused: {reason}") and "\n" not in str(refused.value)


def test_a_stage_that_is_not_in_it() -> None:
    assert PLAN.mechanism("train") == MECHANISM
    with pytest.raises(RefusalError, match=r"^refused: the plan that was agreed to has no stage generator$"):
        PLAN.mechanism("generator")


def test_no_budget_no_plan(new_study: NewStudy) -> None:
    assert plan_of(deployment_of(new_study, "real"), {"all": 1}) is None


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_noise_is_sized_for_all_steps_of_all_rounds(new_study: NewStudy, fraction: float) -> None:
    """Trap 5: 4 rounds of 3 steps are 12 draws, which together cost the budget, and hardly less."""
    content = new_study()
    content["diagnosis"]["patient_fraction"] = fraction
    deployment = deployment_of(lambda: content, federation={"rounds": 4, "local_steps": 3})
    plan = plan_of(deployment, {"hospital-1": 5})
    assert plan is not None
    (mechanism,) = plan.mechanisms
    assert (mechanism.rate, mechanism.rounds, mechanism.local_steps) == (fraction, 4, 3)
    assert 5.94 < epsilon(((fraction, mechanism.noise_multiplier, 12),), 1e-4) <= 6
    plan.check(Limits(), "hospital-1", 5)


def test_a_plan_is_for_one_study_wherever_it_computes_and_with_whatever_seed(new_study: NewStudy) -> None:
    """Seeds may share a generator, whose ledger holds one plan."""

    def plan(**keys: Any) -> Plan | None:
        return plan_of(deployment_of(new_study, **keys), {"a": 10})

    first = plan()
    assert first is not None
    assert plan(engine={"name": "ray", "timeout": 1.0}) == first
    assert plan(seeds=[1]) == first
    assert plan(federation={"rounds": 3, "local_steps": 2}) != first
    assert plan(evaluation={"test": "val"}) != first


# Where hospitals share the noise

ONE_STEP = replace(MECHANISM, local_steps=1, spare=1)
FIVE = dict.fromkeys("abcde", 10)
SECURE = Plan("study", "secure", 6.0, 1e-4, (ONE_STEP,), FIVE, 1, 1)


def test_shares_are_for_the_fewest_honest_hospitals_in_a_sum() -> None:
    """Of five, one may be gone and one may tell what it knows: three. Nobody else shares anything."""
    assert (SECURE.together, SECURE.shares) == (4, 3) and SECURE.secure
    assert (replace(SECURE, dropouts=0, colluding=0).shares, PLAN.shares, PLAN.secure) == (5, 1, False)
    assert Plan.from_json(SECURE.to_json()) == SECURE
    assert len({SECURE.digest, replace(SECURE, dropouts=0).digest, replace(SECURE, colluding=0).digest}) == 3


def test_it_says_what_it_assumes() -> None:
    told = json.loads(SECURE.to_json())["adversary"]
    assert told.startswith("the server, also one that lies, and whoever gets the model, also together with 1 of the ")
    assert "no more drop out than 1" in told and "have each other's keys from their own site files" in told
    assert "but not another hospital, which knows its own share" in replace(SECURE, colluding=0).adversary


@pytest.mark.parametrize(
    ("change", "limits", "reason"),
    [
        ({}, {"minimum_honest": 4}, "3 hospitals would share the noise, fewer than 4"),
        ({"colluding": 3}, {}, "1 hospitals would share the noise, fewer than 2"),
        ({"colluding": 4}, {"minimum_honest": 1}, "of 5 hospitals nobody is left to add noise where 1 drop out and 4 "),
        ({"dropouts": 4, "colluding": 0}, {"minimum_honest": 1}, "of 5 hospitals fewer than 2 are left where 4 drop"),
        ({"mechanisms": (replace(ONE_STEP, local_steps=2),)}, {}, "masks hide one sum a round"),
        ({"mechanisms": (replace(ONE_STEP, stage="generator"),)}, {}, "masks hide one sum a round"),
        (
            {"mechanisms": (replace(ONE_STEP, spare=9),), "budget": 5.0},
            {},
            "what is planned costs more than its budget",
        ),
    ],
)
def test_sharing_that_a_hospital_does_not_agree_to(change: dict[str, Any], limits: dict[str, Any], reason: str) -> None:
    SECURE.check(Limits(), "a", 10)
    with pytest.raises(RefusalError) as refused:
        replace(SECURE, **change).check(Limits.model_validate(limits), "a", 10)
    assert str(refused.value).startswith(f"refused: {reason}") and "\n" not in str(refused.value)


@pytest.mark.parametrize("spare", [0, 1, 2])
def test_noise_is_sized_for_rounds_that_are_asked_again_too(new_study: NewStudy, spare: int) -> None:
    """Of both stages: t + 1 sums of features and t + 4 steps cost the budget together, none of them is left out."""
    gan = {"source": "gan", "method": "mean_embedding"}
    privacy = {"trust": "secure", "dropouts": spare, "generator_share": 0.3}
    keys = {"federation": {"rounds": 4, "local_steps": 1}, "privacy": privacy, "synthesis": gan}
    plan = plan_of(deployment_of(new_study, "pretrained-epsilon-6", **keys), FIVE)
    assert plan is not None
    embedding, train = plan.mechanisms
    assert (embedding.steps, train.steps) == (1 + spare, 4 + spare)
    parts = ((1.0, embedding.noise_multiplier, 1 + spare), (1.0, train.noise_multiplier, 4 + spare))
    assert epsilon(tuple(sorted(parts)), 1e-4) == pytest.approx(6, rel=1e-3) and plan.epsilon(1e-4) <= 6
    alone = plan_of(
        deployment_of(new_study, "pretrained-epsilon-6", **keys).model_copy(update={"arm_name": "local"}), FIVE
    )
    assert alone is not None and (alone.trust, alone.shares, alone.dropouts) == ("local", 1, 0)
    assert [one.steps for one in alone.mechanisms] == [1, 4]
