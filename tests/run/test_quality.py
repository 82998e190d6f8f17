"""The quality of a run's pools: a row for each pool and measure, the same pool measured once."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedmammo.cohort.store import Cohort
from fedmammo.config.study import StudyConfig
from fedmammo.phantom.patches import draw_patches
from fedmammo.run import quality as pool_quality
from fedmammo.run.pools import COLUMNS
from fedmammo.run.quality import write_quality
from fedmammo.synthesis import radiomics
from fedmammo.synthesis.pool import Pool, Synthetic, write_pool
from fedmammo.synthesis.quality import Images, quality_of

pytestmark = pytest.mark.usefixtures("without_radiomics")

MALIGNANT = np.arange(14) % 2 == 1


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
        table += [
            (arm, "real", "", "all", 0, 0, holder, pool.digest, len(pool.images), "none") for arm, holder in places
        ]
    pd.DataFrame(table, columns=COLUMNS).to_csv(folder / "synthetic" / "pools.csv", index=False)
    return folder


def test_every_pool_has_its_rows(
    phantom_config: StudyConfig, phantom_cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[np.ndarray] = []

    def spy(train: Images, test: Images, synthetic: Images, *rest: Any, **named: Any) -> pd.DataFrame:
        measured.append(synthetic.patches)
        return quality_of(train, test, synthetic, *rest, **named)

    monkeypatch.setattr(pool_quality, "quality_of", spy)
    table = write_quality(phantom_config, run_with_pools(tmp_path, phantom_cohort))
    written = pd.read_csv(tmp_path / "synthetic" / "quality.csv", dtype={"draw": str, "fold": str})
    pd.testing.assert_frame_equal(written, table, check_dtype=False)
    values = table.set_index(["arm", "holder", "metric"])
    measures = table["metric"].unique()
    assert len(table) == 3 * len(measures) == 3 * 11

    central, federated = values.loc["centralized", "all"], values.loc["federated", "all"]
    pd.testing.assert_frame_equal(central, federated)
    digests = pd.read_csv(tmp_path / "synthetic" / "pools.csv")["digest"].unique()
    pools = [Pool.open(tmp_path / "synthetic", digest).patches for digest in digests]
    assert len(measured) == len(pools) == 2, "the pool of two arms is measured once"
    assert all(np.array_equal(found, pool) for found, pool in zip(measured, pools, strict=True))
    ratio = values["value"].xs("nearest_patient_ratio", level="metric")
    assert ratio["local", "hospital-1"] == pytest.approx(0, abs=1e-4)
    assert ratio["centralized", "all"] > 0.3
    notes = values["note"].xs("radiomics_distance", level="metric")
    assert notes["local", "hospital-1"] == "left out"
    assert notes["centralized", "all"] == radiomics.INSTALL


def test_it_is_the_same_every_time(phantom_config: StudyConfig, phantom_cohort: Cohort, tmp_path: Path) -> None:
    run = run_with_pools(tmp_path, phantom_cohort)
    write_quality(phantom_config, run)
    before = (run / "synthetic" / "quality.csv").read_bytes()
    write_quality(phantom_config, run)
    assert (run / "synthetic" / "quality.csv").read_bytes() == before
