"""Reads a table, CSV, Parquet or Excel, as text; every row counts, also those that do not fit."""

import csv
import hashlib
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from fedmammo.cohort.quarantine import Quarantined
from fedmammo.cohort.readers.excel import read_excel
from fedmammo.errors import InputError


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
        _check(path, headings, delimiter)
        return _read(path, headings, lines, digest, only)
    except (OSError, ValueError, pa.ArrowException) as error:  # undecodable text is a ValueError
        raise InputError(
            f"{path}: expected a CSV or Parquet table with a header ({error}); save it anew, a CSV as UTF-8"
        ) from error


def _check(path: Path, headings: list[str], delimiter: str) -> None:
    twice = sorted({heading for heading in headings if headings.count(heading) > 1})
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
        reader = csv.reader(file, strict=True, delimiter=named[1] if named else delimiter)  # strict: quotes are closed
        try:
            yield from reader
        except csv.Error as error:
            raise ValueError(f"line {reader.line_num}: {error}") from error


def _parquet(path: Path) -> list[list[str]]:
    frame = pd.read_parquet(path)
    if any(frame.index.names):  # a column that was made the index
        frame = frame.reset_index()
    frame = frame.convert_dtypes()  # a whole number beside a gap is no 2.0
    text = frame.astype("string").fillna("")
    return [[str(column) for column in frame.columns], *text.to_numpy(dtype=object).tolist()]
