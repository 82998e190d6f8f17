"""Reads a table, CSV, Parquet or Excel, as text; every row counts, also those that do not fit."""

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pandas as pd

from fedmammo.cohort.quarantine import Quarantined
from fedmammo.cohort.readers.excel import read_excel
from fedmammo.disk.parquet import read_parquet
from fedmammo.errors import InputError

MAXIMUM_BYTES = 2**32
"""The largest table of a public data set has about one GiB."""
MAXIMUM_LINE = 2**20
"""Signs of a line of a CSV."""
MAXIMUM_COLUMNS = 10_000


@dataclass(frozen=True)
class Table:
    """A table as it is on disk.

    Attributes:
        path: the file.
        headings: of its columns, stripped.
        rows: (number, heading → cell); numbers are a spreadsheet's: the header is row 1.
        quarantine: blank rows, and rows that do not fit the header.
        digest: SHA-256 of the file, in hex.
    """

    path: Path
    headings: list[str]
    rows: list[tuple[int, dict[str, str]]]
    quarantine: list[Quarantined]
    digest: str

    @property
    def count(self) -> int:
        """How many rows it has, the header aside."""
        return len(self.rows) + len(self.quarantine)


def read_table(path: Path, delimiter: str = ",", only: Container[str] | None = None) -> Table:
    """Read a CSV (UTF-8, any line ends), a Parquet file (`.parquet`) or the first sheet of a workbook (`.xlsx`).

    Args:
        path: the file.
        delimiter: what is between the cells of a CSV, unless its first line says so (`sep=;`, as spreadsheets do).
        only: headings in lower case, whose columns are kept; a table of a gigabyte may be asked for a few. All if None.

    Raises:
        InputError: it is none of these, or its columns have not each a name of their own.
    """
    try:
        if path.stat().st_size > MAXIMUM_BYTES:
            raise ValueError(f"larger than {MAXIMUM_BYTES >> 30} GiB")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        suffix = path.suffix.lower()
        if suffix == ".xlsx":
            lines = iter(read_excel(path))
        else:
            lines = iter(_parquet(path)) if suffix == ".parquet" else _csv(path, delimiter)
        headings = [cell.strip() for cell in next(lines, ())]
        if not headings:
            raise ValueError("the file is empty")
        if len(headings) > MAXIMUM_COLUMNS:
            raise ValueError(f"{len(headings)} columns, at most {MAXIMUM_COLUMNS}")
        _check(path, headings, delimiter)
        return _read(path, headings, lines, digest, only)
    except (OSError, ValueError) as error:  # undecodable text is a ValueError
        raise InputError(
            f"{path}: expected a CSV or Parquet table with a header ({error}); save it anew, a CSV as UTF-8"
        ) from error


def _check(path: Path, headings: list[str], delimiter: str) -> None:
    twice = sorted(heading for heading, count in Counter(headings).items() if count > 1)
    if "" in headings:
        raise InputError(f"{path}: column {headings.index('') + 1} has no heading; give it one, or remove it")
    if twice:
        raise InputError(f"{path}: column {twice[0]!r} is there twice; give every column its own name")
    if len(headings) == 1 and (found := re.search("[,;\t|]", headings[0])) and found[0] != delimiter:
        between = {",": "comma", ";": "semicolon"}[delimiter]
        raise InputError(f"{path}: the header has no {between}; save the table with {between}s between its columns")


def _read(
    path: Path, headings: list[str], lines: Iterator[list[str]], digest: str, only: Container[str] | None
) -> Table:
    kept = [at for at, heading in enumerate(headings) if only is None or heading.lower() in only]
    rows: list[tuple[int, dict[str, str]]] = []
    quarantine: list[Quarantined] = []
    for row, cells in enumerate(lines, start=2):
        if not any(cell.strip() for cell in cells):
            quarantine.append(Quarantined(path.name, row, "row is blank"))
        elif len(cells) != len(headings):
            counts = f"{len(cells)} cells under {len(headings)} headings"
            quarantine.append(Quarantined(path.name, row, f"row does not fit the header: {counts}"))
        else:
            rows.append((row, {headings[at]: cells[at] for at in kept}))
    return Table(path, [headings[at] for at in kept], rows, quarantine, digest)


def _csv(path: Path, delimiter: str) -> Iterator[list[str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        start = file.tell()
        named = re.fullmatch(r'"?sep=([,;\t|])"?\s*', file.readline(64))  # how a spreadsheet names its separator
        if named is None:
            file.seek(start)
        reader = csv.reader(
            _lines(file), strict=True, delimiter=named[1] if named else delimiter
        )  # strict: quotes are closed
        try:
            yield from reader
        except csv.Error as error:
            raise ValueError(f"line {reader.line_num}: {error}") from error


def _lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(MAXIMUM_LINE):
        if len(line) == MAXIMUM_LINE:
            raise ValueError(f"a line has more than {MAXIMUM_LINE} signs")
        yield line


def _parquet(path: Path) -> list[list[str]]:
    frame = read_parquet(path)
    if any(frame.index.names):  # a column that was made the index
        frame = frame.reset_index()
    columns = [_text(str(name), column) for name, column in frame.items()]
    return [[str(name) for name in frame.columns], *map(list, zip(*columns, strict=True))]


def _text(name: str, column: "pd.Series[Any]") -> list[str]:
    try:
        column = column.convert_dtypes()  # a whole number beside a gap is no 2.0
        return column.astype("string").fillna("").tolist()
    except Exception as error:  # bytes, or whatever else may be in a cell
        raise ValueError(f"column {name!r} holds what is no text: {type(error).__name__}") from error
