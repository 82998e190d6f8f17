"""Small sets of BCDR, as the repository describes them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fedmammo.cohort.prepare import prepare
from fedmammo.cohort.readers.bcdr import ORIGIN
from fedmammo.cohort.readers.listing import NO_SPLIT
from fedmammo.errors import InputError

HEADER = (
    "patient_id, study_id, series, lesion_id, segmentation_id, image_view, image_filename, lw_x_points, lw_y_points, "
    "mammography_type, mammography_nodule, mammography_calcification, mammography_microcalcification, "
    "mammography_axillary_adenopathy, mammography_architectural_distortion, mammography_stroma_distortion, age, "
    "density, classification"
)
FILE = "patient_3/study_5/img_3_5_1_RCC.tif"
XS, YS = "90 99 95 90", "100 105 119 110"


def line(
    patient: str = "3",
    view: str = "1",
    file: str = FILE,
    xs: str = XS,
    ys: str = YS,
    flags: str = "1, 0, 0, 0, 0, 0",
    density: str = "2",
    label: str = "Benign",
) -> str:
    """A row; its outline has rows 100-119 and columns 90-99."""
    return f"{patient}, 5, 1, 1, 1, {view}, {file}, {xs}, {ys}, 1, {flags}, 61, {density}, {label}"


def write(folder: Path, *lines: str, name: str = "bcdr_f01_outlines.csv") -> Path:
    """A set with one image, whose pixels are their columns."""
    (folder / FILE).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.tile(np.arange(240, dtype=np.uint8), (260, 1))).save(folder / FILE)
    (folder / name).write_text("\n".join([HEADER, *lines]) + "\n")
    return folder


def test_outlines_are_lesions(tmp_path: Path) -> None:
    """The patch begins at column 95 - 64; an 8-bit value v is 257 v."""
    lines = [
        line(),
        line(xs="10 20 30", view="4", flags="0, 1, 1, 0, 0, 0", density="NaN", label="Malign"),
        line(xs="40 50 60", view="7", flags="1, 1, 0, 0, 0, 0", density="4.0", ys="1 2 3"),
    ]
    cohort = prepare(write(tmp_path / "source", *lines[:1], lines[1].replace(YS, "1 2 3"), lines[2]), tmp_path / "out")
    manifest = cohort.manifest
    assert manifest["image"].tolist() == [f"{FILE}@{box}" for box in ("90,100,100,120", "10,1,31,4", "40,1,61,4")]
    assert manifest["malignant"].tolist() == [False, True, False] and set(manifest["patient"]) == {"3"}
    assert manifest["lesion"].tolist() == ["mass", "calcification", "mass, calcification"]
    described = manifest[["side", "view", "density"]].values.tolist()
    assert described[0] == ["RIGHT", "CC", 2] and described[1] == ["LEFT", "MLO", pd.NA]
    assert pd.isna(described[2][0]) and described[2][2] == 4
    np.testing.assert_array_equal(cohort.patches[0], np.tile(257 * np.arange(31, 159), (128, 1)))
    page = (cohort.folder / "cohort.md").read_text()
    assert cohort.facts["remarks"] == [NO_SPLIT] and ORIGIN.licence in page and ORIGIN.citation in page


def test_several_sets_are_one_source_and_a_number_is_one_patient(tmp_path: Path) -> None:
    write(tmp_path / "source/BCDR-F01_dataset", line())
    write(tmp_path / "source/BCDR-D01_dataset", line(label="Malign"), name="bcdr_d01_outlines.csv")
    cohort = prepare(tmp_path / "source", tmp_path / "out")
    assert cohort.patients["malignant"].to_dict() == {"3": True} and len(cohort.manifest) == 2
    assert set(cohort.facts["counts"]) == {"bcdr_f01_outlines.csv", "bcdr_d01_outlines.csv"}


def test_every_row_ends_in_the_manifest_or_in_quarantine(tmp_path: Path) -> None:
    lines = [
        line(),
        line(patient="NaN"),
        line(patient="4"),
        line(file="../source/x.tif"),
        line(file="C:\\x.tif"),
        line(file="patient_3/none.tif"),
        line(xs="1 2 3"),
        line(xs="1 2", ys="1 2"),
        line(xs="1 2 x 4"),
        line(xs="-9 1 2 3"),
        line(label="Unknown"),
        line(density="9"),
        line(view="left"),
        "3, 5",
        line(),
    ]
    cohort = prepare(write(tmp_path / "source", *lines), tmp_path / "out")
    reasons = dict(zip(cohort.quarantine["row"], cohort.quarantine["reason"].str.split(":").str[0], strict=True))
    assert dict(sorted(reasons.items())) == {
        3: "unreadable patient_id",
        4: "image is another patient's too",
        5: "path does not stay below the source",
        6: "path does not stay below the source",
        7: "file cannot be opened",
        8: "no outline",
        9: "no outline",
        10: "unreadable lw_x_points",
        11: "box is not inside the image",
        12: "unreadable classification",
        13: "unreadable density",
        14: "unreadable image_view",
        15: "row does not fit the header",
        16: "image is listed twice",
    }
    assert cohort.facts["counts"] == {"bcdr_f01_outlines.csv": {"rows": 15, "prepared": 1, "quarantined": 14}}


def test_a_column_that_is_missing_is_named(tmp_path: Path) -> None:
    source = write(tmp_path / "source", line())
    (source / "bcdr_f01_outlines.csv").write_text(HEADER.replace("image_view", "view") + "\n")
    with pytest.raises(InputError, match=r"bcdr_f01_outlines.csv: column 'image_view' is missing"):
        prepare(source, tmp_path / "out")
