"""Traps 17 to 21: what a server may say to a hospital and not be believed. Everything goes through the client app.

Real hospitals hold the whole cohort: 16 patients train, 4 set thresholds, 4 are tested.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from fedmammo.config.deployment import Deployment
from fedmammo.config.request import Request
from fedmammo.hospitals.site import APPROVED
from fedmammo.privacy.accounting import epsilon
from fedmammo.privacy.reasons import RefusalError
from fedmammo.privacy.secret import Secret
from fedmammo.stages.planning import plan_of
from fedmammo.stages.score import SCORE
from fedmammo.stages.stage import Job

Deploy = Callable[..., Any]
BOTH = {"settings": ["real", "real-epsilon-1"]}
PROTECTED = r"^refused: patients (are|who are) protected by a budget"


def approved(one: Any, *deployments: Deployment) -> Any:
    """The hospital's people agree to what deployments do."""
    for deployment in deployments or (one.deployment,):
        one.site(0).approve(deployment.study)
    return one


def altered(deployment: Deployment, **changes: Any) -> str:
    """A deployment's text with some keys of it changed, or sections where their values are tables."""
    content = deployment.model_dump(mode="json")
    for key, value in changes.items():
        content[key] = content[key] | value if isinstance(value, dict) and isinstance(content.get(key), dict) else value
    return json.dumps(content)


# 17


@pytest.mark.parametrize(
    "change",
    [
        {"privacy": {"secret_seed": 5}},
        {"privacy": {"secret": "0" * 64}},
        {"privacy": {"noise_multiplier": 0.01}},
        {"limits": {"maximum_epsilon": 1e9}},
        {"profile": {"name": "A", "privacy": {"without_budget": "accepted"}}},
        {"cohort": {"path": "elsewhere"}},
        {"engine": {"name": "inline"}},
    ],
)
def test_trap_17_the_server_names_the_secret_or_the_limits(deploy: Deploy, change: dict[str, Any]) -> None:
    """A deployment has no place for them, whatever digest it comes under; nothing is written down."""
    one = deploy()
    before, text = one.files(0), altered(one.deployment, **change)
    with pytest.raises(RefusalError, match=r"^refused: not a deployment that is understood here$"):
        one.ask(0, Job("declare", one.deployment.digest), text=text)
    for key, value in change.items():
        with pytest.raises(RefusalError, match=r"^refused: not a job that is understood here"):
            one.ask(0, json.dumps({"stage": "train", "deployment": one.deployment.digest, key: value}))
    assert one.files(0) == before


def test_trap_17_secret_and_limits_are_those_of_the_hospitals_own_file(deploy: Deploy) -> None:
    """The study's seed reaches a hospital by its site file alone; the same messages have other noise elsewhere."""
    first, second = deploy("a"), deploy("b", real={"secret_seed": 2, "limits": {"maximum_epsilon": 5}})
    assert first.deployment.privacy.secret_seed is None and first.deployment == second.deployment
    assert first.site(0).secret == Secret.of(first.folder(0), 1) != second.site(0).secret
    with pytest.raises(RefusalError, match=r"^refused: epsilon 6\.0 is not between 0 and the maximum_epsilon of 5"):
        approved(second).declare(0)


# 18


def test_trap_18_the_setting_is_named_twice(deploy: Deploy) -> None:
    """After agreeing to epsilon 1 nothing of the same patients leaves without a budget, and nothing is written."""
    one = deploy(real={}, **BOTH)
    plain = one.of("real")
    approved(one, one.deployment, plain).agree(0)
    before = one.files(0)
    with pytest.raises(RefusalError, match=PROTECTED):
        one.declare(0, plain)
    with pytest.raises(RefusalError, match=r"^refused: no deployment of this digest was agreed to here$"):
        one.train(0, deployment=plain)
    assert one.files(0) == before


@pytest.mark.parametrize("stage", ["train", "count", "score", "features"])
def test_trap_18_what_was_declared_before_a_budget_is_refused_after_it(deploy: Deploy, stage: str) -> None:
    one = deploy(real={}, **BOTH)
    plain = one.of("real")
    approved(one, one.deployment, plain).declare(0, plain)
    one.agree(0)
    before = one.files(0)
    with pytest.raises(RefusalError, match=PROTECTED):
        one.ask(0, Job(stage, plain.digest, 1), {"arrays": one.model})
    assert one.files(0) == before


def test_trap_18_patients_of_whom_something_left_are_not_promised_a_budget(deploy: Deploy) -> None:
    """Whichever setting comes first: the odometer cannot count what left without noise."""
    one = deploy(real={}, **BOTH)
    plain = one.of("real")
    approved(one, one.deployment, plain).agree(0, plain)
    _, numbers = one.train(0, deployment=plain)
    assert numbers.keys() == {"num-examples", "loss", "images"}
    with pytest.raises(RefusalError, match=r"^refused: something of these patients has left without a budget before$"):
        one.agree(0)
    with pytest.raises(RefusalError, match=r"^refused: it was not agreed to this plan$"):
        one.train(0)


@pytest.mark.parametrize("change", [{"privacy": None}, {"setting_name": "real"}])
def test_trap_18_a_deployment_that_says_two_things_of_its_budget(deploy: Deploy, change: dict[str, Any]) -> None:
    one = deploy(**BOTH)
    with pytest.raises(RefusalError, match=r"^refused: not a deployment that is understood here$"):
        one.ask(0, Job("declare", one.deployment.digest), text=altered(one.deployment, **change))


def test_trap_18_a_hospital_that_has_second_thoughts(deploy: Deploy) -> None:
    """What its file says, and what its people approve, holds for every job, not only when a deployment is declared."""
    one = deploy(real={}, **BOTH)
    plain = one.of("real")
    with pytest.raises(RefusalError, match=r"^refused: study [0-9a-f]{64} is not approved"):
        one.declare(0)
    approved(one, plain).agree(0, plain)
    path = one.folder(0) / "site.yaml"
    path.write_text(path.read_text().replace("without_budget: accepted", "without_budget: refused"))
    with pytest.raises(RefusalError, match=r"^refused: without_budget: refused"):
        one.train(0, deployment=plain)
    (one.site(0).folder / "approved.json").unlink()
    with pytest.raises(RefusalError, match=r"^refused: study [0-9a-f]{64} is not approved"):
        one.train(0, deployment=plain)


# 19


def unit_heads(one: Any) -> dict[str, dict[str, torch.Tensor]]:
    """Heads that each read one feature."""
    eye = torch.eye(64)
    return {f"unit-{i}": {"head.weight": eye[i : i + 1], "head.bias": torch.zeros(1)} for i in range(64)}


def shown_in(answer: Any) -> set[str]:
    return {row.tobytes().hex() for row in answer.tensors["patient"].numpy()}


@pytest.mark.parametrize("folds", [0, 3])
def test_trap_19_scores_are_no_oracle_for_those_who_train(deploy: Deploy, folds: int) -> None:
    """A simulated hospital scores those alone whom the very deployment tests, or sets thresholds by."""
    one = deploy(evaluation={"folds": folds})
    for fold in range(max(1, folds)):
        deployment = one.of("real-epsilon-6", fold=fold)
        holder = one.site(1).holder(deployment)
        one.declare(1, deployment)
        answer = one.score(1, deployment, **unit_heads(one))
        assert len([name for name in answer.tensors if name.startswith(SCORE)]) == 64
        assert shown_in(answer) == set(holder.shown)
        assert shown_in(answer).isdisjoint(holder.trained) and holder.trained


def test_trap_19_a_real_hospital_scores_no_protected_patient_in_any_deployment(deploy: Deploy) -> None:
    """Thresholds set by other patients: in a study that was read before the budget, or is after it, it is refused."""
    one = deploy(real={}, **BOTH)
    before, after = (one.of("real-epsilon-1", dealing={"validation_fraction": part}) for part in (0.5, 0.6))
    approved(one, one.deployment, before, after).declare(0, before)
    one.agree(0)
    assert not set(one.site(0).holder(before).shown).isdisjoint(one.held["hospital-1"].trained)
    for deployment in (before, after):
        with pytest.raises(RefusalError, match=PROTECTED):
            one.declare(0, deployment)
        with pytest.raises(RefusalError, match=r"^refused: (patients who are protected|no deployment of this digest)"):
            one.score(0, deployment, **unit_heads(one))
    again = one.of("real-epsilon-1", seed=7)
    one.declare(0, again)
    assert shown_in(one.score(0, again, **unit_heads(one))) == set(one.held["hospital-1"].shown)


def test_trap_19_whoever_was_scored_is_not_promised_a_budget(deploy: Deploy) -> None:
    """Scores of other patients before the first agreement would show everybody's features."""
    one = deploy(real={}, **BOTH)
    other = one.of("real-epsilon-1", dealing={"validation_fraction": 0.5})
    approved(one, one.deployment, other).declare(0, other)
    one.ask(0, Job("features", other.digest))
    one.score(0, other, **unit_heads(one))
    with pytest.raises(RefusalError, match=r"^refused: something of these patients has left without a budget before$"):
        one.agree(0)


@pytest.mark.parametrize("budget", [True, False])
def test_trap_19_a_real_hospital_has_one_draw(deploy: Deploy, budget: bool) -> None:
    """What people approve of names no draw, and each has other patients set thresholds: with all draws a server would
    be shown almost everybody, or have everybody protected, so that nobody could set thresholds in any later study.
    """
    one = deploy(real={"limits": {"without_budget": "accepted"}}, settings=["real", "real-epsilon-6"])
    setting = "real-epsilon-6" if budget else "real"
    approved(one, one.of(setting)).declare(0, one.of(setting))
    for draw in (1, 7):
        with pytest.raises(RefusalError, match=rf"^refused: draw {draw}: nobody deals a real hospital's patients"):
            one.declare(0, one.of(setting, draw=draw))


def test_trap_19_a_real_hospital_takes_part_in_no_budget_with_folds(deploy: Deploy) -> None:
    one = deploy(real={}, evaluation={"folds": 3})
    with pytest.raises(RefusalError, match=r"^refused: folds test every patient whom the budget protects$"):
        approved(one).declare(0)


def test_trap_19_only_models_are_scored_and_only_where_rows_may_leave(deploy: Deploy) -> None:
    """Tensors under another key are not looked at; a model does not say how the hospital scales its features."""
    one = deploy(real={"scores": "rows"})
    approved(one).agree(0)
    answer = one.ask(0, Job("score", one.deployment.digest), {"arrays": one.model, "other": {"x": torch.ones(1)}})
    assert not any(name.startswith(SCORE) for name in answer.tensors)
    with pytest.raises(RefusalError, match=r"^refused: how features are centred and scaled is the hospital's own"):
        one.score(0, a=one.model | {"scale": torch.full((64,), 1e-9)})
    path = one.folder(0) / "site.yaml"
    path.write_text(path.read_text().replace("scores: rows", "scores: summaries"))
    assert one.score(0, all=one.model).tensors.keys() == {"center", "scale"}
    request = Request.of([one.deployment], one.config.evaluation).model_dump_json()
    job = Job("summarize", one.deployment.digest, plan=one.plan.digest)
    assert one.ask(0, job, text=request).tensors.keys() == {"summary"}
    (one.folder(0) / APPROVED).unlink()
    with pytest.raises(RefusalError, match=r"^refused: study [0-9a-f]{64} is not approved"):
        one.ask(0, job, text=request)


def test_trap_19_a_real_hospital_scores_nobody_between_rounds_under_a_budget(deploy: Deploy) -> None:
    """In the end alone; what is refused is not computed, and nobody is written down as shown."""
    one = deploy(real={}, evaluation={"every": 1})
    approved(one).agree(0)
    before = one.files(0)
    for number in (1, 2, 3):
        with pytest.raises(
            RefusalError, match=r"^refused: under a budget .* in the end alone; take evaluation\.every: 0$"
        ):
            one.ask(0, Job("score", one.deployment.digest, number), {"model/all": one.model})
    assert one.files(0) == before
    assert shown_in(one.score(0, all=one.model)) == set(one.held["hospital-1"].shown)
    text = altered(one.deployment, scored_every=1)
    with pytest.raises(RefusalError, match=r"^refused: not a deployment that is understood here$"):
        one.ask(0, Job("declare", one.deployment.digest), text=text)


def test_trap_19_between_rounds_a_hospital_scores_after_those_alone_that_were_agreed_to(deploy: Deploy) -> None:
    """Of five, after rounds 2 and 4; each shows the same patients, noted once. A simulation may ask as it likes."""
    one = deploy(real={}, **BOTH, evaluation={"every": 2}, federation={"rounds": 5})
    plain = one.of("real")
    approved(one, plain).declare(0, plain)
    one.ask(0, Job("features", plain.digest, 1))
    before = one.files(0)
    for number in (1, 3, 5, 6):
        with pytest.raises(RefusalError, match=rf"^refused: scores after round {number} were not agreed to$"):
            one.ask(0, Job("score", plain.digest, number), {"model/all": one.model})
    assert one.files(0) == before
    after = {}
    for number in (2, 4, 0):
        answer = one.ask(0, Job("score", plain.digest, number), {"model/all": one.model})
        assert shown_in(answer) == set(one.site(0).holder(plain).shown)
        after[number] = one.files(0)
    assert after[2] != before and after[2] == after[4] == after[0]
    simulated = deploy("simulated", evaluation={"every": 2})
    simulated.agree(0)
    assert simulated.ask(0, Job("score", simulated.deployment.digest, 1), {"model/all": one.model}).tensors


# 20


def test_trap_20_trust_is_what_the_message_says(deploy: Deploy) -> None:
    """A hospital that trusts no server refuses the deployment, and the plan under the deployment that says `local`."""
    how = {"federation": {"rounds": 1, "local_steps": 1}}
    one = deploy(real={"limits": {"central_trust": "refused"}}, **how)
    central = one.of("real-epsilon-6", privacy={"trust": "central"})
    approved(one, one.deployment, central)
    with pytest.raises(RefusalError, match=r"^refused: central_trust: refused; the server is not trusted"):
        one.declare(0, central)
    plan = replace(one.plan, trust="central")
    with pytest.raises(RefusalError, match=r"^refused: the plan that is asked for is not the one"):
        one.agree(0, plan=plan)
    one.agree(0)
    with pytest.raises(RefusalError, match=r"^refused: it was not agreed to this plan$"):
        one.train(0, plan=plan.digest)
    assert one.ledger(0) == []


@pytest.mark.parametrize("what", ["noise", "sizes", "own size", "delta", "study", "nothing"])
def test_trap_20_the_hospital_works_the_plan_out_itself(deploy: Deploy, what: str) -> None:
    one = deploy()
    (mechanism,) = one.plan.mechanisms
    sizes = one.sizes
    plan = {
        "noise": replace(one.plan, mechanisms=(replace(mechanism, noise_multiplier=1e-3),)),
        "sizes": replace(one.plan, patients=sizes | {"hospital-2": 10**6}),
        "own size": plan_of(one.deployment, sizes | {"hospital-1": 1}),
        "delta": replace(one.plan, delta=1e-3),
        "study": replace(one.plan, study="0" * 64),
        "nothing": None,
    }[what]
    with pytest.raises(RefusalError, match=r"^refused: the plan that is asked for is not the one that the hospital"):
        one.declare(0)
        digest = plan.digest if plan else None
        one.ask(0, Job("agree", one.deployment.digest, plan=digest), text=json.dumps(sizes))
    for text in ("", "[]", "{", '{"hospital-1": "many"}'):
        with pytest.raises(RefusalError, match=r"^refused: the declared numbers of patients cannot be read$"):
            one.ask(0, Job("agree", one.deployment.digest, plan=one.plan.digest), text=text)
    with pytest.raises(RefusalError, match=r"^refused: it was not agreed to this plan$"):
        one.train(0)


# 21


def test_trap_21_sixty_seeds_are_one_odometer(deploy: Deploy) -> None:
    """Of deployments of epsilon 1 hardly more than a dozen fit a lifetime of 4 (mu of .25 against .99: 15.7)."""
    one = deploy(
        real={"limits": {"lifetime_epsilon": 4}},
        settings=["real-epsilon-1"],
        federation={"rounds": 1, "local_steps": 1},
    )
    approved(one)
    first: dict[str, torch.Tensor] = {}
    for seed in range(60):
        deployment = one.of("real-epsilon-1", seed=seed)
        try:
            one.agree(0, deployment)
        except RefusalError as error:
            assert str(error) == "refused: it would pass the lifetime epsilon of 4 at delta 0.0001"
            break
        first = first or one.train(0, deployment=deployment)[0]
        one.train(0, deployment=deployment)
    spent = one.site(0).odometer.spent
    assert 8 < seed < 20 and sum(steps for _, _, steps in spent) == seed
    assert 3.5 < epsilon(spent, 1e-4) <= 4
    again, _ = one.train(0, deployment=one.of("real-epsilon-1", seed=0))
    assert all(torch.equal(again[name], tensor) for name, tensor in first.items())
    one.agree(0, one.of("real-epsilon-1", seed=0))  # what was agreed to is not counted again
    assert one.site(0).odometer.spent == spent


def test_trap_21_agreements_alone_do_not_let_more_be_spent(deploy: Deploy) -> None:
    """Each fits when it is agreed to; when drawn, only as many do as the lifetime allows."""
    one = deploy(
        real={"limits": {"lifetime_epsilon": 1.5}},
        settings=["real-epsilon-1"],
        federation={"rounds": 1, "local_steps": 1},
    )
    deployments = [one.of("real-epsilon-1", seed=seed) for seed in range(4)]
    approved(one)
    for deployment in deployments:
        one.agree(0, deployment)
    one.train(0, deployment=deployments[0])
    one.train(0, deployment=deployments[1])
    for deployment in deployments[2:]:
        with pytest.raises(RefusalError, match=r"^refused: it would pass the lifetime epsilon of 1\.5 at delta"):
            one.train(0, deployment=deployment)
        assert one.ledger(0, deployment) == []
