"""The guard of a hospital's patients: agrees once, refuses what deviates, releases what is in the ledger."""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fedmammo.privacy.answer import Answer
from fedmammo.privacy.guard import Budget, Open, digest_of_tensors
from fedmammo.privacy.ledger import spent_in
from fedmammo.privacy.limits import Limits
from fedmammo.privacy.mechanism import Mechanism
from fedmammo.privacy.odometer import Odometer, ledger_of
from fedmammo.privacy.plan import Plan
from fedmammo.privacy.reasons import RefusalError
from fedmammo.privacy.secret import Secret
from fedmammo.privacy.steps import PrivateSteps

MECHANISM = Mechanism("train", 1.0, 2.0, 1.0, 3, 2)
PATIENTS = [f"patient {number}" for number in range(10)]
PLAN = Plan("study", "local", 6.0, 1e-4, (MECHANISM,), {"a": 10})
LIMITS = Limits(central_trust="accepted")
ANSWER = Answer({"x": torch.ones(1)})


def guard(
    folder: Path,
    asked: str | None = PLAN.digest,
    name: str = "deployment",
    limits: Limits = LIMITS,
    patients: Sequence[str] = PATIENTS,
    real: bool = True,
) -> Budget:
    odometer = Odometer(folder, limits, one_for_all=real)
    return Budget(odometer.ledger(name), odometer, Secret.of(folder, 1), patients, asked)


def agreed(folder: Path, plan: Plan = PLAN, **keys: Any) -> Budget:
    made = guard(folder, plan.digest, **keys)
    made.agree(plan, LIMITS, "a")
    return made


def test_what_was_agreed_to_is_released_with_what_was_spent(tmp_path: Path) -> None:
    made = agreed(tmp_path)
    for number in (1, 2, 3):
        answer = made.release("train", number, {"number": number}, lambda _: ANSWER)
        line = made.ledger.lines[-1]
        assert answer.tensors == ANSWER.tensors
        assert answer.numbers == {"epsilon": line["epsilon"]["0.0001"]} and line["round"] == number
    assert made.ledger.path == ledger_of(tmp_path, "deployment") == tmp_path / "ledger/deployment.jsonl"


@pytest.mark.parametrize(
    ("asked", "stage", "number", "reason"),
    [
        ("other", "train", 1, "it was not agreed to this plan"),
        (None, "train", 1, "it was not agreed to this plan"),
        (PLAN.digest, "generator", 1, "the plan that was agreed to has no stage generator"),
        (PLAN.digest, "train", 4, "round 4 was asked for, 3 were agreed to"),
        (PLAN.digest, "train", 0, "round 0 was asked for, 3 were agreed to"),
        (PLAN.digest, "train", -1, "round -1 was asked for, 3 were agreed to"),
    ],
)
def test_another_request_is_refused(tmp_path: Path, asked: str | None, stage: str, number: int, reason: str) -> None:
    agreed(tmp_path)
    drawn: list[object] = []
    with pytest.raises(RefusalError) as refused:
        guard(tmp_path, asked).release(stage, number, {}, lambda steps: drawn.append(steps) or ANSWER)
    assert str(refused.value) == f"refused: {reason}" and not drawn


def test_before_any_plan_everything_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusalError, match=r"^refused: it was not agreed to this plan$"):
        guard(tmp_path).release("train", 1, {}, lambda _: ANSWER)


def test_a_plan_beyond_the_limits_or_after_another_or_for_others_is_refused(tmp_path: Path) -> None:
    new = guard(tmp_path)
    with pytest.raises(RefusalError, match=r"^refused: epsilon 6 is not between 0 and 5$"):
        new.agree(PLAN, Limits(maximum_epsilon=5), "a")
    with pytest.raises(RefusalError, match=r"^refused: it does not declare b's number of training patients$"):
        new.agree(PLAN, LIMITS, "b")
    with pytest.raises(RefusalError, match=r"^refused: it does not declare a's number of training patients$"):
        guard(tmp_path, patients=PATIENTS[1:]).agree(PLAN, LIMITS, "a")
    assert new.ledger.lines == []
    new.agree(PLAN, LIMITS, "a")
    with pytest.raises(RefusalError, match=r"^refused: another plan was agreed to for this deployment$"):
        new.agree(replace(PLAN, budget=7.0), LIMITS, "a")
    assert new.plan == PLAN


def test_a_release_is_keyed_by_all_that_determines_it(tmp_path: Path) -> None:
    """Each change of the request is another one, has another name, and is paid; the same again is not."""
    plan = replace(PLAN, budget=100.0, mechanisms=(replace(MECHANISM, rounds=50),))
    (many,) = plan.mechanisms
    names: list[str] = []

    def draw(steps: PrivateSteps | None) -> Answer:
        assert steps is not None
        names.append(steps.request)
        return ANSWER

    asked: list[tuple[Plan, int, dict[str, Any], list[str]]] = [
        (plan, 1, {"of": "c"}, PATIENTS),
        (plan, 1, {"of": "d"}, PATIENTS),
        (plan, 1, {"of": "c", "more": None}, PATIENTS),
        (plan, 1, {"of": {"x": torch.ones(1)}}, PATIENTS),
        (plan, 1, {"of": {"x": torch.zeros(1)}}, PATIENTS),
        (plan, 2, {"of": "c"}, PATIENTS),
        (plan, 1, {"of": "c"}, [*PATIENTS[:9], "another"]),
        (replace(plan, budget=99.0), 1, {"of": "c"}, PATIENTS),
        *((replace(plan, mechanisms=(replace(many, **{name: value}),)), 1, {"of": "c"}, PATIENTS) for name, value in
          (("clipping_norm", 2.0), ("noise_multiplier", 3.0), ("local_steps", 1), ("rounds", 49))),
    ]  # fmt: skip
    for _ in range(2):
        for number, (one, round_, depends_on, patients) in enumerate(asked):
            ledger = f"ledger {[plan, *(one for one, *_ in asked)].index(one) if number >= 7 else 0}"
            agreed(tmp_path, one, name=ledger, patients=patients).release("train", round_, depends_on, draw)
    assert len(set(names)) == len(names) == len(asked)
    whole = PLAN.mechanisms[0].to_dict()
    assert guard(tmp_path)._secret.digest(whole) not in names


def test_noise_is_the_hospitals_unless_the_server_is_trusted(tmp_path: Path) -> None:
    """What a draw gets is the plan's mechanism, and the declared number of patients."""
    seen: list[PrivateSteps] = []
    for trust in ("local", "central"):
        agreed(tmp_path / trust, replace(PLAN, trust=trust)).release(
            "train", 1, {}, lambda steps: seen.append(steps) or ANSWER, public=5
        )
    assert [(steps.sums, steps.mechanism, steps.patients, steps.public) for steps in seen] == [
        (False, MECHANISM, 10, 5),
        (True, MECHANISM, 10, 5),
    ]


def test_without_a_budget_there_is_no_noise_and_nothing_is_held_back() -> None:
    seen: list[PrivateSteps | None] = []
    answer = Open().release("train", 9, {}, lambda steps: seen.append(steps) or ANSWER)
    assert answer is ANSWER and seen == [None]
    Open().check("train", {}, answer)


# The odometer


def test_one_odometer_counts_all_deployments(tmp_path: Path) -> None:
    """Three rounds of 2 steps cost less than 5.5, four cost more: the fourth is refused, whatever deployment asks."""
    limits = Limits(lifetime_epsilon=5.5)
    drawn: list[str] = []
    for name in "abcd":
        one = agreed(tmp_path, name=name, limits=limits)
        if name == "d":
            with pytest.raises(RefusalError, match=r"^refused: it would pass the lifetime epsilon of 5\.5 at delta"):
                one.release("train", 1, {"of": name}, lambda _: drawn.append("d") or ANSWER)
        else:
            one.release("train", 1, {"of": name}, lambda _, name=name: drawn.append(name) or ANSWER)  # type: ignore[misc]
    assert drawn == ["a", "b", "c"] and guard(tmp_path, name="d").ledger.lines[1:] == []
    replay = guard(tmp_path, name="a", limits=limits).release("train", 1, {"of": "a"}, lambda _: ANSWER)
    assert replay.tensors == ANSWER.tensors and drawn == ["a", "b", "c"]
    simulated = agreed(tmp_path, name="e", limits=limits, real=False)
    simulated.release("train", 1, {"of": "e"}, lambda _: ANSWER)


def test_what_is_to_come_is_checked_too(tmp_path: Path) -> None:
    odometer = Odometer(tmp_path, Limits(lifetime_epsilon=4), one_for_all=True)
    odometer.check([(MECHANISM, 2)])
    with pytest.raises(RefusalError, match="lifetime epsilon of 4"):
        odometer.check([(MECHANISM, MECHANISM.steps)])
    Odometer(tmp_path, Limits(lifetime_epsilon=4), one_for_all=False).check([(MECHANISM, 600)])


def test_patients_are_protected_or_exposed_for_ever(tmp_path: Path) -> None:
    """At a real hospital: whoever trained under a budget is never exposed, and whoever was is never promised one."""
    odometer = Odometer(tmp_path, LIMITS, one_for_all=True)
    odometer.protect(["a", "b"])
    odometer.expose(["c"])
    odometer.protect(["b", "d"])
    with pytest.raises(RefusalError, match=r"^refused: patients are protected by a budget that was agreed to before$"):
        odometer.expose(["e", "a"])
    with pytest.raises(RefusalError, match=r"^refused: something of these patients has left without a budget before$"):
        odometer.protect(["e", "c"])
    odometer.expose(["e"])
    assert Odometer(tmp_path, LIMITS, one_for_all=True).protected == {"a", "b", "d"}
    simulated = Odometer(tmp_path / "simulated", LIMITS, one_for_all=False)
    simulated.protect(["a"])
    simulated.expose(["a"])
    assert not (tmp_path / "simulated").exists()


def test_processes_at_once_do_not_pass_the_lifetime_together(tmp_path: Path) -> None:
    """Four deployments of which one round each costs 2.7; three together 4.9."""
    limits = Limits(lifetime_epsilon=4)

    def slowly(_: PrivateSteps | None) -> Answer:
        time.sleep(0.3)  # so long that all have asked before any is in its ledger
        return ANSWER

    made = [agreed(tmp_path, name=name, limits=limits) for name in "abcd"]
    children = []
    for number, one in enumerate(made):
        pid = os.fork()
        if pid == 0:
            code = 2
            try:
                one.release("train", 1, {"of": number}, slowly)
                code = 0
            except RefusalError:
                code = 1
            finally:
                os._exit(code)
        children.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    spent = spent_in([one.ledger.path for one in made])
    assert sorted(codes) == [0, 0, 1, 1] and len(spent) == 2


def test_tensors_are_named_by_all_of_them() -> None:
    tensors = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3.0])}
    others = [{}, {"a": tensors["a"]}, tensors | {"b": torch.tensor([4.0])}, tensors | {"b": torch.tensor([[3.0]])},
              tensors | {"b": torch.tensor([3.0]).double()}, {"a": tensors["a"], "c": tensors["b"]}]  # fmt: skip
    assert len({digest_of_tensors(one) for one in (tensors, *others)}) == 7
    assert digest_of_tensors(dict(reversed(tensors.items()))) == digest_of_tensors(tensors)
