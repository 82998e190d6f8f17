"""Each quirk of CBIS-DDSM, on a tree that the test writes, in each form in which the tree is to be had."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.uid import RLELossless

from fedmammo.cohort.options import Options
from fedmammo.cohort.prepare import prepare
from fedmammo.cohort.store import Cohort

FORMS = ["classic", "descriptive", "kaggle"]
CLASSIC_AND_DESCRIPTIVE = FORMS[:2]


def at(row: int, column: int) -> np.ndarray:
    """The 128 pixels of the test's mammogram that begin there: row r, column c holds 200 r + c."""
    rows, columns = np.indices((128, 128))
    return 200 * (rows + row) + columns + column


def assert_cut_at(patch: np.ndarray, row: int, column: int, form: str) -> None:
    """Bit for bit; of a JPEG on average, to a quarter of a row (50): shifted by a row, the mean is 200 off."""
    if form == "kaggle":
        assert abs(float(np.mean(patch - at(row, column) // 256 * 257.0))) < 50
    else:
        np.testing.assert_array_equal(patch, at(row, column))


def assert_nothing_lost(cohort: Cohort) -> None:
    counts = cohort.facts["counts"].values()
    assert all(count["rows"] == count["prepared"] + count["quarantined"] for count in counts)
    assert sum(count["prepared"] for count in counts) == len(cohort.manifest) == len(cohort.patches)
    assert sum(count["quarantined"] for count in counts) == len(cohort.quarantine)


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return request.param


def prepared(source, form: str, **options) -> Cohort:
    cohort = prepare(source.as_form(form), source.folder.parent / "out", Options(**options))
    assert_nothing_lost(cohort)
    return cohort


def test_the_same_tree_in_three_forms_gives_the_same_manifest(source, tmp_path: Path) -> None:
    """Masses and calcifications, both sets, two lesions of a mammogram, a missing file, an unreadable row, a row twice:
    all columns of manifest and quarantine are the same.
    """
    source.lesion(patient="P_00001")
    source.lesion(patient="P_00002", swapped=True)
    source.lesion(patient="P_00001", **{"abnormality id": "2"}, mask=np.roll(source.mask(), 20, axis=0))
    source.lesion(patient="P_00003", table="mass_test", pathology="BENIGN")
    source.lesion(patient="P_00001", table="calc_test", **{"image view": "MLO"})
    source.lesion(patient="P_00004", table="calc_train", **{"breast density": "0", "calc type": ""})
    source.row(patient="P_00005")
    source.row(patient="P_00002")
    source.row(patient="P_00006", pathology="?")
    cohorts = [prepare(source.as_form(form), tmp_path / f"out-{form}") for form in FORMS]
    for cohort in cohorts:
        assert_nothing_lost(cohort)
        assert len(cohort.manifest) == 6 and len(cohort.quarantine) == 3
        pd.testing.assert_frame_equal(cohort.manifest, cohorts[0].manifest)
        pd.testing.assert_frame_equal(cohort.quarantine, cohorts[0].quarantine)
        assert cohort.facts["counts"] == cohorts[0].facts["counts"]
    assert cohorts[0].manifest["source"].str.endswith("/000000.dcm").all()
    np.testing.assert_array_equal(cohorts[0].patches, cohorts[1].patches)


def test_quirk_1_mask_and_crop_are_swapped(source, form: str) -> None:
    source.lesion(patient="P_00001")
    source.lesion(patient="P_00002", swapped=True)
    for patch in prepared(source, form).patches:
        assert_cut_at(patch, 46, 31, form)


def test_quirk_1_mask_and_crop_are_in_series_of_their_own(source, dicom, form: str) -> None:
    row = source.lesion()
    (source.folder / row["ROI mask file path"].strip()).with_name("1-2.dcm").unlink()
    row["ROI mask file path"] = "Mass-Training_P_00001_LEFT_CC_1/1.2.5/1.4.7/000000.dcm\n"
    source.write_table("mass_train")
    dicom(source.folder / "Mass-Training_P_00001_LEFT_CC_1/1.2.5/1.4.7/1-1.dcm", source.mask())
    assert_cut_at(prepared(source, form).patches[0], 46, 31, form)


def test_quirk_2_a_mask_of_another_size_and_aspect(source, form: str) -> None:
    """Half as high, as wide: rows 50-59 stand for 100-119. The record says so."""
    source.lesion(mask=source.mask()[::2])
    cohort = prepared(source, form)
    assert_cut_at(cohort.patches[0], 46, 31, form)
    assert cohort.facts["notes"] == {"Mass-Training_P_00001_LEFT_CC_1": "mask resized from 130x240 to 260x240"}


@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_quirk_3_masks_of_8_or_16_bits_without_descriptions(source, form: str, kind: str) -> None:
    source.lesion(mask=source.mask(kind))
    assert_cut_at(prepared(source, form).patches[0], 46, 31, form)


@pytest.mark.parametrize("form", CLASSIC_AND_DESCRIPTIVE, indirect=True)
def test_quirk_3_a_mirror_recompressed(source, form: str) -> None:
    """Run lengths (lossless) for the image, and a mask that lossy compression left with many values."""
    noisy = source.mask() // 255 * 245 + np.random.default_rng(0).integers(0, 6, (260, 240)).astype(np.uint8)
    row = source.lesion(mask=noisy)
    path = (source.folder / row["image file path"]).with_name("1-1.dcm")
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless)
    dataset.save_as(path)
    assert_cut_at(prepared(source, form).patches[0], 46, 31, form)


def test_quirk_4_strictly_a_patient_in_train_and_test_is_in_test(source, form: str) -> None:
    """P_00001 trains with a mass and is tested with a calcification: both are in test, and no row is lost."""
    source.lesion(patient="P_00001")
    source.lesion(patient="P_00002")
    source.lesion(patient="P_00001", table="calc_test")
    cohort = prepared(source, form)
    assert cohort.patients["split"].to_dict() == {"P_00001": "test", "P_00002": "train"}
    assert cohort.patients["images"].to_dict() == {"P_00001": 2, "P_00002": 1} and cohort.quarantine.empty
    assert cohort.facts["crossing"] == {"patients": 1, "images": 1}
    assert "1 patients were in several splits: 1 of their images moved to" in (cohort.folder / "cohort.md").read_text()


def test_quirk_4_otherwise_its_training_rows_are_in_quarantine(source, form: str) -> None:
    source.lesion(patient="P_00001")
    source.lesion(patient="P_00002")
    source.lesion(patient="P_00001", table="calc_test")
    cohort = prepared(source, form, strict=False)
    assert cohort.manifest["image"].tolist() == ["Mass-Training_P_00002_LEFT_CC_1", "Calc-Test_P_00001_LEFT_CC_1"]
    assert cohort.quarantine[["row", "reason"]].values.tolist() == [[2, "patient is in a later split too: P_00001"]]


def test_quirk_5_a_mask_with_two_contours_is_one_abnormality(source, form: str) -> None:
    """Rows 100-119 and 140-159, columns 90-99: box of rows 100-159, centre (130, 95), so from (66, 31)."""
    source.lesion(mask=np.maximum(source.mask(), np.roll(source.mask(), 40, axis=0)))
    cohort = prepared(source, form)
    assert len(cohort.patches) == 1
    assert_cut_at(cohort.patches[0], 66, 31, form)


def test_quirk_6_a_patient_with_many_images_stays_whole(source, form: str) -> None:
    """Two sides, two views, two lesions on one of them, in folders of five names: one patient, five images."""
    for side, view, number in (
        ("LEFT", "CC", "1"),
        ("LEFT", "CC", "2"),
        ("LEFT", "MLO", "1"),
        ("RIGHT", "CC", "1"),
        ("RIGHT", "MLO", "1"),
    ):
        changes = {"left or right breast": side, "image view": view, "abnormality id": number}
        source.lesion(**changes, pathology="MALIGNANT" if number == "2" else "BENIGN")
    cohort = prepared(source, form)
    assert cohort.patients[["malignant", "images"]].to_dict("index") == {"P_00001": {"malignant": True, "images": 5}}


def test_quirk_7_what_is_recorded_is_there_to_differ_by(source, form: str) -> None:
    """No institution; density, view, side, subtlety, margins, assessment, and a calcification's type."""
    source.lesion(patient="P_00001", **{"mass margins": "OBSCURED", "mass shape": "ROUND"})
    source.lesion(patient="P_00002", table="calc_train", **{"calc type": "PLEOMORPHIC", "calc distribution": "LINEAR"})
    patients = prepared(source, form).patients
    recorded = ["lesion", "density", "subtlety", "assessment", "margins", "calcification_type"]
    assert patients.loc["P_00001", recorded[:5]].tolist() == ["mass", 2, 5, 4, "OBSCURED"]
    assert patients.loc["P_00002", ["calcification_type", "calcification_distribution"]].tolist() == [
        "PLEOMORPHIC",
        "LINEAR",
    ]
    assert "hospital" not in patients


@pytest.mark.parametrize("lesion", ["mass", "calc"])
def test_an_older_revision_without_paths_in_another_order(source, form: str, lesion: str) -> None:
    """Files are found by PatientID; what the manifest calls the source is then that."""
    source.lesion(patient="P_00001", table=f"{lesion}_train")
    source.lesion(patient="P_00001", table=f"{lesion}_train", **{"abnormality id": "2"}, swapped=True)
    name = f"{lesion}_case_description_train_set.csv"
    with (source.folder / name).open(newline="") as file:
        header, *rows = csv.reader(file)
    with (source.folder / name).open("w", newline="") as file:
        csv.writer(file).writerows([row[:11][::-1] for row in (header, *rows)])
    cohort = prepared(source, form)
    assert len(cohort.patches) == 2 and cohort.manifest["source"].str.endswith("_P_00001_LEFT_CC").all()
    for patch in cohort.patches:
        assert_cut_at(patch, 46, 31, form)


def test_line_ends_blank_lines_and_newlines_in_cells(source, form: str) -> None:
    """Masses end their last cell with a newline, calcifications the crop's; CRLF; a blank line counts as a row."""
    source.lesion(patient="P_00001")
    row = source.lesion(patient="P_00002", table="calc_train")
    row["cropped image file path"] += "\n"
    path = source.write_table("calc_train")
    assert b"\r\n" in path.read_bytes() and b'\n"' in path.read_bytes()
    path.write_bytes(path.read_bytes() + b"\r\n")
    cohort = prepared(source, form)
    assert len(cohort.patches) == 2
    assert cohort.quarantine.values.tolist() == [["calc_case_description_train_set.csv", 3, "row is blank"]]


def test_every_fault_at_once_and_no_good_row_lost(source, form: str) -> None:
    """20 good rows between every fault that a row or its files can have."""
    faults = 0
    for number in range(20):
        source.lesion(patient=f"P_{number:05d}")
        bad = f"P_9{number:04d}"
        match number:
            case 1:
                source.row(patient=bad)  # no files
            case 2:
                source.row(patient=bad, **{"image view": "XCC"})
            case 3:
                source.lesion(patient=bad, mask=0 * source.mask())
            case 4:
                source.row(patient="P_00004")  # listed twice
            case 5:
                row = source.lesion(patient=bad)
                (source.folder / row["image file path"]).with_name("1-1.dcm").unlink()
            case 6:
                row = source.lesion(patient=bad)
                (source.folder / row["ROI mask file path"].strip()).with_name("1-2.dcm").unlink()
            case 7:
                source.row(patient="")
            case _:
                continue
        faults += 1
    cohort = prepared(source, form)
    assert cohort.manifest["patient"].tolist() == [f"P_{number:05d}" for number in range(20)]
    assert len(cohort.quarantine) == faults == 7


@pytest.mark.parametrize("metadata", [True, False])
def test_a_descriptive_tree_named_by_its_inner_folder(source, tmp_path: Path, metadata: bool) -> None:
    """The metadata.csv lies above it; where it is lost, files are found by PatientID."""
    source.lesion(patient="P_00001")
    source.lesion(patient="P_00001", **{"abnormality id": "2"}, swapped=True)
    tree = source.as_form("descriptive")
    if not metadata:
        (tree / "metadata.csv").unlink()
    cohort = prepare(tree / "CBIS-DDSM", tmp_path / "out", Options(csv=tree))
    assert_nothing_lost(cohort)
    for patch in cohort.patches:
        assert_cut_at(patch, 46, 31, "descriptive")
    assert len(cohort.patches) == 2
