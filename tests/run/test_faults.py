"""Hospitals that fail, as a study orders it: each is caught, its reason is recorded, the others go on, ledgers hold."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from fedmammo.cohort.store import Cohort
from fedmammo.config.study import parse
from fedmammo.disk.files import read_tensors
from fedmammo.errors import InputError, StudyError
from fedmammo.hospitals.dealing import deal
from fedmammo.models.classifier import initial_model

Run = Callable[..., Path]
BAD = "hospital-2"
REASONS = {
    "drops_out": "failed: FaultError: dropped out of the round, as the study orders",
    "late": "failed: FaultError: answered late, as the study orders: nobody waited",
    "crashes": "failed: FaultError: crashed in the midst of a step, as the study orders",
    "not_a_number": "failed: its model is not finite",
    "wrong_shape": "failed: tensor head.weight has shape (1, 1, 64) instead of (1, 64)",
    "wrong_names": "failed: tensor head.bias is missing",
}


def study(content: dict[str, Any], *faults: dict[str, Any], **more: Any) -> Any:
    content = content | {"arms": ["federated"], "faults": [{"hospital": BAD, **fault} for fault in faults]} | more
    return parse({**content, "federation": {"rounds": 4, "local_steps": 2}}, "test")


def model(folder: Path, setting: str = "real") -> dict[str, torch.Tensor]:
    return read_tensors(folder / f"models/federated-{setting}-seed0-draw0-fold0-all.safetensors")[0]


@pytest.mark.parametrize("setting", ["real", "real-epsilon-6"])
@pytest.mark.parametrize("kind", REASONS)
def test_a_hospital_that_fails_is_recorded_and_the_others_go_on(
    phantom_study: dict[str, Any], run_inline: Run, tmp_path: Path, kind: str, setting: str
) -> None:
    """In rounds 2 and 3. Its ledger has what it released: what was late or spoiled is spent, what never was is not."""
    out = run_inline(study(phantom_study, {"kind": kind, "rounds": "2..3"}, settings=[setting]), tmp_path / "run")
    rows = pd.read_csv(out / "rounds.csv").query("stage == 'train'").set_index(["hospital", "round"])["status"]
    assert [rows[BAD, number] for number in (1, 4)] == ["ok", "ok"]
    width = model(out, setting)["head.weight"].shape[1]
    for number in (2, 3):
        assert rows[BAD, number] == REASONS[kind].replace("64", str(width))
    assert set(rows.drop(BAD)) == {"ok"} and len(rows) == 12
    assert all(tensor.isfinite().all() for tensor in model(out, setting).values())
    if setting != "real":
        ledger = (out / f"hospitals/{BAD}/ledger/federated-{setting}-seed0-draw0-fold0.jsonl").read_text().splitlines()
        spent = [json.loads(line)["round"] for line in ledger if "request" in json.loads(line)]
        assert spent == ([1, 4] if kind in ("drops_out", "crashes") else [1, 2, 3, 4])


def test_an_update_times_ten_moves_a_mean_tenfold(
    phantom_study: dict[str, Any], run_inline: Run, tmp_path: Path
) -> None:
    """With d, the mean without the hospital, and c, that with it: c = (1 - s) d + s u, where s is its share and u its
    model. Its update u - start ten times moves the mean by 9 s (u - start).
    """
    one, models = {"arms": ["federated"], "federation": {"rounds": 1, "local_steps": 2}}, {}
    for name, faults in {"clean": [], "dropped": ["drops_out"], "scaled": ["scaled"]}.items():
        ordered = [{"hospital": BAD, "kind": kind} for kind in faults]
        config = parse({**phantom_study, **one, "faults": ordered}, "test")
        models[name] = model(run_inline(config, tmp_path / name))["head.weight"]
    cohort, deployment = Cohort.open(Path(config.cohort.path)), config.deployment("federated", "real")
    held = deal(cohort, config).held(cohort, deployment)
    share = len(held[BAD].training) / len(held["all"].training)
    start = initial_model(deployment.diagnosis, deployment.seed)["head.weight"]
    own = (models["clean"] - (1 - share) * models["dropped"]) / share
    assert (own - start).abs().max() > 1e-3
    assert torch.allclose(models["scaled"], models["clean"] + 9 * share * (own - start), atol=1e-5)


def test_flipped_labels_are_learned_from_and_not_tested_on(phantom_study: dict[str, Any]) -> None:
    """A half of its training patients; those of others, and of tested patients, stay."""
    config = study(phantom_study, {"kind": "flipped_labels", "share": 0.5})
    patients = deal(Cohort.open(Path(config.cohort.path)), config).draws[0]
    flipped = patients[patients["exchanged"]]
    assert set(flipped["hospital"]) == {BAD} and set(flipped["split"]) == {"train"}
    own = patients.query("hospital == @BAD and split == 'train'")
    assert len(flipped) == round(0.5 * len(own))


def test_a_hospital_that_is_not_available_takes_part_in_so_many_rounds(
    phantom_study: dict[str, Any], run_inline: Run, tmp_path: Path
) -> None:
    """Half of 40 rounds: between 10 and 30 (six in a million are outside); a second run has the same ones."""
    paths = []
    for name, available in (("A", 1.0), ("B", 0.5)):
        path = tmp_path / f"{name}.yaml"
        privacy = "{without_budget: accepted, central_trust: accepted}"
        path.write_text(f"name: {name}\navailability: {available}\nprivacy: {privacy}")
        paths.append(str(path))
    content = phantom_study | {"arms": ["federated"], "federation": {"rounds": 40, "local_steps": 1}}
    content["hospitals"] = {"assignment": {"by": "profiles", "profiles": paths}}
    taken = []
    for name in ("one", "two"):
        rows = pd.read_csv(run_inline(parse(content, "test"), tmp_path / name) / "rounds.csv").query("stage == 'train'")
        assert set(rows.query("hospital == 'A'")["status"]) == {"ok"}
        taken.append(rows.query("hospital == 'B' and status == 'ok'")["round"].tolist())
    assert taken[0] == taken[1] and 10 <= len(taken[0]) <= 30


def test_too_few_hospitals_end_the_study(phantom_study: dict[str, Any], run_inline: Run, tmp_path: Path) -> None:
    content = phantom_study | {"arms": ["federated"], "faults": [{"hospital": BAD, "kind": "crashes", "rounds": [3]}]}
    content["federation"] = {"rounds": 4, "local_steps": 1, "min_hospitals": 3}
    with pytest.raises(StudyError, match=rf"round 3: 2 of 3 hospitals answered, 3 are needed; {BAD} failed"):
        run_inline(parse(content, "test"), tmp_path / "run")


def test_a_fault_at_nobody_is_refused(phantom_study: dict[str, Any], run_inline: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="faults: the study has no hospital north; it has hospital-1, hospital-2"):
        run_inline(
            parse({**phantom_study, "faults": [{"hospital": "north", "kind": "late"}]}, "test"), tmp_path / "run"
        )
    with pytest.raises(InputError, match="rounds are counted from 1"):
        study(phantom_study, {"kind": "late", "rounds": [0]})


def test_who_declares_other_patients_than_it_answers_for_is_left_out(
    phantom_study: dict[str, Any], run_inline: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weight would be what it likes."""
    from fedmammo.privacy.answer import Answer
    from fedmammo.stages import hospital

    honest = hospital.with_faults

    def lying(work: Any, *rest: Any) -> Answer:
        answer = honest(work, *rest)
        if work.job.stage == "train" and work.site.name == BAD:
            return Answer(answer.tensors, answer.numbers | {"num-examples": 1e6}, answer.beside)
        return answer

    monkeypatch.setattr(hospital, "with_faults", lying)
    out = run_inline(study(phantom_study), tmp_path / "run")
    rows = pd.read_csv(out / "rounds.csv").query("stage == 'train'")
    said = set(rows.query("hospital == @BAD")["status"])
    assert len(said) == 1 and next(iter(said)).endswith("patients and answers for 1e+06")
    assert set(rows.query("hospital != @BAD")["status"]) == {"ok"}
