"""A small INbreast, as its publication describes it."""

import plistlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedmammo.cohort.prepare import prepare
from fedmammo.cohort.readers import inbreast
from fedmammo.cohort.readers.birads import REMARK
from fedmammo.errors import InputError

HEADER = "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads"
MASS = [(90.2, 100.7), (99.9, 105.0), (95.5, 119.3)]
ONE, TWO = "6c613a14b80a8591", "036aff49b8ac84f0"
ROWS, COLUMNS = np.indices((260, 240))
PIXELS = (200 * ROWS + COLUMNS).astype(np.uint16)


class Source:
    """An INbreast under construction."""

    def __init__(self, folder: Path, dicom: Any) -> None:
        self.folder, self.dicom, self.lines = folder, dicom, [HEADER]
        for name in ("AllDICOMs", "AllXML"):
            (folder / name).mkdir(parents=True)
        self.write()

    def write(self) -> None:
        (self.folder / "INbreast.csv").write_bytes("\r\n".join(self.lines).encode())

    def image(self, number: int, patient: str, name: str = "L_CC") -> None:
        self.dicom(self.folder / f"AllDICOMs/{number}_{patient}_MG_{name}_ANON.dcm", PIXELS)

    def outlines(self, number: int, *regions: tuple[str, list[tuple[float, float]]]) -> Path:
        rois = [{"Name": name, "Point_px": [f"({x:f}, {y:f})" for x, y in points]} for name, points in regions]
        path = self.folder / f"AllXML/{number}.xml"
        path.write_bytes(plistlib.dumps({"Images": [{"ImageIndex": 0, "NumberOfROIs": len(rois), "ROIs": rois}]}))
        return path

    def row(self, number: int | str, birads: str, acr: str = "3") -> None:
        self.lines.append(f"removed;removed;L;CC;201001;{number};{acr};{birads}")
        self.write()


@pytest.fixture
def source(tmp_path: Path, dicom: Any) -> Source:
    return Source(tmp_path / "source", dicom)


def test_regions_are_lesions(source: Source, tmp_path: Path) -> None:
    """The patch of the mass begins at row 110 - 64 and column 95 - 64."""
    cluster = ("Cluster", [(9.0, 9.0), (20.0, 30.0), (10.0, 12.0)])
    point, muscle = ("Calcification", [(5.0, 5.0)]), ("Pectoral Muscle", MASS)
    for number, patient, name, birads, acr in (
        (1, ONE, "L_CC", "4a", "3"),
        (2, ONE, "R_ML", "6", "   "),
        (3, TWO, "R_CC", "3", "1"),
    ):
        source.image(number, patient, name)
        source.row(number, birads, acr)
    source.outlines(1, ("Mass", MASS), cluster, point, muscle)
    source.outlines(2, ("Espiculated Region", MASS))
    source.outlines(3, ("Unnamed", MASS))
    cohort = prepare(source.folder, tmp_path / "out")
    manifest = cohort.manifest
    assert manifest["image"].tolist() == [
        f"AllDICOMs/1_{ONE}_MG_L_CC_ANON.dcm@90,100,100,120",
        f"AllDICOMs/1_{ONE}_MG_L_CC_ANON.dcm@9,9,21,31",
        f"AllDICOMs/2_{ONE}_MG_R_ML_ANON.dcm@90,100,100,120",
        f"AllDICOMs/3_{TWO}_MG_R_CC_ANON.dcm@90,100,100,120",
    ]
    assert manifest["malignant"].tolist() == [True, True, True, False]
    assert manifest["lesion"].tolist()[:3] == ["mass", "calcification", "spiculated region"]
    assert manifest["lesion"].isna().tolist() == [False, False, False, True]
    described = manifest[["patient", "side", "view", "density", "assessment"]].values.tolist()
    assert described[0] == [ONE, "LEFT", "CC", 3, 4]
    assert described[2] == [ONE, "RIGHT", "MLO", pd.NA, pd.NA]  # BI-RADS 6 is no assessment
    np.testing.assert_array_equal(cohort.patches[0], PIXELS[46:174, 31:159])
    assert cohort.facts["counts"] == {"INbreast.csv": {"rows": 4, "prepared": 4, "quarantined": 0}}
    page = (cohort.folder / "cohort.md").read_text()
    assert REMARK in page and inbreast.ORIGIN.licence in page and inbreast.ORIGIN.citation in page
    assert ONE not in page


def test_every_row_and_every_image_ends_in_the_manifest_or_in_quarantine(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, birads in enumerate(("4a", "2", "1", "0", "", "4d", "2", "2", "2", "2", "2"), start=1):
        source.image(number, ONE, "L_LM" if number == 7 else "L_CC")
        source.row(number, birads)
        source.outlines(number, ("Mass", MASS))
    source.row("../AllXML/1", "2")
    source.row(13, "2")
    source.image(99, TWO)
    source.image(1, ONE, "L_CC")
    source.dicom(source.folder / f"AllDICOMs/1_{ONE}_MG_L_CC_ANON (1).dcm", PIXELS)
    (source.folder / f"AllDICOMs/._1_{ONE}_MG_L_CC_ANON.dcm").write_text("")
    source.outlines(2, ("Calcification", [(5.0, 5.0)]))
    (source.folder / "AllXML/3.xml").unlink()
    bomb = '<!DOCTYPE plist [<!ENTITY a "a">]><plist><dict><key>Images</key><string>&a;</string></dict></plist>'
    (source.folder / "AllXML/8.xml").write_text(bomb)
    (source.folder / "AllXML/9.xml").write_text("<plist><dict></dict></plist>")
    source.outlines(10, ("Mass", [(float("nan"), 1.0), (2.0, 3.0), (4.0, 5.0)]))
    large = source.outlines(11, ("Mass", MASS * 20))
    monkeypatch.setattr(inbreast, "MAXIMUM_BYTES", large.stat().st_size - 1)
    cohort = prepare(source.folder, tmp_path / "out")
    rows = cohort.quarantine.dropna(subset="row")
    reasons = dict(zip(rows["row"], rows["reason"].str.split(":").str[0], strict=True))
    assert dict(sorted(reasons.items())) == {
        3: "no lesion",
        4: "no lesion",
        5: "no label",
        6: "no label",
        7: "unreadable Bi-Rads",
        8: "name does not parse",
        9: "unreadable outlines",
        10: "unreadable outlines",
        11: "no outline",
        12: "file of outlines is larger than 0 MiB",
        13: "image is missing",
        14: "image is missing",
    }
    unlisted = cohort.quarantine[cohort.quarantine["row"].isna()]
    assert unlisted["source"].tolist() == [
        f"AllDICOMs/1_{ONE}_MG_L_CC_ANON (1).dcm",
        f"AllDICOMs/99_{TWO}_MG_L_CC_ANON.dcm",
    ]
    assert [reason.split(":")[0] for reason in unlisted["reason"]] == ["image is there twice", "image has no row"]
    assert cohort.facts["counts"] == {
        "images that no row lists": {"rows": 2, "prepared": 0, "quarantined": 2},
        "INbreast.csv": {"rows": 13, "prepared": 1, "quarantined": 12},
    }


def test_a_table_with_commas_or_without_a_column_is_one_line(source: Source, tmp_path: Path) -> None:
    for header, expected in (
        (HEADER.replace(";", ","), "the header has no semicolon"),
        (HEADER.replace("Bi-Rads", "x"), "column 'Bi-Rads' is missing"),
    ):
        source.lines = [header]
        source.write()
        with pytest.raises(InputError, match=expected):
            prepare(source.folder, tmp_path / "out")
