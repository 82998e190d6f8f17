"""Folders that name classes: whatever is found there, and whose it is said to be."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedmammo.cohort.options import Options
from fedmammo.cohort.prepare import prepare
from fedmammo.cohort.readers.class_folders import NO_PATIENTS
from fedmammo.cohort.readers.listing import NO_SPLIT
from fedmammo.cohort.store import Cohort


def put(source: Path, *places: str) -> None:
    """Write images of 128 x 128; all pixels of the first are 1, of the second 2, ..."""
    for value, place in enumerate(places, start=1):
        (source / place).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((128, 128), value, np.uint8)
        pixels[-1] = 255 - value  # a patch without contrast is none
        Image.fromarray(pixels).save(source / place)


def prepared(source: Path, patient: str | None = None) -> Cohort:
    return prepare(source, source.with_name("out"), Options(patient=patient))


def test_splits_classes_and_patients_are_read(tmp_path: Path) -> None:
    """Splits and classes in any case and spelling; the patient is found below the class folder, folders included."""
    source = tmp_path / "source"
    put(
        source,
        "Train/Benign/P1_cc.png",
        "training/MALIGNANT/P1_mlo.png",
        "valid/0/P2/left/cc.png",
        "TESTING/1/P3_cc.png",
    )
    cohort = prepared(source, "P[0-9]+")
    manifest = cohort.manifest.set_index("image")
    assert manifest["patient"].to_dict() == {
        "TESTING/1/P3_cc.png": "P3",
        "Train/Benign/P1_cc.png": "P1",
        "training/MALIGNANT/P1_mlo.png": "P1",
        "valid/0/P2/left/cc.png": "P2",
    }
    assert manifest["malignant"].tolist() == [True, False, True, False]
    assert manifest["split"].tolist() == ["test", "train", "train", "val"]
    assert cohort.patients["malignant"].to_dict() == {"P1": True, "P2": False, "P3": True}
    assert cohort.patches[:, 5, 7].tolist() == [4 * 257, 1 * 257, 2 * 257, 3 * 257]
    assert cohort.facts["remarks"] == [] and cohort.facts["licence"] is None


def test_without_a_pattern_each_image_is_a_patient_and_the_card_says_so(tmp_path: Path) -> None:
    source = tmp_path / "source"
    put(source, "benign/1.png", "malignant/1.png")
    cohort = prepared(source)
    assert cohort.manifest["patient"].tolist() == ["benign/1.png", "malignant/1.png"]
    assert cohort.facts["remarks"] == [NO_PATIENTS, NO_SPLIT] and set(cohort.manifest["split"]) == {"train"}
    assert "--patient" in (cohort.folder / "cohort.md").read_text()


@pytest.mark.parametrize(("pattern", "patient"), [("(P[0-9]+)_", "P7"), ("P([0-9]+)", "7"), ("[^_]+$", "cc.png")])
def test_the_first_group_or_all_that_matches_is_the_patient(tmp_path: Path, pattern: str, patient: str) -> None:
    put(tmp_path / "source", "benign/P7_cc.png")
    assert prepared(tmp_path / "source", pattern).manifest["patient"].tolist() == [patient]


def test_every_file_ends_in_the_manifest_or_in_quarantine(tmp_path: Path) -> None:
    source = tmp_path / "source"
    put(source, "train/benign/P1.png", "train/benign/unknown.png", "train/P2.png", "P3.png", "other/benign/P4.png")
    (source / "train/malignant").mkdir()
    (source / "train/malignant/P5.png").write_text("no image")
    left_behind = ("train/benign/._P1.png", ".DS_Store", "train/Thumbs.db", "desktop.ini", "__MACOSX/benign/P1.png")
    for stray in left_behind:
        (source / stray).parent.mkdir(parents=True, exist_ok=True)
        (source / stray).write_text("")
    cohort = prepared(source, "P[0-9]+")
    reasons = dict(zip(cohort.quarantine["source"], cohort.quarantine["reason"], strict=True))
    assert {place: reason.split(":")[0] for place, reason in reasons.items()} == {
        "P3.png": "file is in no folder of a class",
        "other/benign/P4.png": "file is in no folder of a class",
        "train/P2.png": "file is in no folder of a class",
        "train/benign/unknown.png": "no patient in the path",
        "train/malignant/P5.png": "neither DICOM, PNG, TIFF nor JPEG",
    }
    assert cohort.facts["counts"] == {"files": {"rows": 6, "prepared": 1, "quarantined": 5}}


@pytest.mark.parametrize("pattern", ["(P[0-9])?", "P[0-9]|nan|(?=x)"])
def test_what_is_no_name_is_no_patient(tmp_path: Path, pattern: str) -> None:
    put(tmp_path / "source", "benign/P1.png", "benign/nan.png", "benign/x.png")
    cohort = prepared(tmp_path / "source", pattern)
    assert cohort.manifest["patient"].tolist() == ["P1"]
    assert all(reason.startswith("no patient in the path: ") for reason in cohort.quarantine["reason"])


def test_a_cohort_that_was_made_in_the_folder_is_no_image(tmp_path: Path) -> None:
    put(tmp_path, "benign/1.png", "malignant/2.png")
    first, again = (prepare(tmp_path, tmp_path / "cohort") for _ in range(2))
    assert again.facts == first.facts and again.quarantine.empty
