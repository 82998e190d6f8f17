"""The hospital's officer: agrees once, refuses what deviates, releases what is in the ledger."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fedmammo.privacy.limits import Limits
from fedmammo.privacy.mechanism import Mechanism
from fedmammo.privacy.officer import Officer, digest_of_tensors, ledger_of
from fedmammo.privacy.plan import Plan, RefusalError

MECHANISM = Mechanism("train", 1.0, 2.0, 1.0, 3, 2)
PLAN = Plan("study", "local", 6.0, 1e-4, (MECHANISM,), {"a": 10})
ASKED = MECHANISM.to_dict()


def officer(folder: Path, plan: Plan = PLAN) -> Officer:
    made = Officer(folder, "cell", 1)
    made.agree(plan.to_json(), "study", Limits(), "a", 10)
    return made


def test_what_was_agreed_to_is_accepted(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        assert officer(tmp_path).accept(PLAN.digest, "train", ASKED, "study", number) == (PLAN, MECHANISM)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"noise_multiplier": 0}, "noise multiplier 0 was asked for, 2.0 agreed to"),
        ({"noise_multiplier": 1.9}, "noise multiplier 1.9 was asked for, 2.0 agreed to"),
        ({"clipping_norm": 1e9}, "clipping norm 1000000000.0 was asked for, 1.0 agreed to"),
        ({"rate": 0.5}, "rate 0.5 was asked for, 1.0 agreed to"),
        ({"rounds": 4}, "rounds 4 was asked for, 3 agreed to"),
        ({"local_steps": 3}, "local steps 3 was asked for, 2 agreed to"),
        ({"more": 1}, "more 1 was asked for, None agreed to"),
    ],
)
def test_another_mechanism_is_refused(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    with pytest.raises(RefusalError) as refused:
        officer(tmp_path).accept(PLAN.digest, "train", ASKED | change, "study", 1)
    assert str(refused.value) == f"refused: {reason}"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("other", "train", ASKED, "study", 1), "it was not agreed to this plan"),
        ((PLAN.digest, "generator", ASKED, "study", 1), "the plan that was agreed to has no stage generator"),
        ((PLAN.digest, "train", {}, "study", 1), "clipping norm None was asked for, 1.0 agreed to"),
        ((PLAN.digest, "train", ASKED, "other", 1), "the study is not the one that was agreed to"),
        ((PLAN.digest, "train", ASKED, "study", 4), "round 4 was asked for, 3 were agreed to"),
        ((PLAN.digest, "train", ASKED, "study", 0), "round 0 was asked for, 3 were agreed to"),
    ],
)
def test_another_request_is_refused(tmp_path: Path, arguments: tuple[Any, ...], reason: str) -> None:
    with pytest.raises(RefusalError) as refused:
        officer(tmp_path).accept(*arguments)
    assert str(refused.value) == f"refused: {reason}"


def test_before_any_plan_everything_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusalError, match=r"^refused: it was not agreed to this plan$"):
        Officer(tmp_path, "cell", 1).accept(PLAN.digest, "train", ASKED, "study", 1)


def test_a_plan_for_another_study_beyond_the_limits_or_after_another_is_refused(tmp_path: Path) -> None:
    new = Officer(tmp_path, "cell", 1)
    with pytest.raises(RefusalError, match=r"^refused: the plan is for another study than the one that is asked for$"):
        new.agree(PLAN.to_json(), "other", Limits(), "a", 10)
    with pytest.raises(RefusalError, match=r"^refused: epsilon 6 is not between 0 and 5$"):
        new.agree(PLAN.to_json(), "study", Limits(maximum_epsilon=5), "a", 10)
    new.agree(PLAN.to_json(), "study", Limits(), "a", 10)
    with pytest.raises(RefusalError, match=r"^refused: another plan was agreed to for this deployment$"):
        new.agree(replace(PLAN, budget=7.0).to_json(), "study", Limits(), "a", 10)
    assert new.ledger.agreed(PLAN.digest) == PLAN


def test_a_release_is_keyed_by_all_that_determines_it(tmp_path: Path) -> None:
    """Each change of the request is another one, has another name, and is paid; the same again is not."""
    made = officer(tmp_path)
    names: list[str] = []

    def draw(name: str) -> dict[str, Tensor]:
        names.append(name)
        return {"x": torch.ones(1)}

    plan = replace(PLAN, budget=100.0)
    many = replace(MECHANISM, rounds=50)
    asked: list[tuple[Plan, Mechanism, int, dict[str, Any]]] = [
        (plan, many, 1, {"cell": "c"}),
        (plan, many, 1, {"cell": "d"}),
        (plan, many, 1, {"cell": "c", "more": None}),
        (plan, many, 2, {"cell": "c"}),
        (replace(plan, budget=99.0), many, 1, {"cell": "c"}),
        *((plan, replace(many, **{name: value}), 1, {"cell": "c"}) for name, value in
          (("clipping_norm", 2.0), ("noise_multiplier", 3.0), ("local_steps", 1), ("rounds", 51))),
    ]  # fmt: skip
    spent = [made.release(*request, draw)[1] for request in asked]
    assert len(set(names)) == len(asked) and spent == sorted(set(spent))
    assert [made.release(*request, draw)[1] for request in asked[:4]] == spent[:4]
    assert len(names) == len(asked)


def test_epsilon_is_the_ledgers(tmp_path: Path) -> None:
    made = officer(tmp_path)
    _, spent = made.release(PLAN, MECHANISM, 1, {}, lambda _: {"x": torch.ones(1)})
    assert spent == made.ledger.lines[-1]["epsilon"]["0.0001"]
    assert made.ledger.path == ledger_of(tmp_path, "cell") == tmp_path / "ledger/cell.jsonl"


def test_tensors_are_named_by_all_of_them() -> None:
    tensors = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3.0])}
    others = [{}, {"a": tensors["a"]}, tensors | {"b": torch.tensor([4.0])}, tensors | {"b": torch.tensor([[3.0]])},
              tensors | {"b": torch.tensor([3.0]).double()}, {"a": tensors["a"], "c": tensors["b"]}]  # fmt: skip
    assert len({digest_of_tensors(one) for one in (tensors, *others)}) == 7
    assert digest_of_tensors(dict(reversed(tensors.items()))) == digest_of_tensors(tensors)
