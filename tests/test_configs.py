"""The shipped studies run as they are shipped, as far as this machine allows."""

from pathlib import Path

import pandas as pd
import pytest

from fedmammo.cohort.options import Options
from fedmammo.cohort.prepare import prepare
from fedmammo.cohort.store import Cohort
from fedmammo.commands import run as engine
from fedmammo.config.study import load

CONFIGS = Path(__file__).parents[1] / "configs"


@pytest.mark.long
def test_swin_runs_one_round_on_phantoms(
    phantom_cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real studies need a GPU and pretrained weights; everything else is as shipped: Swin-T, all layers, 224 px."""
    monkeypatch.setenv("FEDMAMMO_COHORT", str(phantom_cohort.folder))
    smaller = ["diagnosis.weights=none", "engine.gpus_per_hospital=0", "seeds=[0]"]
    rounds = ["federation.rounds=1", "federation.local_steps=1"]
    engine.run(load(CONFIGS / "cbis_ddsm.yaml", smaller + rounds), tmp_path / "run", lambda _: None)
    results = pd.read_csv(tmp_path / "run/results.csv")
    assert set(results["arm"]) == {"centralized", "local", "federated"}
    assert set(pd.read_csv(tmp_path / "run/rounds.csv")["status"]) == {"ok"}


@pytest.mark.long
def test_real_patches_on_a_processor_reach_their_bars(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Centralised AUROC on `val` at least .74, federated within .02 of it."""
    prepare(shared / "data/cbis-ddsm-masses", tmp_path / "cohort", Options(csv=shared / "data/tcia-csv"))
    monkeypatch.setenv("FEDMAMMO_COHORT", str(tmp_path / "cohort"))
    monkeypatch.setenv("FEDMAMMO_WEIGHTS", str(shared / "weights/vit_small_patch14_dinov2.safetensors"))
    engine.run(load(CONFIGS / "cbis_ddsm_cpu.yaml"), tmp_path / "run", lambda _: None)
    results = pd.read_csv(tmp_path / "run/results.csv", dtype={"seed": str})
    whole = results.query("seed == 'all' and trained_at == 'all' and tested_at == 'all' and metric == 'auroc'")
    auroc = whole.set_index("arm")["value"]
    assert auroc["centralized"] >= 0.74
    assert abs(auroc["federated"] - auroc["centralized"]) <= 0.02
    assert auroc["local"] < auroc["federated"]


def test_the_studies_of_hospitals_differ_only_in_hospitals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else docs/hospitals.md would compare something else."""
    monkeypatch.setenv("FEDMAMMO_COHORT", "cohort")
    monkeypatch.setenv("FEDMAMMO_WEIGHTS", "weights")
    studies = [load(CONFIGS / f"hospitals_{name}.yaml") for name in ("density", "dirichlet", "profiles")]
    assert len({study.hospitals.assignment.by for study in studies}) == 3
    assert len({tuple(study.hospitals.seed) for study in studies}) == 1
    rest = [study.model_dump(exclude={"name", "hospitals", "about"}) for study in studies]
    assert rest[0] == rest[1] == rest[2]
