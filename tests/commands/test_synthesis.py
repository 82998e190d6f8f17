"""Synthetic images measured on drawn patients: read from a pool or from files, resized alike, written down."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from fedmammo.cohort.store import Cohort
from fedmammo.commands.synthesis import assess, check_suffix, save
from fedmammo.config.study import StudyConfig
from fedmammo.errors import InputError, StudyError
from fedmammo.phantom.patches import draw_patches
from fedmammo.synthesis.pool import Synthetic, write_pool

pytestmark = pytest.mark.usefixtures("without_radiomics")

MALIGNANT = np.arange(12) % 2 == 1


def quiet(text: str) -> None:
    """Take no notice of progress."""


@pytest.fixture(scope="module")
def drawn() -> NDArray[np.uint16]:
    patches, _ = draw_patches(len(MALIGNANT), seed=9, size=64)
    return patches


@pytest.fixture
def files(drawn: NDArray[np.uint16], tmp_path: Path) -> Path:
    """The patches as 16-bit files, by class and in order."""
    (tmp_path / "files").mkdir()
    for number, (patch, malignant) in enumerate(zip(drawn, MALIGNANT, strict=True)):
        Image.fromarray(patch).save(tmp_path / "files" / f"{number:02d}_{'malignant' if malignant else 'benign'}.png")
    return tmp_path / "files"


def test_a_pool_and_its_files_measure_the_same(
    phantom_config: StudyConfig, phantom_cohort: Cohort, drawn: NDArray[np.uint16], files: Path, tmp_path: Path
) -> None:
    order = np.argsort(MALIGNANT, kind="stable")  # as files are read: benign ones first
    synthetic = Synthetic(drawn[order], MALIGNANT[order], np.full(len(MALIGNANT), "a"))
    pool = write_pool(tmp_path / "pools", synthetic, {}, "none")
    as_pool, as_files = (assess(phantom_config, folder, None, None, 1, quiet) for folder in (pool.folder, files))
    pd.testing.assert_frame_equal(as_pool.table, as_files.table)
    counts = phantom_cohort.manifest["split"].value_counts()
    assert as_files.table.loc[1, "images"] == counts["test"] < 12  # equal numbers: of the kind that has fewest
    assert f"12 synthetic images beside {counts['train']} training and {counts['test']} test" in as_files.note


def test_what_is_shown_is_what_was_measured(
    phantom_config: StudyConfig, phantom_cohort: Cohort, drawn: NDArray[np.uint16], files: Path
) -> None:
    found = assess(phantom_config, files, None, None, 1, quiet)
    benign = {patch.tobytes() for patch in drawn[~MALIGNANT]}
    assert {patch.tobytes() for patch in found.kinds["synthetic, benign"]} == benign
    assert {len(found.kinds[f"synthetic, {name}"]) for name in ("benign", "malignant")} == {6}
    manifest = phantom_cohort.manifest
    malignant = phantom_cohort.patches[manifest["malignant"] & (manifest["split"] == "train")]
    assert {patch.tobytes() for patch in found.kinds["real, malignant"]} <= {patch.tobytes() for patch in malignant}
    assert found.ratios == sorted(found.ratios)
    assert [len(patches) for patches in found.nearest.values()] == [10, 10, 10]


def test_training_images_given_for_synthetic_ones_are_found_to_be_copies(
    phantom_config: StudyConfig, phantom_cohort: Cohort, tmp_path: Path
) -> None:
    rows = np.flatnonzero(phantom_cohort.manifest["split"] == "train")[:12]
    synthetic = Synthetic(phantom_cohort.patches[rows], MALIGNANT, np.full(12, "a"))
    found = assess(phantom_config, write_pool(tmp_path, synthetic, {}, "none").folder, None, None, 1, quiet)
    table = found.table.set_index("metric")["value"]
    assert table["nearest_patient_ratio"] == pytest.approx(0, abs=1e-4)
    np.testing.assert_array_equal(found.nearest["synthetic"], found.nearest["nearest patient"])


def test_both_kinds_are_resized_alike(phantom_config: StudyConfig, files: Path) -> None:
    found = assess(phantom_config, files, "test", 16, 1, quiet)
    assert {patch.shape for patches in found.kinds.values() for patch in patches} == {(16, 16)}
    assert {patch.shape for patches in found.nearest.values() for patch in patches} == {(16, 16)}
    assert "at 16 pixels" in found.note


def test_it_is_written_as_a_page_and_as_rows(phantom_config: StudyConfig, files: Path, tmp_path: Path) -> None:
    found = assess(phantom_config, files, None, None, 1, quiet)
    save(tmp_path / "quality.csv", found)
    save(tmp_path / "quality.html", found)
    rows = pd.read_csv(tmp_path / "quality.csv")
    pd.testing.assert_frame_equal(rows, found.table, check_dtype=False)
    assert "nearest patient ratio" in (tmp_path / "quality.html").read_text()


@pytest.mark.parametrize(
    ("split", "says"),
    [("val", r"--split val: .* has no such split; it has test, train"), ("train", "whose patients were not seen")],
)
def test_a_split_that_cannot_be_compared_with_is_refused(
    split: str, says: str, phantom_config: StudyConfig, files: Path
) -> None:
    with pytest.raises(InputError, match=says):
        assess(phantom_config, files, split, None, 1, quiet)


def test_a_folder_without_images_or_with_a_broken_one_is_refused(
    phantom_config: StudyConfig, files: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="nowhere"):
        assess(phantom_config, tmp_path / "nowhere", None, None, 1, quiet)
    (files / "03_malignant.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"03_malignant\.png: .*; remove or mend it"):
        assess(phantom_config, files, None, None, 1, quiet)


def test_an_altered_pool_is_refused(phantom_config: StudyConfig, drawn: NDArray[np.uint16], tmp_path: Path) -> None:
    pool = write_pool(tmp_path, Synthetic(drawn, MALIGNANT, np.full(12, "a")), {}, "none")
    content = bytearray((pool.folder / "patches.npy").read_bytes())
    content[-1] ^= 1
    (pool.folder / "patches.npy").write_bytes(content)
    with pytest.raises(StudyError, match="not those"):
        assess(phantom_config, pool.folder, None, None, 1, quiet)


def test_another_suffix_is_refused() -> None:
    with pytest.raises(InputError, match=r"page\.pdf: expected a name that ends in \.html or \.csv"):
        check_suffix(Path("page.pdf"))
