"""Inputs from people who do this job that went wrong once: each is right now, or ends in a true reason."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from fedmammo.cohort.card import remarks
from fedmammo.cohort.options import Options
from fedmammo.cohort.prepare import prepare
from fedmammo.cohort.store import Cohort
from fedmammo.errors import InputError

Dicom = Callable[..., None]
TABLE = {"image": ["a.png", "b.png"], "patient": ["1", "2"], "label": ["benign", "malignant"]}


@pytest.fixture
def case(shared: Path) -> Callable[[str], Path]:
    """The file of a case that is tedious to make."""
    return lambda name: shared / "cases" / name


def picture(path: Path, seed: int = 0) -> NDArray[np.uint8]:
    pixels = np.random.default_rng(seed).integers(0, 256, (30, 20), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def prepared(folder: Path, **columns: list[Any]) -> Cohort:
    """A cohort of a.png and b.png, which differ, with these columns."""
    for seed, name in enumerate(("a.png", "b.png")):
        picture(folder / name, seed)
    pd.DataFrame(TABLE | columns).to_csv(folder / "table.csv", index=False)
    return prepare(folder / "table.csv", folder / "out")


def reasons(cohort: Cohort) -> list[str]:
    return cohort.quarantine["reason"].tolist()


# Wrong results without a word


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("123", "123.0"),
        ("A 17", "A  17"),
        ("A17", "A\u200b17"),
        ("A-17", "A\u201317"),
        ("A17", "\uff2117"),
    ],
)
def test_patient_ids_that_differ_by_spelling_that_people_do_not_see(tmp_path: Path, one: str, other: str) -> None:
    """One patient, in one split."""
    cohort = prepared(tmp_path, patient=[one, other], split=["train", "test"])
    assert cohort.manifest["patient"].nunique() == 1
    assert set(cohort.manifest["split"]) == {"test"}


@pytest.mark.parametrize(("one", "other"), [("a17", "A17"), ("007", "7"), ("A_17", "A-17"), ("P-1", "P 1")])
def test_patient_ids_that_may_be_one_are_named(tmp_path: Path, one: str, other: str) -> None:
    """To their hospital; the card says how many."""
    cohort = prepared(tmp_path, patient=[one, other])
    said = remarks(cohort.facts, named=True)[-1]
    assert repr(one) in said and repr(other) in said
    assert cohort.manifest["patient"].nunique() == 2
    page = (cohort.folder / "cohort.md").read_text()
    assert "differ in case, zeros or signs alone, 1 times" in page and repr(one) not in page


def test_window_far_outside_the_data(case: Any, tmp_path: Path) -> None:
    """A patch without any contrast is no patch: from a window, a box beside the breast, or a blank file."""
    picture(tmp_path / "a.png")
    Image.new("L", (9, 9), 7).save(tmp_path / "blank.png")
    Image.fromarray(np.kron([[0, 1]], np.full((300, 300), 255)).astype(np.uint8)).save(tmp_path / "half.png")
    rows = [
        f"{case('window_outside.dcm').name},1,0,,,,",
        "blank.png,2,1,,,,",
        "half.png,3,1,2,2,50,50",
        "a.png,4,1,,,,",
    ]
    (tmp_path / "window_outside.dcm").write_bytes(case("window_outside.dcm").read_bytes())
    (tmp_path / "table.csv").write_text("\n".join(["image,patient,label,left,top,right,bottom", *rows]))
    cohort = prepare(tmp_path / "table.csv", tmp_path / "out")
    assert cohort.manifest["image"].tolist() == ["a.png"]
    assert cohort.quarantine["row"].tolist() == [2, 3, 4]
    assert all(reason.startswith("patch has no contrast: ") for reason in reasons(cohort))


def test_the_same_image_and_box_listed_benign_and_malignant(tmp_path: Path) -> None:
    """However it is spelled; twice with the same label is kept once."""
    columns = {"image": ["a.png", "b.png", "./a.png", "b.png"], "patient": ["1", "2", "1", "2"]}
    cohort = prepared(tmp_path, **columns, label=["0", "1", "1", "1"])
    assert cohort.manifest["image"].tolist() == ["b.png"]
    assert sorted(zip(cohort.quarantine["row"], reasons(cohort), strict=True)) == [
        (2, "labels contradict: a.png is listed benign and malignant"),
        (4, "labels contradict: a.png is listed benign and malignant"),
        (5, "image is listed twice: b.png"),
    ]


def test_identical_pixels_under_two_patients(tmp_path: Path) -> None:
    """On the screen and in the cohort's own file by name; the card, which may be shown, says how many."""
    for name in ("c.png", "d.png"):
        picture(tmp_path / name, seed=9)
    columns = {"image": ["a.png", "b.png", "c.png", "d.png"], "patient": ["1", "2", "Anna", "Berta"]}
    cohort = prepared(tmp_path, **columns, label=["0", "1", "1", "0"], split=["train", "test", "train", "test"])
    (said,) = remarks(cohort.facts, named=True)
    assert "c.png of 'Anna' and d.png of 'Berta'" in said and said.startswith(
        "Under several patients, the same patch to the last bit, 1 times"
    )
    page = (cohort.folder / "cohort.md").read_text()
    assert "Under several patients, the same patch to the last bit, 1 times" in page and "Anna" not in page
    assert json.loads((cohort.folder / "cohort.json").read_text())["alike"]["patches"] == [
        [["Anna", "c.png"], ["Berta", "d.png"]]
    ]


def test_a_case_description_saved_as_1_beside_the_others(source: Any, tmp_path: Path) -> None:
    source.lesion()
    source.lesion(patient="P_00002", table="mass_test")
    table = source.folder / "mass_case_description_test_set.csv"
    table.rename(table.with_name("mass_case_description_test_set (1).csv"))
    cohort = prepare(source.folder, tmp_path / "out")
    (said,) = remarks(cohort.facts)
    assert said.startswith("mass_case_description_test_set (1).csv was not read")


# Good input that was refused or lost


def test_tcia_tree_with_files_of_an_operating_system(source: Any, tmp_path: Path) -> None:
    """`._1-1.dcm` beside each file, .DS_Store, Thumbs.db: in trees of every form, and in a folder of patches."""
    source.lesion()
    whole = prepare(source.folder, tmp_path / "whole")
    for path in list(source.folder.rglob("*.dcm")):
        (path.parent / f"._{path.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
        (path.parent / "Thumbs.db").touch()
    (source.folder / "._mass_case_description_train_set.csv").write_bytes(b"\0\5\x16\7")
    cohort = prepare(source.folder, tmp_path / "out")
    pd.testing.assert_frame_equal(cohort.manifest, whole.manifest)
    assert not remarks(cohort.facts)


def test_flat_download(source: Any, tmp_path: Path) -> None:
    """<SeriesUID>/1-1.dcm, and below <StudyUID>: the case descriptions name the series."""
    source.lesion()
    source.lesion(patient="P_00002", swapped=True)
    whole = prepare(source.folder, tmp_path / "whole")
    for form, depth in (("flat", 1), ("studies", 2)):
        for path in source.folder.rglob("*.dcm"):
            place = tmp_path / form / "/".join(path.parts[-1 - depth : -1]) / path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
        cohort = prepare(tmp_path / form, tmp_path / f"out-{form}", Options(csv=source.folder))
        pd.testing.assert_frame_equal(cohort.manifest, whole.manifest)
        np.testing.assert_array_equal(cohort.patches, whole.patches)


@pytest.mark.parametrize("spelled", ["30", "30.0", "30.00", "30.", "3e1", "3.0E+1", "+30", " 30 "])
def test_boxes_in_any_spelling_of_whole_numbers(tmp_path: Path, spelled: str) -> None:
    box = {"left": ["0", ""], "top": ["0", ""], "right": ["20", ""], "bottom": [spelled, ""]}
    assert prepared(tmp_path, **box).manifest["image"].tolist() == ["a.png@0,0,20,30", "b.png"]


@pytest.mark.parametrize("spelled", ["30.5", "1e400", "1e999", "NaN", "-1", "0x1e", "3_0", "٣٠"])
def test_what_is_no_whole_number(tmp_path: Path, spelled: str) -> None:
    box = {"left": ["0", ""], "top": ["0", ""], "right": ["20", ""], "bottom": [spelled, ""]}
    (reason,) = reasons(prepared(tmp_path, **box))
    assert reason.startswith("unreadable bottom: ") and "no whole number" in reason


@pytest.mark.parametrize("index", [["patient"], ["patient", "image"]])
def test_parquet_with_patient_as_index(tmp_path: Path, index: list[str]) -> None:
    for seed, name in enumerate(("a.png", "b.png")):
        picture(tmp_path / name, seed)
    pd.DataFrame(TABLE).set_index(index).to_parquet(tmp_path / "table.parquet")
    assert prepare(tmp_path / "table.parquet", tmp_path / "out").manifest["patient"].tolist() == ["1", "2"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_first_line_sep_of_a_spreadsheets_export(tmp_path: Path, separator: str) -> None:
    for seed, name in enumerate(("a.png", "b.png")):
        picture(tmp_path / name, seed)
    rows = [["image", "patient", "label"], ["a.png", "1", "0"], ["b.png", "2", "x"]]
    text = "\r\n".join([f"sep={separator}", *(separator.join(row) for row in rows)])
    (tmp_path / "table.csv").write_text(text, encoding="utf-8-sig")
    cohort = prepare(tmp_path / "table.csv", tmp_path / "out")
    assert cohort.manifest["patient"].tolist() == ["1"]
    assert cohort.quarantine["row"].tolist() == [3], "as a spreadsheet counts, which hides the line"


def test_a_source_that_nobody_knows_names_all_that_are(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match=r"expected a folder of patches .*, a TCIA tree .*, or a table"):
        prepare(tmp_path, tmp_path / "out")
