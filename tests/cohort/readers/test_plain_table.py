"""A user's own table: what is needed, what is known, what is kept, and what each fault is called."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fedmammo.cohort.options import Options
from fedmammo.cohort.prepare import prepare
from fedmammo.cohort.store import Cohort
from fedmammo.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images a.png to d.png of 300 x 200 pixels; the value of a pixel is 100 times its row."""
    (tmp_path / "images").mkdir()
    pixels = np.tile(100 * np.arange(200, dtype=np.uint16)[:, np.newaxis], (1, 300))
    for name in "abcd":
        Image.fromarray(pixels).save(tmp_path / f"images/{name}.png")
    return tmp_path


def write(folder: Path, **columns: list[str]) -> Path:
    pd.DataFrame(columns).to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


def whole(folder: Path, **columns: list[str]) -> Cohort:
    """Two images of two patients, and these columns."""
    needed = {"image": ["images/a.png", "images/b.png"], "patient": ["1", "2"], "label": ["benign", "1"]}
    return prepare(write(folder, **needed, **columns), folder / "out")


def test_the_least_that_is_needed(folder: Path) -> None:
    """Whole images are padded to a square: 50 rows of zeros above and below the 200."""
    cohort = whole(folder)
    assert cohort.manifest["image"].tolist() == ["images/a.png", "images/b.png"]
    assert cohort.manifest["pathology"].tolist() == ["BENIGN", "MALIGNANT"]
    assert cohort.patients["malignant"].to_dict() == {"1": False, "2": True}
    empty = ["lesion", "abnormality", "side", "view", "density", "assessment", "shape", "calcification_type"]
    assert cohort.manifest[empty].isna().all(axis=None)
    assert not cohort.patches[0, :20].any() and not cohort.patches[0, -20:].any() and cohort.patches[0, 64].all()
    assert cohort.facts["licence"] is None and cohort.facts["citation"] is None


def test_without_a_split_all_are_in_train_and_the_screen_says_so(folder: Path) -> None:
    cohort = whole(folder)
    assert set(cohort.manifest["split"]) == {"train"}
    assert cohort.facts["remarks"] == ["The source has no split: all patients are in train; use evaluation.folds."]
    assert cohort.facts["remarks"][0] in (cohort.folder / "cohort.md").read_text()


def test_known_columns_are_read_and_all_others_kept_as_text(folder: Path) -> None:
    cohort = whole(
        folder,
        split=["train", "TEST"],
        density=["1", "0"],
        view=["cc", ""],
        lesion=["mass", ""],
        subtlety=["5", ""],
        hospital=["Nord", "Süd"],
        age=["061", ""],
    )
    manifest = cohort.manifest
    assert manifest["split"].tolist() == ["train", "test"] and manifest["density"].tolist() == [1, pd.NA]
    assert manifest["view"].tolist()[0] == "CC" and manifest["lesion"].tolist()[0] == "mass"
    assert manifest.columns[-2:].tolist() == ["hospital", "age"]
    assert manifest["age"].tolist() == ["061", pd.NA]
    assert cohort.patients["hospital"].tolist() == ["Nord", "Süd"]
    assert Cohort.open(cohort.folder).patients.equals(cohort.patients)


def test_a_patient_has_the_first_value_that_is_given(folder: Path) -> None:
    table = write(
        folder,
        image=["images/a.png", "images/b.png", "images/c.png"],
        patient=["1", "1", "2"],
        label=["0", "1", "0"],
        hospital=["", "east", "west"],
        density=["", "3", "4"],
    )
    patients = prepare(table, folder / "out").patients
    assert patients["hospital"].to_dict() == {"1": "east", "2": "west"}
    assert patients["density"].to_dict() == {"1": 3, "2": 4}
    assert patients["image"].to_dict() == {"1": "images/a.png", "2": "images/c.png"}
    assert patients.columns[:4].tolist() == ["malignant", "images", "split", "image"]


def test_boxes_are_cut_and_two_on_one_image_are_two_images(folder: Path) -> None:
    """Rows 90-109, so the centre is row 100 and the patch begins at row 36, which holds 3600."""
    table = write(
        folder,
        image=["images/a.png"] * 4,
        patient=["1"] * 4,
        label=["0"] * 4,
        left=["100", "100", "", "100"],
        top=["90", "80", "", "90"],
        right=["120", "120", "", "120"],
        bottom=["110", "100", "", "110"],
    )
    cohort = prepare(table, folder / "out")
    assert cohort.patches[:2, 0, 0].tolist() == [3600, 2600]
    assert cohort.manifest["image"].tolist()[1:] == ["images/a.png@100,80,120,100", "images/a.png"]
    again = "image is listed twice: images/a.png@100,90,120,110"
    assert cohort.quarantine.values.tolist() == [["table.csv", 5, again]]


def test_every_row_ends_in_the_manifest_or_in_quarantine(folder: Path) -> None:
    text = """image,patient,label,left,top,right,bottom,split,density,pathology
images/a.png,1,benign,,,,,train,,
,1,benign,,,,,train,,
images/b.png,,benign,,,,,train,,
images/b.png,2,perhaps,,,,,train,,
images/b.png,2,benign,,,,,,,
images/b.png,2,benign,1,2,3,,train,,
images/b.png,2,benign,1.5,2,3,4,train,,
images/b.png,2,benign,0,0,301,9,train,,
images/b.png,2,benign,,,,,train,7,
images/b.png,2,benign,,,,,train,,MALIGNANT
images/none.png,2,benign,,,,,train,,
table.csv,2,benign,,,,,train,,

images/b.png,2
images/a.png,1,benign,,,,,train,,
images/c.png,1,1,,,,,test,,
"""
    (folder / "table.csv").write_text(text)
    cohort = prepare(folder / "table.csv", folder / "out")
    assert cohort.manifest["image"].tolist() == ["images/a.png", "images/c.png"]
    reasons = dict(zip(cohort.quarantine["row"], cohort.quarantine["reason"], strict=True))
    assert {row: reason.split(":")[0] for row, reason in sorted(reasons.items())} == {
        3: "unreadable image",
        4: "unreadable patient",
        5: "unreadable label",
        6: "unreadable split",
        7: "box is incomplete",
        8: "unreadable left",
        9: "box is not inside the image",
        10: "unreadable density",
        11: "label and pathology disagree",
        12: "file cannot be opened",
        13: "neither DICOM, PNG, TIFF nor JPEG",
        14: "row is blank",
        15: "row does not fit the header",
        16: "image is listed twice",
    }
    assert cohort.facts["counts"] == {"table.csv": {"rows": 16, "prepared": 2, "quarantined": 14}}
    assert set(cohort.manifest["split"]) == {"test"}  # patient 1 is in train and in test


def test_nothing_but_quarantine_is_one_line(folder: Path) -> None:
    for rows in ("", "images/a.png,1,perhaps\n"):
        (folder / "table.csv").write_text("image,patient,label\n" + rows)
        with pytest.raises(InputError, match=r"nothing could be prepared: (the source lists no image|table.csv row 2)"):
            prepare(folder / "table.csv", folder / "out")
        assert sorted(path.name for path in folder.iterdir()) == ["images", "table.csv"]


def test_a_quote_that_is_not_closed_swallows_no_row(folder: Path) -> None:
    (folder / "table.csv").write_text('image,patient,label,note\nimages/a.png,1,1,"big\nimages/b.png,2,0,\n')
    with pytest.raises(InputError, match="line 3: unexpected end of data"):
        prepare(folder / "table.csv", folder / "out")


def test_paths_are_read_as_windows_writes_them(folder: Path) -> None:
    table = write(folder, image=["images\\a.png", ".\\images\\b.png"], patient=["1", "2"], label=["0", "1"])
    assert prepare(table, folder / "out").manifest["image"].tolist() == ["images/a.png", "images/b.png"]


def test_an_image_is_of_one_patient(folder: Path) -> None:
    """However its path is written, with a box or without: else it might be trained and tested on."""
    images = ["images/a.png", "images/../images/a.png", "images/a.png", "images/b.png"]
    columns = {"patient": list("1234"), "label": ["0"] * 4, "split": ["train", "test", "test", "test"]}
    for side, place in {"left": "0", "top": "0", "right": "9", "bottom": "9"}.items():
        columns[side] = ["", "", place, ""]
    cohort = prepare(write(folder, image=images, **columns), folder / "out")
    assert cohort.manifest["image"].tolist() == ["images/a.png", "images/b.png"]
    assert set(cohort.quarantine["reason"]) == {"image is another patient's: that of row 2"}


def test_numbers_as_other_programs_write_them_and_names_that_are_none(folder: Path) -> None:
    images = [f"images/{name}.png" for name in "abcd"]
    columns = {"patient": ["nan", "00012", "12", "NULL"], "label": ["1.0", "1.0", "0.0", "0"]}
    cohort = prepare(write(folder, image=images, density=["", "2.0", "", ""], **columns), folder / "out")
    assert cohort.patients["malignant"].to_dict() == {"00012": True, "12": False}
    assert cohort.manifest["density"].tolist() == [2, pd.NA]
    assert set(cohort.quarantine["reason"].str.split(":").str[0]) == {"unreadable patient"}


def test_a_path_that_no_file_can_have_is_quarantined(folder: Path) -> None:
    (folder / "table.csv").write_text("image,patient,label\nimages/a.png\0,1,1\nimages/b.png,2,0\n")
    assert prepare(folder / "table.csv", folder / "out").quarantine["row"].tolist() == [2]


def test_parquet_says_the_same_as_csv(folder: Path) -> None:
    """Whole numbers beside gaps stay whole numbers."""
    columns = {"image": ["images/a.png", "images/b.png"], "patient": [1, 2], "label": [0, 1], "density": [2, None]}
    frame = pd.DataFrame(columns | {"ward": [7, None]})
    frame.to_parquet(folder / "table.parquet")
    frame.astype({"density": "Int64", "ward": "Int64"}).to_csv(folder / "table.csv", index=False)
    one, two = (prepare(folder / f"table.{kind}", folder / kind) for kind in ("csv", "parquet"))
    pd.testing.assert_frame_equal(one.manifest, two.manifest)
    assert two.manifest["ward"].tolist() == ["7", pd.NA] and two.manifest["density"].tolist() == [2, pd.NA]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("image,patient", "column 'label' is missing"),
        ("image,patient,label,left,top", "all four columns of the box"),
        ("image,patient,label,malignant", "column 'malignant' has a name that fedmammo needs"),
        ("image,patient,label,images", "column 'images' has a name that fedmammo needs"),
        ("image,patient,label,work", "column 'work' has a name that fedmammo needs"),
        ("image,patient,label,listed_in", "column 'listed_in' has a name that fedmammo needs"),
        ("image,patient,label,", "column 4 has no heading"),
        ("image;patient;label", "the header has no comma"),
        ("image,patient,label,patient", "column 'patient' is there twice"),
    ],
)
def test_a_header_that_does_not_do(tmp_path: Path, header: str, expected: str) -> None:
    (tmp_path / "table.csv").write_text(header + "\n")
    with pytest.raises(InputError, match=expected) as caught:
        prepare(tmp_path / "table.csv", tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    for name, content in {"a.parquet": b"no", "b.csv": b"\xff\xfe\x00", "c.csv": b"", "d.png": b"\x89PNG"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name}: expected a CSV or Parquet table with a header"):
            prepare(tmp_path / name, tmp_path / "out")


def test_licence_and_citation_are_those_that_are_given(folder: Path) -> None:
    table = write(folder, image=["images/a.png"], patient=["1"], label=["1"])
    prepare(table, folder / "out", Options(licence="by agreement", citation="Nobody 2026"))
    page = (folder / "out/cohort.md").read_text()
    assert "Licence: by agreement\n" in page and "Citation: Nobody 2026\n" in page
