"""Attempts: rounds that lack a hospital are asked again without it, and what they add up to is what plain code does."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from fedmammo.config.study import parse
from fedmammo.errors import InputError, StudyError
from fedmammo.federation.attempts import attempt_of, check_enough, out_of, void
from fedmammo.federation.checkpoint import Checkpoint
from fedmammo.privacy.answer import Answer
from fedmammo.privacy.noise import Grid, from_grid, noised
from fedmammo.privacy.plan import Plan
from fedmammo.privacy.steps import PrivateSteps
from fedmammo.randomness import generator_of
from fedmammo.stages.opened import inputs_of
from fedmammo.training.steps import train

BAD = "hospital-2"
NAMES = ("hospital-1", "hospital-2", "hospital-3")
RATE = 0.1
Model = dict[str, Tensor]


def study(content: dict[str, Any], *faults: dict[str, Any], dropouts: int = 1, **more: Any) -> dict[str, Any]:
    content["diagnosis"] |= {"augmentation": {"flips": "none"},
                             "optimizer": {"name": "sgd", "learning_rate": RATE, "momentum": 0.0}}  # fmt: skip
    return content | {
        "settings": ["real-epsilon-6"],
        "privacy": {"trust": "secure", "dropouts": dropouts, "secret_seed": 1},
        "federation": {"rounds": 3, "local_steps": 1},
        "faults": [{"hospital": BAD, **fault} for fault in faults],
        **more,
    }


def releases(federation: Any, name: str) -> list[dict[str, Any]]:
    path = federation.hospitals.folder / name / "ledger" / f"{federation.deployment.name}.jsonl"
    return [line for line in map(json.loads, path.read_text().splitlines()) if "request" in line]


def clean_and_noise(federation: Any, name: str, line: dict[str, Any], model: Model) -> list[Tensor]:
    """A hospital's sum of clipped gradients and its share of the noise, by the plain functions; no mask."""
    site, deployment, plan = federation.hospitals.sites[name], federation.deployment, federation.plan
    patients = site.holder(deployment).training
    private = PrivateSteps(plan.mechanism("train"), site.secret, line["request"], len(patients), sums=True)
    trained, _, _ = train(
        inputs_of(site, deployment), patients, deployment.diagnosis, 1, generator_of("any"), model, {}, private=private
    )
    sums = list(trained.model.values())
    return noised(sums, private.grid(sums).shared(plan.shares), site.secret.stream(line["request"], "noise", 0))


def by_plain_code(federation: Any, asked: list[tuple[int, int, tuple[str, ...]]]) -> Model:
    """The model after rounds, each with its attempt and who was added up in it."""
    model, plan = dict(federation.initial), federation.plan
    mechanism = plan.mechanism("train")
    grid = Grid.of(mechanism.clipping_norm, mechanism.noise_multiplier, sum(one.numel() for one in model.values()))
    for number, attempt, members in asked:
        parts = []
        for name in members:
            lines = {(line["round"], line["attempt"]): line for line in releases(federation, name)}
            parts.append(clean_and_noise(federation, name, lines[number, attempt], model))
        total = [torch.stack(some).sum(dim=0) for some in zip(*parts, strict=True)]
        means = from_grid(total, grid, sum(plan.patients[name] for name in members))
        model = {name: one - RATE * mean.float() for (name, one), mean in zip(model.items(), means, strict=True)}
    return model


def test_a_federation_is_what_plain_code_does(
    phantom_study: dict[str, Any], federation_of: Any, tmp_path: Path
) -> None:
    federation = federation_of(study(phantom_study), tmp_path)
    found = federation.train().models["all"]
    expected = by_plain_code(federation, [(number, 1, NAMES) for number in (1, 2, 3)])
    assert all(torch.allclose(found[name], tensor, atol=1e-7, rtol=1e-6) for name, tensor in expected.items())
    assert not torch.allclose(found["head.weight"], federation.initial["head.weight"], atol=1e-3)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize(
    ("kind", "spent"), [("drops_out", 0), ("crashes", 0), ("late", 1), ("not_a_number", 1), ("wrong_shape", 1)]
)
def test_a_hospital_that_fails_in_any_part_of_a_round(
    phantom_study: dict[str, Any], federation_of: Any, tmp_path: Path, kind: str, spent: int, number: int
) -> None:
    """Before anything is drawn, in the midst of a step, or after it was charged: the attempt is void, the others are
    asked again, and all that was drawn is paid. The model is what plain code makes of whole attempts.
    """
    federation = federation_of(study(phantom_study, {"kind": kind, "rounds": [number]}), tmp_path)
    checkpoint = federation.train()
    others = ("hospital-1", "hospital-3")
    asked = [(one, 1, NAMES) for one in range(1, number)] + [(number, 2, others)]
    asked += [(one, 1, others) for one in range(number + 1, 4)]
    expected, found = by_plain_code(federation, asked), checkpoint.models["all"]
    assert all(torch.allclose(found[name], tensor, atol=1e-7, rtol=1e-6) for name, tensor in expected.items())
    attempts = [(one, 1) for one in range(1, number + 1)] + [(number, 2)] + [(one, 1) for one in range(number + 1, 4)]
    for name in others:
        assert [(line["round"], line["attempt"]) for line in releases(federation, name)] == attempts
    assert [line["round"] for line in releases(federation, BAD)] == list(range(1, number + spent))
    rows = pd.DataFrame(checkpoint.rows)
    table = rows.assign(status=rows["status"].str.replace(":.*", "", regex=True)).groupby(["hospital", "round"])
    told = table["status"].agg(list)
    assert told["hospital-1", number] == ["void", "ok"] and told[BAD, number] == ["failed", f"out since it failed in "
                                                                                 f"round {number}"]  # fmt: skip
    assert rows["epsilon_spent"].max() == pytest.approx(federation.plan.epsilon(1e-4))
    assert rows.query("status.str.startswith('void')")["epsilon_spent"].notna().all()


def test_more_than_may_drop_out_end_the_study_and_the_same_command_goes_on(
    phantom_study: dict[str, Any], federation_of: Any, tmp_path: Path
) -> None:
    """In round 2 a hospital drops out for good, in round 3 another: two of three are needed. When that one is back, the
    same attempt goes on, free for whoever answered; all ends as if it had been there.
    """
    gone = {"kind": "drops_out", "rounds": [2]}
    whole = federation_of(study(phantom_study, gone), tmp_path / "whole")
    expected = whole.train()
    content = study(phantom_study, gone)
    content["faults"].append({"hospital": "hospital-3", "kind": "late", "rounds": [3]})
    federation = federation_of(content, tmp_path / "run")
    with pytest.raises(StudyError) as ended:
        federation.train()
    assert str(ended.value).startswith("train, round 3: 1 of 3 hospitals are left, 2 are needed (privacy.dropouts: 1); "
                                       "hospital-3 failed: FaultError: answered late")  # fmt: skip
    assert "\n" not in str(ended.value) and Checkpoint.read(federation.path).round == 2
    again = federation_of(study(phantom_study, gone), tmp_path / "run")
    found = again.train()
    assert found.rows == expected.rows
    assert all(torch.equal(found.models["all"][name], one) for name, one in expected.models["all"].items())
    assert len(releases(again, "hospital-3")) == 4


def test_what_is_spoiled_after_it_was_masked_ends_the_study(
    phantom_study: dict[str, Any], federation_of: Any, tmp_path: Path
) -> None:
    """Ten times a masked sum is no sum: nobody can tell whose, and no model is made of it."""
    federation = federation_of(study(phantom_study, {"kind": "scaled", "rounds": [2]}), tmp_path)
    with pytest.raises(StudyError, match=r"^the hospitals' masks do not cancel; compare the keys under peers"):
        federation.train()
    assert Checkpoint.read(federation.path).round == 1


class Stopped(Exception):
    """In place of a kill."""


@pytest.mark.parametrize("write", [1, 2, 3])
def test_a_server_that_is_stopped_around_a_void_attempt_goes_on_to_the_same(
    phantom_study: dict[str, Any], federation_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: int
) -> None:
    """At each checkpoint in turn, one of them between the attempts; hospitals answer again for nothing."""
    content = study(phantom_study, {"kind": "crashes", "rounds": [2]})
    whole = federation_of(content, tmp_path / "whole")
    expected = whole.train()
    written, true = [], Checkpoint.write

    def stopping(self: Checkpoint, path: Path) -> None:
        written.append(path)
        if len(written) == write:
            raise Stopped
        true(self, path)

    with monkeypatch.context() as broken:
        broken.setattr(Checkpoint, "write", stopping)
        with pytest.raises(Stopped):
            federation_of(content, tmp_path / "run").train()
    again = federation_of(content, tmp_path / "run")
    found = again.train()
    assert found.rows == expected.rows and again.path.read_bytes() == whole.path.read_bytes()
    for name in NAMES:
        assert releases(again, name) == releases(whole, name)


def test_a_hospital_whose_message_was_lost_is_asked_again_for_the_same(
    phantom_study: dict[str, Any], federation_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not out, nobody pays twice, and no round is asked again."""
    from fedmammo.stages import hospital

    true, lost = hospital.with_faults, [2]

    def losing(work: Any, *rest: Any) -> Answer:
        answer = true(work, *rest)
        if work.job.stage == "train" and work.site.name == BAD and lost[0]:
            lost[0] -= 1
            raise ConnectionError("the line is gone")
        return answer

    monkeypatch.setattr(hospital, "with_faults", losing)
    federation = federation_of(study(phantom_study), tmp_path)
    assert {row["status"] for row in federation.train().rows} == {"ok"}
    assert [len(releases(federation, name)) for name in NAMES] == [3, 3, 3] and lost == [0]


def test_a_hospital_that_is_away_is_no_member_of_the_round(
    phantom_study: dict[str, Any], federation_of: Any, tmp_path: Path
) -> None:
    content = study(phantom_study, arms={"scheduled": {}})
    content["hospitals"]["schedule"] = [{"hospital": BAD, "away": [2]}]
    federation = federation_of(content, tmp_path)
    found = federation.train()
    others = ("hospital-1", "hospital-3")
    expected = by_plain_code(federation, [(1, 1, NAMES), (2, 1, others), (3, 1, NAMES)])
    assert all(torch.allclose(found.models["all"][name], one, atol=1e-7, rtol=1e-6) for name, one in expected.items())
    assert [row["status"] for row in found.rows if row["hospital"] == BAD] == ["ok", "away", "ok"]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"dropouts": 2}, r"^privacy: of 3 hospitals fewer than 2 are left where 2 drop out$"),
        (
            {"arms": {"scheduled": {}}, "dropouts": 0},
            r"^privacy: 2 of 3 hospitals are there in some round of hospitals\.schedule, 3 are needed$",
        ),
    ],
)
def test_a_study_that_cannot_be_is_refused_before_anything_runs(
    phantom_study: dict[str, Any], run_inline: Callable[..., Path], tmp_path: Path, keys: dict[str, Any], expected: str
) -> None:
    content = study(phantom_study, **{"arms": {"federated": {}}} | keys)
    if "scheduled" in content["arms"]:
        content["hospitals"]["schedule"] = [{"hospital": BAD, "away": [2]}]
    with pytest.raises(InputError, match=expected):
        run_inline(parse(content, "test"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_study_of_all_arms(phantom_study: dict[str, Any], run_inline: Callable[..., Path], tmp_path: Path) -> None:
    """Whoever learns alone adds all the noise: no share, no mask, no spare round. Tables say against whom, and what was
    void; nobody counts that as missed.
    """
    content = study(phantom_study, {"kind": "late", "rounds": [2]})
    out = run_inline(parse(content, "test"), tmp_path / "run")
    table = pd.read_csv(out / "guarantees.csv").set_index("arm")
    assert table["trust"].to_dict() == {"centralized": "local", "local": "local", "federated": "secure"}
    assert table["adversary"]["federated"].startswith("the server, also one that lies, and whoever gets the model, but "
                                                      "not another hospital")  # fmt: skip
    spent = pd.read_csv(out / "privacy.csv").query("stage == 'train'").set_index(["arm", "hospital"])
    assert spent["releases"].to_dict() == {
        ("centralized", "all"): 3, **{("local", name): 3 for name in NAMES},
        ("federated", "hospital-1"): 4, ("federated", BAD): 2, ("federated", "hospital-3"): 4,
    }  # fmt: skip
    costs = pd.read_csv(out / "costs.csv").query("arm == 'federated'").set_index("hospital")
    assert costs["missed"].to_dict() == {"hospital-1": 0, BAD: 3, "hospital-3": 0}


def test_what_rows_say_of_attempts() -> None:
    """By hand: in round 2 of three hospitals the second fails, then the third of those that are left."""
    plan = Plan("study", "secure", 6.0, 1e-4, (), dict.fromkeys(NAMES, 5), 1)
    rows = [{"round": 1, "hospital": name, "status": "ok"} for name in NAMES]
    assert (out_of(rows), attempt_of(rows, 1), attempt_of(rows, 2)) == ({}, 1, 1)
    first = [{"round": 2, "hospital": name, "status": "failed: x" if name == BAD else "ok"} for name in NAMES]
    answers = {name: "failed: x" if name == BAD else Answer() for name in NAMES}
    rows += void(first, answers)
    assert [row["status"] for row in rows[3:]] == ["void: hospital-2 failed", "failed: x", "void: hospital-2 failed"]
    assert out_of(rows) == {BAD: "out since it failed in round 2"} and attempt_of(rows, 2) == 2
    assert attempt_of(rows, 3) == 1
    check_enough(plan, rows, NAMES, "train, round 2")
    with pytest.raises(StudyError, match=r"^train, round 2: 1 of 3 hospitals are left, 2 are needed"):
        check_enough(plan, rows, NAMES[:2], "train, round 2")
    rows.append({"round": 2, "hospital": "hospital-3", "status": "failed: y"})
    with pytest.raises(StudyError, match=r"hospital-3 failed: y; what was finished is kept"):
        check_enough(plan, rows, NAMES, "train, round 2")
