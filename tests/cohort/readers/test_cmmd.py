"""A small CMMD, as TCIA describes it."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from fedmammo.cohort.options import Options
from fedmammo.cohort.prepare import prepare
from fedmammo.cohort.readers import excel
from fedmammo.cohort.readers.cmmd import ORIGIN, WHOLE
from fedmammo.cohort.readers.listing import NO_SPLIT
from fedmammo.errors import InputError

HEADINGS = ["ID1", "LeftRight", "Age", "number", "abnormality", "classification", "subtype"]
ROWS = [
    ["D1-0001", "R", 44, 2, "calcification", "Benign", None],
    ["D1-0002", "L", 45, 2, "both", "Malignant", "Luminal A"],
    ["D2-0001", "L", 46, 2, "mass", "Malignant", "HER2-enriched"],
]
PIXELS = (np.indices((128, 128)).sum(axis=0) * 100).astype(np.uint16)


def code(**said: str) -> Sequence:
    view = Dataset()
    for tag, value in said.items():
        setattr(view, tag, value)
    return Sequence([view])


CC = code(CodeValue="R-10242", CodingSchemeDesignator="SNM3", CodeMeaning="cranio-caudal")
MLO = code(CodeValue="399368009", CodingSchemeDesignator="SCT", CodeMeaning="medio-lateral oblique")


class Source:
    """A CMMD under construction: descriptive folders beside NBIA's metadata.csv."""

    def __init__(self, folder: Path, dicom: Any) -> None:
        self.folder, self.dicom = folder, dicom
        self.manifest = folder / "manifest-1616439774456"
        self.manifest.mkdir(parents=True)
        (self.manifest / "metadata.csv").write_text("Series UID,Subject ID,File Location\n")

    def image(self, patient: str, number: int = 1, **tags: Any) -> str:
        place = f"manifest-1616439774456/CMMD/{patient}/07-18-2010-NA-NA-79377/1.000000-NA-70244/1-{number}.dcm"
        self.dicom(self.folder / place, PIXELS + number, **tags)
        return place

    def table(self, rows: list[list[Any]], name: str = "CMMD_clinicaldata_revision.csv") -> None:
        frame = pd.DataFrame(rows, columns=HEADINGS)
        path = self.folder / name
        frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_excel(path, index=False)


@pytest.fixture
def source(tmp_path: Path, dicom: Any) -> Source:
    return Source(tmp_path / "source", dicom)


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_breasts_have_the_label_of_their_row(source: Source, tmp_path: Path, kind: str) -> None:
    if kind == "xlsx":
        pytest.importorskip("openpyxl")
    source.table(ROWS, f"CMMD_clinicaldata_revision.{kind}")
    places = [
        source.image("D1-0001", ImageLaterality="R", ViewCodeSequence=CC),
        source.image("D1-0002", 1, Laterality="L", ViewCodeSequence=MLO),
        source.image("D1-0002", 2, ImageLaterality="L", ViewPosition="ML"),
        source.image("D2-0001", ImageLaterality="L", ViewPosition="MLO"),
    ]
    cohort = prepare(source.folder, tmp_path / "out", Options(size=128))
    manifest = cohort.manifest
    assert manifest["image"].tolist() == places
    assert manifest["patient"].tolist() == ["D1-0001", "D1-0002", "D1-0002", "D2-0001"]
    assert manifest["malignant"].tolist() == [False, True, True, True]
    assert manifest["lesion"].tolist() == ["calcification", *["mass, calcification"] * 2, "mass"]
    assert manifest["side"].tolist() == ["RIGHT", "LEFT", "LEFT", "LEFT"]
    assert manifest["view"].fillna("").tolist() == ["CC", "MLO", "", "MLO"]
    np.testing.assert_array_equal(cohort.patches[2], PIXELS + 2)
    assert cohort.facts["counts"] == {"images": {"rows": 4, "prepared": 4, "quarantined": 0}}
    page = (cohort.folder / "cohort.md").read_text()
    assert cohort.facts["remarks"] == [WHOLE, NO_SPLIT] and ORIGIN.licence in page and ORIGIN.citation in page


def test_every_image_and_every_row_ends_in_the_manifest_or_in_quarantine(source: Source, tmp_path: Path) -> None:
    twice = [["D1-0005", "L", 1, 2, "mass", kind, None] for kind in ("Benign", "Malignant")]
    source.table([*ROWS, ["D1-0004", "X", 1, 2, "mass", "Benign", None], *twice])
    source.image("D1-0001", ImageLaterality="R")
    expected = {
        source.image("D1-0001", 2, ImageLaterality="L"): "no clinical data",
        source.image("D1-0003", ImageLaterality="L"): "no clinical data",
        source.image("D1-0002"): "no breast in the header",
        source.image("D1-0002", 2, ImageLaterality="B"): "no breast in the header",
        source.image("D1-0005", ImageLaterality="L"): "label is ambiguous",
    }
    torn = source.image("D1-0002", 3, ImageLaterality="L")
    (source.folder / torn).write_bytes(b"no")
    expected[torn] = "unreadable DICOM"
    (source.folder / "manifest-1616439774456/CMMD/D1-0001/._1-1.dcm").write_text("")
    cohort = prepare(source.folder, tmp_path / "out")
    files = cohort.quarantine[cohort.quarantine["row"].isna()]
    reasons = dict(zip(files["source"], files["reason"].str.split(":").str[0], strict=True))
    assert reasons == expected
    rows = cohort.quarantine.dropna(subset="row")
    reasons = dict(zip(rows["row"], rows["reason"].str.split(":").str[0], strict=True))
    assert reasons == {
        3: "breast has no image",
        4: "breast has no image",
        5: "unreadable LeftRight",
        6: "breast has no image",
        7: "breast has no image",
    }
    assert cohort.facts["counts"] == {
        "images": {"rows": 7, "prepared": 1, "quarantined": 6},
        "CMMD_clinicaldata_revision.csv": {"rows": 5, "prepared": 0, "quarantined": 5},
    }


def test_clinical_data_that_cannot_be_read_are_one_line(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.image("D1-0001", ImageLaterality="R")
    with pytest.raises(InputError, match=r"put TCIA's CMMD_clinicaldata_revision.xlsx there"):
        prepare(source.folder, tmp_path / "out")
    workbook = source.folder / "CMMD_clinicaldata_revision.xlsx"
    workbook.write_bytes(b"no workbook")
    with pytest.raises(InputError, match=r"revision.xlsx: expected"):
        prepare(source.folder, tmp_path / "out")
    pytest.importorskip("openpyxl")
    source.table(ROWS, workbook.name)
    monkeypatch.setattr(excel, "MAXIMUM_BYTES", 100)
    with pytest.raises(InputError, match=r"more than 0 MiB once it is unpacked"):
        prepare(source.folder, tmp_path / "out")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(InputError, match=r"install the extra fedmammo\[excel\]"):
        prepare(source.folder, tmp_path / "out")
