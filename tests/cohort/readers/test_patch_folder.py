import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedmammo.cohort.options import Options
from fedmammo.cohort.prepare import prepare
from fedmammo.cohort.store import Cohort
from fedmammo.errors import InputError


@pytest.fixture(scope="module")
def real(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    out = tmp_path_factory.mktemp("real") / "cohort"
    return prepare(shared / "data" / "cbis-ddsm-masses", out, Options(csv=shared / "data" / "tcia-csv"))


def test_real_patches_all_join(real: Cohort) -> None:
    """Counts are those of facts/cbis-ddsm.md: 1296 of 680; 1104/578 and 192/102; 525 and 102 malignant."""
    manifest, patients = real.manifest, real.patients
    assert real.quarantine.empty and real.patches.shape == (1296, 128, 128)
    assert manifest["split"].value_counts().to_dict() == {"train": 1104, "val": 192}
    assert patients["split"].value_counts().to_dict() == {"train": 578, "val": 102}
    assert manifest.groupby("split")["malignant"].sum().to_dict() == {"train": 525, "val": 102}
    assert manifest["density"].notna().all() and manifest["view"].isin(["CC", "MLO"]).all()
    train = patients[patients["split"] == "train"]
    assert train["density"].value_counts().sort_index().tolist() == [104, 256, 161, 57]
    images = manifest[manifest["split"] == "train"]
    assert images.groupby("density")["malignant"].mean().tolist() == pytest.approx([0.44, 0.49, 0.51, 0.40], abs=0.006)


def test_real_ambiguous_mammogram_keeps_what_holds(real: Cohort) -> None:
    """The one mammogram of P_00978 whose patches and CSV rows differ in number: 2 of 1296 images, and no others."""
    unknown = real.manifest[real.manifest["abnormality"].isna()]
    assert set(unknown["patient"]) == {"P_00978"} and len(unknown) == 2
    assert unknown[["assessment", "subtlety", "shape", "margins"]].isna().all(axis=None)
    assert unknown[["density", "side", "view"]].drop_duplicates().values.tolist() == [[3, "RIGHT", "MLO"]]
    assert set(real.facts["notes"]) == set(unknown["image"])


def test_real_pixels_are_the_files(real: Cohort, shared: Path) -> None:
    for row in (0, 700, 1295):
        file = shared / "data" / "cbis-ddsm-masses" / real.manifest.loc[row, "source"]
        np.testing.assert_array_equal(real.patches[row], np.asarray(Image.open(file)).astype(int) * 257)


def test_sorted_k_follows_the_rows_of_a_mammogram(source, tmp_path: Path) -> None:
    """Numbers 9 and 10 of one mammogram are rows 1 and 2 (as numbers, not as text); the other view is its own."""
    first = source.row(subtlety="1")
    source.row(**{"image view": "MLO", "subtlety": "5"})
    second = source.row(**{"abnormality id": "2", "subtlety": "2", "pathology": "BENIGN"})
    source.patch(second, 10, benign=True)
    source.patch(first, 9)
    cohort = prepare(source.folder, tmp_path / "out")
    described = cohort.manifest[["abnormality", "subtlety", "malignant", "pathology"]].values.tolist()
    assert described == [[1, 1, True, "MALIGNANT"], [2, 2, False, "BENIGN"]]
    assert cohort.patches[:, 0, 0].tolist() == [9 * 257, 10 * 257]
    assert cohort.manifest["image"].tolist() == ["P_00001_image1000_mass9", "P_00001_image1000_mass10"]


def test_other_sizes_are_resampled(source, tmp_path: Path) -> None:
    """A left half of 255 and a right half of 0 stay so, away from the edge, when 256 pixels become 64."""
    halves = np.zeros((256, 256), np.uint8)
    halves[:, :128] = 255
    source.patch(source.row(), 1, halves)
    patch = prepare(source.folder, tmp_path / "out", Options(size=64)).patches[0]
    assert patch.shape == (64, 64) and (patch[:, :30] == 65535).all() and (patch[:, 34:] == 0).all()


def test_every_fault_is_quarantined_and_the_rest_prepared(source, tmp_path: Path) -> None:
    good = source.row("P_00001")
    source.patch(good, 1)
    expected = {}
    torn = source.patch(source.row("P_00002"), 2)
    torn.write_bytes(torn.read_bytes()[:60])
    expected[torn] = "unreadable image"
    text = source.patch(source.row("P_00003"), 3)
    text.write_text("not an image")
    expected[text] = "neither DICOM, PNG, TIFF nor JPEG"
    colour = np.tile(np.array([255, 0, 0], np.uint8), (128, 128, 1))
    expected[source.patch(source.row("P_00004"), 4, colour)] = "not a gray image of 8 or 16 bits"
    expected[source.patch(source.row("P_00006", pathology="BENIGN"), 6)] = "label disagrees with the CSV"
    odd = source.patch(source.row("P_00007"), 7)
    odd = odd.rename(odd.with_name(odd.name.replace("benign_0", "benign_1")))
    expected[odd] = "label of the name and of the folder disagree"
    unknown = source.patch(source.row("P_00008") | {"image file path": "x/1.2/1.999/000000.dcm"}, 8)
    expected[unknown] = "no CSV row for this mammogram"
    expected[source.patch(good | {"patient_id": "P_00009"}, 9, split="val")] = "patient disagrees with the CSV"
    stray = unknown.with_name("IMG_1.png")
    stray.write_bytes(b"")
    expected[stray] = "name does not parse"
    for extra, reason in {
        "train/README": "file is in no folder of patches",
        "val/deep/er/x.png": "file is in no folder of patches",
    }.items():
        (source.folder / extra).parent.mkdir(parents=True, exist_ok=True)
        (source.folder / extra).write_bytes(b"")
        expected[source.folder / extra] = reason

    cohort = prepare(source.folder, tmp_path / "out")
    assert cohort.manifest["patient"].tolist() == ["P_00001"]
    found = dict(zip(cohort.quarantine["source"], cohort.quarantine["reason"].str.split(":").str[0], strict=True))
    assert found == {path.relative_to(source.folder).as_posix(): reason for path, reason in expected.items()}
    counts = {"rows": 1 + len(expected), "prepared": 1, "quarantined": len(expected)}
    assert cohort.facts["counts"] == {"files of patches": counts}


def test_a_description_that_cannot_be_read_counts_too(source, tmp_path: Path) -> None:
    source.patch(source.row("P_00001"), 1)
    source.row("P_00002", pathology="?")
    cohort = prepare(source.folder, tmp_path / "out")
    assert cohort.facts["counts"] == {
        "files of patches": {"rows": 1, "prepared": 1, "quarantined": 0},
        "mass_case_description_train_set.csv": {"rows": 1, "prepared": 0, "quarantined": 1},
    }


def test_a_name_that_is_no_utf_8_is_quarantined(source, tmp_path: Path) -> None:
    path = source.patch(source.row("P_00001"), 1)
    (path.parent / os.fsdecode(b"caf\xe9.png")).touch()
    cohort = prepare(source.folder, tmp_path / "out")
    assert cohort.quarantine["source"].tolist() == [r"train/is_benign_false/caf\udce9.png"]
    assert Cohort.open(tmp_path / "out").facts["counts"]["files of patches"]["rows"] == 2


def test_the_cohort_does_not_lie_among_the_patches(source) -> None:
    """Its own files would be listed when the same command is given again."""
    source.patch(source.row("P_00001"), 1)
    with pytest.raises(InputError, match="lies among the patches"):
        prepare(source.folder, source.folder / "train/out")
    prepare(source.folder, source.folder / "out")
    prepare(source.folder, source.folder / "out")


def test_a_patch_that_is_not_square_is_padded(source, tmp_path: Path) -> None:
    source.patch(source.row("P_00001"), 1, np.full((128, 64), 255, np.uint8))
    patch = prepare(source.folder, tmp_path / "out").patches[0]
    assert (patch[:, 32:96] == 65535).all() and not patch[:, :32].any() and not patch[:, 96:].any()


def test_one_patch_for_two_rows(source, tmp_path: Path) -> None:
    """The label picks the pathology where it can: {BENIGN, MALIGNANT} + benign. It cannot for two benign kinds."""
    row = source.row("P_00001", pathology="BENIGN")
    source.row("P_00001", **{"abnormality id": "2"})
    source.patch(row, 1, benign=True)
    row = source.row("P_00002", pathology="BENIGN")
    source.row("P_00002", **{"abnormality id": "2", "pathology": "BENIGN_WITHOUT_CALLBACK"})
    source.patch(row, 2, benign=True)
    cohort = prepare(source.folder, tmp_path / "out")
    assert cohort.manifest[["patient", "pathology"]].values.tolist() == [["P_00001", "BENIGN"]]
    assert cohort.manifest["abnormality"].isna().all() and cohort.manifest["density"].tolist() == [2]
    assert cohort.quarantine["reason"].str.startswith("pathology is ambiguous").tolist() == [True]


def test_a_mislabelled_name_does_not_shift_its_neighbours(source, tmp_path: Path) -> None:
    first, second = source.row(subtlety="1"), source.row(**{"abnormality id": "2", "subtlety": "2"})
    wrong = source.patch(first, 1)
    wrong.rename(wrong.with_name(wrong.name.replace("benign_0", "benign_1")))
    source.patch(second, 2)
    assert prepare(source.folder, tmp_path / "out").manifest["subtlety"].tolist() == [2]


@pytest.mark.parametrize("strict", [True, False])
def test_a_patient_in_two_splits_stays_in_the_later_one(source, tmp_path: Path, strict: bool) -> None:
    row, other_view = source.row("P_00001"), source.row("P_00001", **{"image view": "MLO"})
    source.patch(row, 1)
    source.patch(other_view, 2, split="val")
    source.patch(source.row("P_00002"), 3)
    cohort = prepare(source.folder, tmp_path / "out", Options(strict=strict))
    assert cohort.patients["split"].to_dict() == {"P_00001": "val", "P_00002": "train"}
    assert cohort.patients["images"].to_dict() == {"P_00001": 2 if strict else 1, "P_00002": 1}
    assert cohort.quarantine["reason"].tolist() == ["patient is in a later split too: P_00001"][strict:]


def test_csvs_are_needed(source, tmp_path: Path) -> None:
    source.patch(source.row(), 1)
    with pytest.raises(InputError, match="--csv DIR"):
        prepare(source.folder, tmp_path / "out", Options(csv=tmp_path))
    assert not (tmp_path / "out").exists()
