"""Generators on the inline grid: what combining means, quotas, hospitals with little, and what travels."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from fedmammo.cohort.store import Cohort, write_cohort
from fedmammo.config.study import StudyConfig, parse
from fedmammo.disk.files import read_tensors
from fedmammo.errors import StudyError
from fedmammo.federation.client_app import app_of
from fedmammo.federation.inline_grid import InlineGrid
from fedmammo.federation.messages import pack, size
from fedmammo.hospitals.dealing import deal
from fedmammo.hospitals.holder import Holder
from fedmammo.models.mcgan import build_mcgan
from fedmammo.stages import generator as stage
from fedmammo.synthesis.sampling import shares
from fedmammo.synthesis.sources import FromGan

Finish = Callable[..., Path]
GAN = {
    "source": "gan", "images": 20, "image_size": 32, "width": 4, "rounds": 2, "local_steps": 2, "batch": 4,
    "phantom_steps": 2,
}  # fmt: skip


@pytest.fixture
def study(phantom_study: dict[str, Any]) -> dict[str, Any]:
    """Three hospitals that pretrain on a GAN's images."""
    return {**phantom_study, "settings": ["synthetic"], "synthesis": dict(GAN)}


def held(config: StudyConfig) -> dict[str, Holder]:
    cohort = Cohort.open(Path(config.cohort.path))
    found = deal(cohort, config).held(cohort, config.deployment("federated", "synthetic"))
    return {name: holder for name, holder in found.items() if name != "all"}


def pools(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "synthetic/pools.csv").set_index(["arm", "holder"])


def images(folder: Path, arm: str, holder: str = "all") -> pd.DataFrame:
    return pd.read_csv(folder / "synthetic" / pools(folder).loc[(arm, holder), "digest"][:16] / "images.csv")


def generator(folder: Path, who: str) -> dict[str, Tensor]:
    return read_tensors(folder / f"models/generator-{who}-none-draw0.safetensors")[0]


def assert_every_arm_has_a_pool(out: Path) -> None:
    """Nothing of a GAN travels but in the federated arm; what only continuing needs is gone."""
    assert list(pools(out).index) == [
        ("centralized", "all"), *(("local", f"hospital-{number}") for number in (1, 2, 3)), ("federated", "all"),
    ]  # fmt: skip
    assert len(pools(out)["digest"].unique()) == 5
    rows = pd.read_csv(out / "rounds.csv")
    assert not list(out.glob("hospitals/*/generator-*")) and not list(out.glob("deployments/*/checkpoint*"))
    assert set(rows[(rows["stage"] == "generator") & (rows["arm"] != "federated")]["bytes_up"]) == {0}


def test_a_pool_has_images_of_each_hospitals_generator_by_quota(
    study: dict[str, Any], run_inline: Finish, tmp_path: Path
) -> None:
    config = parse(study, "test")
    out = run_inline(config, tmp_path / "run")
    assert_every_arm_has_a_pool(out)
    malignant = Cohort.open(Path(config.cohort.path)).manifest["malignant"].to_numpy()
    found = {name: one.training for name, one in held(config).items()}
    federated = images(out, "federated")
    for label in (0, 1):
        patients = [sum(bool((malignant[rows] == label).any()) for rows in training) for training in found.values()]
        expected = {name: n for name, n in zip(found, shares(np.array(patients, float), 10), strict=True) if n}
        assert federated[federated["malignant"] == label]["origin"].value_counts().to_dict() == expected
    # A hospital's images in the shared pool are those of its own pool in the local arm.
    for name in found:
        assert set(images(out, "local", name)["origin"]) == {name}
        own = np.load(out / "synthetic" / pools(out).loc[("local", name), "digest"][:16] / "patches.npy")
        shared = np.load(out / "synthetic" / pools(out).loc[("federated", "all"), "digest"][:16] / "patches.npy")
        sent = shared[(federated["origin"] == name).to_numpy()]
        assert {patch.tobytes() for patch in sent} <= {patch.tobytes() for patch in own}
    manifest = json.loads(
        (out / "synthetic" / pools(out).loc[("federated", "all"), "digest"][:16] / "manifest.json").read_text()
    )
    assert manifest["guarantee"] == "none"
    assert (pools(out)["guarantee"] == "none").all()


def test_one_round_of_average_is_the_mean_of_hospitals_gans_weighted_by_patients(
    study: dict[str, Any], run_inline: Finish, tmp_path: Path
) -> None:
    """After one round, averaged = sum n_h x own_h / sum n_h, since both begin alike and name randomness by hospital.

    The streams of a GAN that trains alone and of one that is averaged have other names, so the hospitals' own GANs are
    read from what they sent: the state that they keep until the study ends.
    """
    study["synthesis"] |= {"combine": "average", "rounds": 1}
    config = parse(study, "test")
    sent: dict[str, dict[str, Tensor]] = {}
    commit = stage.commit_state

    def watch(folder: Path, number: int, state: dict[str, Tensor], keep: bool) -> None:
        if folder.name.startswith("generator-federated-"):
            sent[folder.parent.name] = {key: value.clone() for key, value in state.items()}
        commit(folder, number, state, keep)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "commit_state", watch)
        out = run_inline(config, tmp_path / "run")
    assert_every_arm_has_a_pool(out)
    weights = {name: len(holder.training) for name, holder in held(config).items()}
    assert weights.keys() == sent.keys()
    assert len(sent) == 3
    for name, value in generator(out, "federated").items():
        expected = sum(weights[who] * sent[who][f"gan/{name}"].double() for who in sent) / sum(weights.values())
        torch.testing.assert_close(value.double(), expected, atol=1e-6, rtol=1e-5)


def test_with_discriminators_the_server_trains_the_generator_and_hospitals_none(
    study: dict[str, Any], run_inline: Finish, tmp_path: Path
) -> None:
    study["synthesis"] |= {"combine": "discriminator", "rounds": 1, "phantom_steps": 0}  # nobody else trains it
    out = run_inline(parse(study, "test"), tmp_path / "run")
    assert_every_arm_has_a_pool(out)
    rows = pd.read_csv(out / "rounds.csv")
    rows = rows[(rows["stage"] == "generator") & (rows["arm"] == "federated")]
    parts = build_mcgan(FromGan.model_validate(study["synthesis"])).tensors("discriminator")
    assert set(rows["bytes_up"]) == {size(pack(parts))}
    assert rows["loss"].notna().all()
    start = build_mcgan(FromGan.model_validate(study["synthesis"])).state_dict()
    trained = generator(out, "federated")
    assert trained
    assert any(not torch.equal(start[name], value) for name, value in trained.items())


def test_hospitals_with_three_images_or_one_class_take_part(
    study: dict[str, Any], run_inline: Finish, phantom_cohort: Cohort, tmp_path: Path
) -> None:
    """One hospital trains on three images at most, another on benign ones alone; their quotas follow."""
    manifest = phantom_cohort.manifest
    malignant = phantom_cohort.patients["malignant"]
    train = malignant.index[phantom_cohort.patients["split"] == "train"]
    benign = train[~malignant[train]]
    hospital = pd.Series("north", malignant.index)
    hospital[benign[:5]] = "benign-only"
    hospital[[benign[5], train[malignant[train]][0]]] = "tiny"
    rows = manifest.assign(hospital=manifest["patient"].map(hospital), listed_in="", listed_row=None, at=manifest.index)
    facts = {"source": "", "notes": {}}
    write_cohort(
        tmp_path / "odd", rows, [], lambda row: phantom_cohort.patches[row["at"]], 128, lambda: facts, ["hospital"]
    )
    study["cohort"]["path"] = str(tmp_path / "odd")
    study["hospitals"]["assignment"] = {"by": "attribute", "attribute": "hospital"}
    study["settings"] = ["pretrained"]
    study["arms"] = ["local", "federated"]
    out = run_inline(parse(study, "test"), tmp_path / "run")
    assert set(images(out, "local", "hospital-benign-only")["malignant"]) == {0}
    federated = images(out, "federated")
    assert federated["malignant"].value_counts().to_dict() == {0: 10, 1: 10}
    assert "hospital-benign-only" not in set(federated[federated["malignant"] == 1]["origin"])
    assert set(pd.read_csv(out / "rounds.csv")["status"]) == {"ok"}


def run_without_second_hospital(study: dict[str, Any], run_inline: Finish, folder: Path) -> Path:
    """Run a study while a folder lies where hospital-2 would keep its GAN."""

    def grid(hospitals: Path, nodes: int) -> InlineGrid:
        (hospitals / "hospital-2" / "generator-alone-hospital-2-none-draw0" / "round-00001.safetensors").mkdir(
            parents=True
        )
        return InlineGrid(app_of(hospitals), nodes)

    return run_inline(parse(study, "test"), folder / "run", grid)


def test_a_hospital_whose_gan_fails_is_left_out_of_the_pool(
    study: dict[str, Any], run_inline: Finish, tmp_path: Path
) -> None:
    """The others' pool is made, and has nothing of it."""
    study["arms"] = ["federated"]
    out = run_without_second_hospital(study, run_inline, tmp_path)
    assert not (out / "models/generator-alone-hospital-2-none-draw0.safetensors").exists()
    assert set(images(out, "federated")["origin"]) == {"hospital-1", "hospital-3"}
    rows = pd.read_csv(out / "rounds.csv")
    failed = rows[(rows["stage"] == "generator") & (rows["hospital"] == "hospital-2")]["status"]
    assert len(failed) == 2 and failed.str.startswith("failed: ").all()


def test_a_hospital_without_a_gan_has_no_local_arm(study: dict[str, Any], run_inline: Finish, tmp_path: Path) -> None:
    """The federated arm goes on without it; the local arm takes up the same GANs, and uses none that is untrained."""
    study["arms"] = ["federated", "local"]
    with pytest.raises(StudyError, match=r"^hospital-2: has no generator for the local arm, .* leave local out of"):
        run_without_second_hospital(study, run_inline, tmp_path)
    assert list(pools(tmp_path / "run").index) == [("federated", "all")]
