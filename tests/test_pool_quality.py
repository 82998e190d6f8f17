"""The quality of a run's pools: a row for each pool and measure, the same pool measured once."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedmammo.cohort.store import Cohort
from fedmammo.config import StudyConfig, parse
from fedmammo.phantom.patches import draw_patches
from fedmammo.pool_quality import write_quality
from fedmammo.synthesis import radiomics
from fedmammo.synthesis.pool import Synthetic, write_pool
from fedmammo.synthesis.pools import COLUMNS

MALIGNANT = np.arange(14) % 2 == 1


@pytest.fixture(autouse=True)
def without_radiomics(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without the extra: radiomic features take a quarter of a second an image."""
    monkeypatch.setattr(radiomics, "is_installed", lambda: False)


@pytest.fixture
def study(phantom_study: dict[str, Any]) -> StudyConfig:
    return parse(phantom_study, "small")


def run_with_pools(folder: Path, cohort: Cohort) -> Path:
    """A run with two pools: drawn images, of everybody in two arms; and copies of training images, of one hospital."""
    rows = np.flatnonzero(cohort.manifest["split"] == "train")[: len(MALIGNANT)]
    drawn, _ = draw_patches(len(MALIGNANT), seed=5, size=cohort.patches.shape[1])
    table = []
    for name, patches, places in (
        ("drawn", drawn, [("centralized", "all"), ("federated", "all")]),
        ("copies", cohort.patches[rows], [("local", "hospital-1")]),
    ):
        synthetic = Synthetic(np.asarray(patches), MALIGNANT, np.full(len(MALIGNANT), name))
        pool = write_pool(folder / "synthetic", synthetic, {}, "none")
        table += [(arm, "all", 0, 0, holder, pool.digest, len(pool.images), "none") for arm, holder in places]
    pd.DataFrame(table, columns=COLUMNS).to_csv(folder / "synthetic" / "pools.csv", index=False)
    return folder


def test_every_pool_has_its_rows(study: StudyConfig, phantom_cohort: Cohort, tmp_path: Path) -> None:
    told: list[str] = []
    table = write_quality(study, run_with_pools(tmp_path, phantom_cohort), told.append)
    written = pd.read_csv(tmp_path / "synthetic" / "quality.csv", dtype={"draw": str, "fold": str})
    pd.testing.assert_frame_equal(written, table, check_dtype=False)
    values = table.set_index(["arm", "holder", "metric"])
    measures = table["metric"].unique()
    assert len(table) == 3 * len(measures) == 3 * 11

    central, federated = values.loc["centralized", "all"], values.loc["federated", "all"]
    pd.testing.assert_frame_equal(central, federated)
    assert [text for text in told if text.startswith("quality of")] == [
        "quality of the images of centralized, all",
        "quality of the images of local, hospital-1",
    ]
    ratio = values["value"].xs("nearest_patient_ratio", level="metric")
    assert ratio["local", "hospital-1"] == pytest.approx(0, abs=1e-4)
    assert ratio["centralized", "all"] > 0.3
    notes = values["note"].xs("radiomics_distance", level="metric")
    assert notes["local", "hospital-1"] == "left out"
    assert notes["centralized", "all"] == radiomics.INSTALL


def test_it_is_the_same_every_time(study: StudyConfig, phantom_cohort: Cohort, tmp_path: Path) -> None:
    run = run_with_pools(tmp_path, phantom_cohort)
    write_quality(study, run)
    before = (run / "synthetic" / "quality.csv").read_bytes()
    write_quality(study, run)
    assert (run / "synthetic" / "quality.csv").read_bytes() == before
