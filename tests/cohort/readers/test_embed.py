"""A small EMBED, as its authors describe it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedmammo.cohort.prepare import prepare
from fedmammo.cohort.readers.embed import JOINED, ORIGIN
from fedmammo.cohort.readers.listing import NO_SPLIT
from fedmammo.errors import InputError

DISKS = "/mnt/NAS2/mammo/anon_dicom"
ROI = "((100, 90, 120, 100),)"
"""Rows 100-119 and columns 90-99."""
ROWS, COLUMNS = np.indices((260, 240))
PIXELS = (200 * ROWS + COLUMNS).astype(np.uint16)


def image(patient: str, exam: str, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"Unnamed": "0", "empi_anon": patient, "acc_anon": exam, "FinalImageType": "2D"}
    row |= {"anon_dicom_path": f"{DISKS}/cohort_1/{patient}/{exam}/1.2/{patient}.dcm", "spot_mag": ""}
    row |= {"ImageLateralityFinal": "L", "ViewPosition": "CC", "num_roi": 1, "ROI_coords": ROI}
    return row | changes


def finding(patient: str, exam: str, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"empi_anon": patient, "acc_anon": exam, "numfind": 1, "side": "L", "bside": ""}
    return row | {"asses": "S", "tissueden": "2.0", "path_severity": ""} | changes


class Source:
    """An EMBED under construction."""

    def __init__(self, folder: Path, dicom: Any) -> None:
        self.folder, self.dicom = folder, dicom
        (folder / "tables").mkdir(parents=True)

    def write(self, images: list[dict[str, Any]], findings: list[dict[str, Any]], ending: str = "") -> None:
        for name, rows in (("metadata", images), ("clinical", findings)):
            path = self.folder / f"tables/EMBED_OpenData_{name}{ending}.csv"
            pd.DataFrame(rows).to_csv(path, index=False)

    def file(self, place: str) -> None:
        self.dicom(self.folder / "images" / place, PIXELS)


@pytest.fixture
def source(tmp_path: Path, dicom: Any) -> Source:
    return Source(tmp_path / "source", dicom)


@pytest.mark.parametrize("ending", ["", "_reduced"])
def test_regions_are_lesions(source: Source, tmp_path: Path, ending: str) -> None:
    """A region's corners are (ymin, xmin, ymax, xmax); the patch begins at row 110 - 64 and column 95 - 64."""
    for place in ("cohort_1/10/1/1.2/10.dcm", "20/2/1.2/20.dcm"):
        source.file(place)
    two = {"num_roi": 2, "ROI_coords": "[[100, 90, 120, 100], [5, 6, 7, 8]]"}
    source.write(
        [image("10", "1", **two), image("20", "2", ImageLateralityFinal="R", ViewPosition="ML")],
        [
            finding("10", "1", path_severity="0.0"),
            finding("10", "1", path_severity="1"),
            finding("10", "1", side="R", path_severity="4", asses="N", tissueden="1"),
            finding("20", "2", side="", bside="R", path_severity="4.0", asses="K", tissueden="5"),
        ],
        ending,
    )
    cohort = prepare(source.folder, tmp_path / "out")
    manifest = cohort.manifest
    assert manifest["image"].tolist() == [
        "images/cohort_1/10/1/1.2/10.dcm@90,100,100,120",
        "images/cohort_1/10/1/1.2/10.dcm@6,5,8,7",
        "images/20/2/1.2/20.dcm@90,100,100,120",
    ]
    assert manifest["malignant"].tolist() == [True, True, False]
    described = manifest[["patient", "side", "view", "density", "assessment"]].values.tolist()
    assert described[0] == ["10", "LEFT", "CC", 2, 4]
    assert described[2][:2] == ["20", "RIGHT"] and manifest[["view", "density", "assessment"]].iloc[2].isna().all()
    np.testing.assert_array_equal(cohort.patches[0], PIXELS[46:174, 31:159])
    table = f"EMBED_OpenData_metadata{ending}.csv"
    assert cohort.facts["counts"] == {table: {"rows": 3, "prepared": 3, "quarantined": 0}}
    page = (cohort.folder / "cohort.md").read_text()
    assert cohort.facts["remarks"] == [JOINED, NO_SPLIT] and ORIGIN.licence in page and ORIGIN.citation in page


def test_every_row_ends_in_the_manifest_or_in_quarantine(source: Source, tmp_path: Path) -> None:
    for patient in ("1", "2", "3", "4", "5", "6", "7"):
        source.file(f"cohort_1/{patient}/9/1.2/{patient}.dcm")
    images = [
        image("1", "9"),
        image("1", "9", FinalImageType="cview"),
        image("1", "9", num_roi=0, ROI_coords="()"),
        image("1", "9", ROI_coords="((1, 2, 3),)"),
        image("1", "9", num_roi=2),
        image("1", "8"),
        image("1", "9", ImageLateralityFinal="R"),
        *(image(patient, "9") for patient in ("2", "3", "4", "5", "6")),
        image("7", "9", anon_dicom_path="../x.dcm"),
        image("7", "9", anon_dicom_path=f"{DISKS}/cohort_1/7/none.dcm"),
        image("7", "9", anon_dicom_path=f"{DISKS}/{'x' * 300}.dcm"),
        image("7", "9", anon_dicom_path=f"{DISKS}/cohort_1/1/9/1.2/1.dcm"),
        image("7", "9", ImageLateralityFinal=""),
        image("7", "9", ROI_coords="((100, 90, 100, 100),)"),
    ]
    findings = [
        finding("1", "9", path_severity="5"),
        finding("1", "9", path_severity=""),
        finding("2", "9", path_severity="2"),
        finding("3", "9", path_severity="6"),
        finding("4", "9", path_severity="0"),
        finding("4", "9", path_severity="4"),
        finding("5", "9"),
        finding("6", "9", side="B", path_severity="0"),
        finding("7", "9", path_severity="1"),
        finding("7", "9", path_severity="9"),
    ]
    source.write(images, findings)
    cohort = prepare(source.folder, tmp_path / "out")
    listed = cohort.quarantine[cohort.quarantine["source"] == "EMBED_OpenData_metadata.csv"]
    reasons = dict(zip(listed["row"], listed["reason"].str.split(":").str[0], strict=True))
    assert dict(sorted(reasons.items())) == {
        3: "not a 2D image",
        4: "no lesion",
        5: "unreadable ROI_coords",
        6: "unreadable ROI_coords",
        **dict.fromkeys((7, 8, 12, 13), "no pathology"),
        **dict.fromkeys((9, 10, 11), "pathology is neither benign nor malignant"),
        14: "path does not stay below the source",
        15: "image is missing",
        16: "image is missing",
        17: "image is another patient's too",
        18: "unreadable ImageLateralityFinal",
        19: "box is empty or reversed",
    }
    assert cohort.facts["counts"] == {
        "EMBED_OpenData_metadata.csv": {"rows": 18, "prepared": 1, "quarantined": 17},
        "EMBED_OpenData_clinical.csv": {"rows": 1, "prepared": 0, "quarantined": 1},
    }


def test_a_table_that_is_missing_is_named(source: Source, tmp_path: Path) -> None:
    source.write([image("1", "9")], [finding("1", "9")])
    (source.folder / "tables/EMBED_OpenData_clinical.csv").unlink()
    with pytest.raises(InputError, match=r"expected tables/EMBED_OpenData_clinical.csv"):
        prepare(source.folder, tmp_path / "out")
