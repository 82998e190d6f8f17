"""Bad tables: CSV, Parquet, workbooks; paths that lead out; cells that take a pattern forever."""

import datetime
import decimal
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.fuzz.entries import Build, Entry, Place
from tests.fuzz.picture_files import code

HEAD = "image,patient,label\n"
ROW = "good.png,p1,benign\n"
_SHEETS = (
    '<?xml version="1.0"?><workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships">'
    '<sheets><sheet name="a" sheetId="1" r:id="rId1"/></sheets></workbook>'
)
_RELATIONS = (
    '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/{}" '
    'Target="{}"/></Relationships>'
)
_TYPES = (
    '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Override PartName="/xl/workbook.xml" '
    'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>'
)
_SHEET = (
    '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{}</sheetData></worksheet>'
)
LAUGHS = "<!DOCTYPE l [<!ENTITY a0 'ha'>{}]>".format(
    "".join(f"<!ENTITY a{n + 1} '{f'&a{n};' * 10}'>" for n in range(12))
)


def cell(place: str, text: str) -> str:
    return f'<c r="{place}" t="inlineStr"><is><t>{text}</t></is></c>'


def workbook(rows: str, start: str = "", extra: int = 0) -> bytes:
    """A workbook of one sheet; `extra`: MiB of zeros beside it."""
    file = BytesIO()
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", _TYPES)
        archive.writestr("_rels/.rels", _RELATIONS.format("officeDocument", "xl/workbook.xml"))
        archive.writestr("xl/workbook.xml", _SHEETS)
        archive.writestr("xl/_rels/workbook.xml.rels", _RELATIONS.format("worksheet", "worksheets/sheet1.xml"))
        archive.writestr("xl/worksheets/sheet1.xml", start + _SHEET.format(rows))
        if extra:
            with archive.open("xl/media.bin", "w") as part:
                for _ in range(extra):
                    part.write(bytes(2**20))
    return file.getvalue()


def row(number: int, *texts: str) -> str:
    cells = "".join(cell(f"{column}{number}", text) for column, text in zip("ABC", texts, strict=True))
    return f'<row r="{number}">{cells}</row>'


GOOD_ROWS = row(1, "image", "patient", "label") + row(2, "good.png", "p1", "benign")


def parquet(**more: object) -> bytes:
    """A Parquet table of one good row, and more columns."""
    file = BytesIO()
    usual = {"image": ["good.png"], "patient": ["p1"], "label": ["benign"]}
    pq.write_table(pa.table({**usual, **more}), file)
    return file.getvalue()


def repeated(rows: int, size: int) -> bytes:
    """A text of a MiB, and so on, once in the file and again in every row."""
    file = BytesIO()
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["x" * size]))
    pq.write_table(pa.table({"image": column}), file)
    return file.getvalue()


def with_notes(notes: bytes) -> bytes:
    """A Parquet table with notes of pandas that it did not write."""
    file = BytesIO()
    usual = pa.table({"image": ["good.png"], "patient": ["p1"], "label": ["benign"]})
    pq.write_table(usual.replace_schema_metadata({b"pandas": notes}), file)
    return file.getvalue()


def sparse(name: str, size: int, start: bytes = b"") -> Callable[[Place], None]:
    """A file that declares its size and takes no room."""

    def build(place: Place) -> None:
        with Path(place.folder / name).open("wb") as file:
            file.write(start)
            file.truncate(size)

    return build


def leading(path: Callable[[Place], str]) -> Build:
    """A table with a row whose image is elsewhere."""
    return lambda place: f'{HEAD}{ROW}"{path(place)}",p2,malignant\n'.encode()


_OUT = "^path does not stay below the source"
_TABLE = "expected a CSV or Parquet table with a header"
_BUILT: dict[str, tuple[str, str, Build]] = {
    "good": ("t.csv", "", lambda _: (HEAD + ROW).encode()),
    "good Parquet": ("t.parquet", "", lambda _: parquet()),
    "good workbook": ("t.xlsx", "", lambda _: workbook(GOOD_ROWS)),
    "a path of ..": ("t.csv", _OUT, leading(lambda place: f"../{place.secret.name}")),
    "a path of .. within": ("t.csv", _OUT, leading(lambda place: f"a/../../{place.secret.name}")),
    "an absolute path": ("t.csv", _OUT, leading(lambda place: str(place.secret))),
    "a path of Windows": ("t.csv", _OUT, leading(lambda place: f"..\\{place.secret.name}")),
    "a path of a drive": ("t.csv", _OUT, leading(lambda place: f"C:{place.secret}")),
    "a path of a machine": ("t.csv", _OUT, leading(lambda place: f"//localhost{place.secret}")),
    "a path with spaces before ..": ("t.csv", _OUT, leading(lambda place: f" ../{place.secret.name} ")),
    "a path of 100000 letters": ("t.csv", "^file cannot be opened", leading(lambda _: "a" * 100_000)),
    "a path of 9000 folders": ("t.csv", "^file cannot be opened", leading(lambda _: "a/" * 9000 + "b")),
    "a path of nothing but dots": ("t.csv", _OUT, leading(lambda _: "././.")),
    "an address": ("t.csv", "^file cannot be opened", leading(lambda _: "http://localhost/secret.png")),
    "NUL in cells": ("t.csv", "^unreadable", lambda _: (HEAD + ROW + "a\0.png,p\0,benign\n").encode()),
    "NUL in the header": ("t.csv", "is missing", lambda _: b"image\0,patient,label\n" + ROW.encode()),
    "an open quote": ("t.csv", _TABLE, lambda _: (HEAD + ROW + '"good.png,p2,benign\n' * 2000).encode()),
    "a cell of 2 MB": (
        "t.csv",
        "has more than .* signs",
        lambda _: (HEAD + ROW + "a" * 2_000_000 + ",p2,0\n").encode(),
    ),
    "a line of 8 GiB": ("t.csv", _TABLE, sparse("t.csv", 2**33, HEAD.encode())),
    "a table of 1 TiB": ("t.csv", "larger than", sparse("t.csv", 2**40, HEAD.encode())),
    "a million columns": ("t.csv", "has more than .* signs", lambda _: ",".join(map(str, range(10**6))).encode()),
    "100000 columns": (
        "t.csv",
        "columns, at most",
        lambda _: (",".join(["image", "patient", "label", *map(str, range(100_000))]) + "\n" + ROW).encode(),
    ),
    "UTF-16": ("t.csv", _TABLE, lambda _: (HEAD + ROW).encode("utf-16")),
    "Latin 1": ("t.csv", _TABLE, lambda _: (HEAD + "é.png,p,0\n").encode("latin-1")),
    "line ends of three systems": (
        "t.csv",
        "^row is blank$",
        lambda _: (HEAD.strip() + "\r\n" + ROW.strip() + "\r\r\n").encode(),
    ),
    "formulas": ("t.csv", "^file cannot be opened", lambda _: (HEAD + ROW + "=cmd|'/c calc'!A1,@SUM(1),0\n").encode()),
    "nothing": ("t.csv", _TABLE, lambda _: b""),
    "line ends alone": ("t.csv", "has no heading|is missing|empty", lambda _: b"\n" * 100_000),
    "a column twice": ("t.csv", "is there twice", lambda _: b"image,patient,label,label\n"),
    "a number of 120000 digits": (
        "t.csv",
        "unreadable density: .* is no whole number",
        lambda _: (HEAD.strip() + ",density\n" + "good.png,p1,0," + "1" * 120_000 + "x\n").encode(),
    ),
    "a label of 120000 digits": (
        "t.csv",
        "^unreadable",
        lambda _: (HEAD + ROW + "a.png,p2," + "1" * 120_000 + "x\n").encode(),
    ),
    "a patient of 120000 digits": ("t.csv", "", lambda _: (HEAD + "good.png," + "1" * 120_000 + ",0\n").encode()),
    "a box of 10^300": (
        "t.csv",
        "unreadable right",
        lambda _: (HEAD.strip() + ",left,top,right,bottom\ngood.png,p,0,0,0,1e300,9\n").encode(),
    ),
    "Parquet in half": ("t.parquet", _TABLE, lambda _: parquet()[: len(parquet()) // 2]),
    "Parquet without its start": ("t.parquet", _TABLE, lambda _: parquet()[40:]),
    "Parquet of zeros in the middle": (
        "t.parquet",
        _TABLE,
        lambda _: (whole := parquet())[:10] + bytes(len(whole) - 30) + whole[-20:],
    ),
    "Parquet with all kinds of columns": (
        "t.parquet",
        "",
        lambda _: parquet(
            lists=[[1, 2]],
            structs=[{"a": {"b": 1}}],
            number=[decimal.Decimal("1.5")],
            time=pa.array([2**40], pa.timestamp("s")),
            day=[datetime.date(1, 1, 1)],
            nothing=pa.nulls(1),
            pairs=pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())),
            span=pa.array([2**62], pa.duration("s")),
        ),
    ),
    "Parquet with bytes": ("t.parquet", "column 'more' holds what is no text", lambda _: parquet(more=[b"\xff\0"])),
    "Parquet with a text of 1 MiB in 20000 rows": ("t.parquet", "larger than", lambda _: repeated(20_000, 2**20)),
    "Parquet with 100 million rows": ("t.parquet", "larger than", lambda _: repeated(100_000_000, 1)),
    "Parquet with notes that are none": ("t.parquet", _TABLE, lambda _: with_notes(b"\xff{")),
    "Parquet with notes of another kind": (
        "t.parquet",
        _TABLE,
        lambda _: with_notes(b'{"index_columns": [7, {"kind": "range"}], "columns": 3}'),
    ),
    "a workbook that is none": ("t.xlsx", "no workbook", lambda _: b"PK\3\4" + bytes(100)),
    "a workbook in half": ("t.xlsx", "no workbook", lambda _: workbook(GOOD_ROWS)[:500]),
    "a workbook of 300 MiB": ("t.xlsx", "once it is unpacked", lambda _: workbook(GOOD_ROWS, extra=300)),
    "a workbook of entities": ("t.xlsx", "no workbook", lambda _: workbook(cell("A1", "&a12;"), LAUGHS)),
    "a workbook that asks for a file": (
        "t.xlsx",
        "no workbook|is missing",
        lambda _: workbook(cell("A1", "&x;"), "<!DOCTYPE l [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"),
    ),
    "a workbook of wide rows": (
        "t.xlsx",
        "more than .* cells",
        lambda _: workbook(GOOD_ROWS + f"<row>{cell('XFD3', 'x')}</row>" * 20_000),
    ),
    "a workbook whose last row is a million": (
        "t.xlsx",
        "more than .* cells|row is blank|^unread",
        lambda _: workbook(GOOD_ROWS + f'<row r="1048576">{cell("A1048576", "x")}</row>'),
    ),
    "a workbook of numbers of 1e308": (
        "t.xlsx",
        "^unreadable|^file cannot",
        lambda _: workbook(GOOD_ROWS + '<row r="3"><c r="A3"><v>1e308</v></c></row>'),
    ),
    "a pickle": ("t.parquet", _TABLE, code),
}
ENTRIES = [Entry(f"table: {name}", "table", says, build, file) for name, (file, says, build) in _BUILT.items()]
