"""What readers of public data sets share."""

from pathlib import Path, PurePosixPath

import pytest

from fedmammo.cohort.patch import Box
from fedmammo.cohort.quarantine import Unusable
from fedmammo.cohort.readers.birads import birads, is_malignant
from fedmammo.cohort.readers.lesion_rows import box_around
from fedmammo.cohort.readers.places import below
from fedmammo.cohort.readers.tables import read_table
from fedmammo.disk.stray import is_stray


@pytest.mark.parametrize("text", ["a/b.png", "a\\b.png", "./a//b.png", " a/b.png "])
def test_a_path_below_the_source(text: str) -> None:
    assert below(Path("/data"), text) == Path("/data/a/b.png")


@pytest.mark.parametrize("text", ["", ".", "/a", "\\a", "C:a", "c:\\a", "\\\\host\\a", "a/../../b", "..\\a", "a\0"])
def test_a_path_that_leaves_the_source(text: str) -> None:
    with pytest.raises(Unusable, match="path does not stay below the source: "):
        below(Path("/data"), text)


def test_strays() -> None:
    strays = ["a/._b.png", "a/.DS_Store", "Thumbs.db", "a/DESKTOP.INI", "__MACOSX/a/b.png"]
    assert all(is_stray(PurePosixPath(place)) for place in strays)
    assert not any(is_stray(PurePosixPath(place)) for place in ("a/b.png", "a/.b.png", "a/_b.png", "thumbs/a.png"))


def test_a_box_holds_the_pixels_of_all_points() -> None:
    assert box_around([3.0, 5.9, 4.0], [7.0, 8.0, 7.5]) == Box(3, 7, 6, 9)
    for xs, ys in (([1.0, 2.0], [1.0, 2.0]), ([1.0, 2.0, 3.0], [1.0]), ([1.0, 2.0, float("inf")], [1.0, 2.0, 3.0])):
        with pytest.raises(Unusable, match="no outline: "):
            box_around(xs, ys)


def test_categories_of_birads() -> None:
    assert [birads(text) for text in ("BI-RADS 4", "4a", "4 C", "bi-rads 5", "6", "2.0")] == [4, 4, 4, 5, 6, 2]
    for text in ("7", "4d", "", "BI-RADS", "44", "٤"):
        with pytest.raises(Unusable, match="is no BI-RADS category"):
            birads(text)
    assert [is_malignant(category) for category in (1, 2, 3, 4, 5, 6)] == [False] * 3 + [True] * 3
    for category in (0, None):
        with pytest.raises(Unusable, match="no label: "):
            is_malignant(category)


def test_a_table_of_some_columns(tmp_path: Path) -> None:
    """Rows are judged by all columns."""
    (tmp_path / "table.csv").write_text("A,b,c\n1,2,3\n4,5\n,6,\n")
    table = read_table(tmp_path / "table.csv", only={"a", "c"})
    assert table.headings == ["A", "c"] and table.rows == [(2, {"A": "1", "c": "3"}), (4, {"A": "", "c": ""})]
    assert [entry.row for entry in table.quarantine] == [3] and table.count == 3


def test_a_workbook_reads_as_its_csv(tmp_path: Path) -> None:
    """Whole numbers without a point, empty cells as nothing, and rows that end early as long as the header."""
    openpyxl = pytest.importorskip("openpyxl")
    workbook = openpyxl.Workbook()
    for row in (["a", "b", "c"], [1, 2.5, "x"], [None, 3.0], [], ["y", None, None, "beyond"]):
        workbook.active.append(row)
    workbook.save(tmp_path / "table.xlsx")
    table = read_table(tmp_path / "table.xlsx")
    assert table.rows == [(2, {"a": "1", "b": "2.5", "c": "x"}), (3, {"a": "", "b": "3", "c": ""})]
    reasons = [(entry.row, entry.reason) for entry in table.quarantine]
    assert reasons == [(4, "row is blank"), (5, "row does not fit the header: 4 cells under 3 headings")]
