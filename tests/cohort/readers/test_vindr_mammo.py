"""A small VinDr-Mammo, as PhysioNet describes it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedmammo.cohort.prepare import prepare
from fedmammo.cohort.readers.birads import REMARK
from fedmammo.cohort.readers.vindr_mammo import ORIGIN
from fedmammo.errors import InputError


def row(study: str, image: str, **changes: Any) -> dict[str, Any]:
    """A mass of rows 100-119 and columns 90-99, as its box touches them."""
    known: dict[str, Any] = {"study_id": study, "series_id": "s", "image_id": image, "laterality": "L"}
    known |= {"view_position": "CC", "height": 260, "width": 240, "breast_birads": "BI-RADS 4"}
    known |= {"breast_density": "DENSITY C", "finding_categories": "['Mass']", "finding_birads": "BI-RADS 4"}
    return known | {"xmin": 90.4, "ymin": 100.0, "xmax": 99.2, "ymax": 119.5, "split": "training"} | changes


def write(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """The table, beside metadata.csv and the breasts' own table, which are there too."""
    folder.mkdir(exist_ok=True)
    pd.DataFrame(rows).to_csv(folder / "finding_annotations.csv", index=False)
    for other in ("metadata.csv", "breast-level_annotations.csv"):
        (folder / other).write_text("SOP Instance UID\n1\n")
    return folder


def test_findings_are_lesions(tmp_path: Path, dicom: Any) -> None:
    """The patch begins at row 110 - 64 and column 95 - 64; a row is 200 brighter than the one above."""
    rows, columns = np.indices((260, 240))
    pixels = (200 * rows + columns).astype(np.uint16)
    for place in ("e1/a", "e1/b", "e2/c"):
        dicom(tmp_path / f"source/images/{place}.dicom", pixels)
    box = {"xmin": -3.5, "ymin": 100.0, "xmax": 17.0, "ymax": 260.9}
    kinds = "['Suspicious Calcification', 'Focal Asymmetry']"
    lesions = [
        row("e1", "a"),
        row("e1", "a", finding_categories=kinds, finding_birads="BI-RADS 3", **box),
        row(
            "e2", "c", laterality="R", view_position="MLO", finding_birads="BI-RADS 5", split="test", breast_density=""
        ),
    ]
    cohort = prepare(write(tmp_path / "source", lesions), tmp_path / "out")
    manifest = cohort.manifest
    assert manifest["image"].tolist() == [
        "images/e1/a.dicom@90,100,100,120",
        "images/e1/a.dicom@0,100,17,260",  # without what the box has outside the image
        "images/e2/c.dicom@90,100,100,120",
    ]
    assert manifest["patient"].tolist() == ["e1", "e1", "e2"] and manifest["split"].tolist() == [
        "train",
        "train",
        "test",
    ]
    assert manifest["malignant"].tolist() == [True, False, True]
    assert manifest["lesion"].tolist() == ["mass", "calcification, focal asymmetry", "mass"]
    described = manifest[["side", "view", "density", "assessment"]].values.tolist()
    assert described[0] == ["LEFT", "CC", 3, 4] and described[2] == ["RIGHT", "MLO", pd.NA, 5]
    np.testing.assert_array_equal(cohort.patches[0], pixels[46:174, 31:159])
    assert cohort.facts["remarks"][0] == REMARK
    page = (cohort.folder / "cohort.md").read_text()
    assert REMARK in page and ORIGIN.licence in page and ORIGIN.citation in page


def test_every_row_ends_in_the_manifest_or_in_quarantine(tmp_path: Path, dicom: Any) -> None:
    dicom(tmp_path / "source/images/e1/a.dicom", np.arange(260 * 240, dtype=np.uint16).reshape(260, 240))
    nothing = dict.fromkeys(("xmin", "ymin", "xmax", "ymax", "finding_birads"), "")
    rows = [
        row("e1", "a"),
        row("e1", "a", finding_categories="['No Finding']", **nothing),
        row("e1", "a", xmax=""),
        row("e1", "a", finding_birads=""),
        row("e1", "a", xmin=200.0),
        row("e1", "z"),
        row("../../e1", "a"),
        row("/e1", "a"),
        row("e1", "a", finding_birads="high"),
        row("e1", "a", split="val"),
        row("e1", "a", xmin="inf"),
        row("e2", "a", view_position="XCC"),
        row("e1", "a"),
    ]
    cohort = prepare(write(tmp_path / "source", rows), tmp_path / "out")
    reasons = dict(zip(cohort.quarantine["row"], cohort.quarantine["reason"].str.split(":").str[0], strict=True))
    assert dict(sorted(reasons.items())) == {
        3: "no lesion",
        4: "box is incomplete",
        5: "no label",
        6: "box is empty or reversed",
        7: "file cannot be opened",
        8: "path does not stay below the source",
        9: "image is another patient's too",  # images//e1 is images/e1
        10: "unreadable finding_birads",
        11: "unreadable split",
        12: "unreadable xmin",
        13: "unreadable view_position",
        14: "image is listed twice",
    }
    counts = cohort.facts["counts"]["finding_annotations.csv"]
    assert counts["rows"] == 13 and counts["prepared"] + counts["quarantined"] == 13


def test_a_column_that_is_missing_is_named(tmp_path: Path) -> None:
    table = [{name: cell for name, cell in row("e1", "a").items() if name != "split"}]
    with pytest.raises(InputError, match=r"finding_annotations.csv: column 'split' is missing"):
        prepare(write(tmp_path / "source", table), tmp_path / "out")
