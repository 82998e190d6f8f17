"""Reads the first sheet of an Excel workbook as text; needs the extra fedmammo[excel]."""

import datetime
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from fedmammo.errors import InputError

MAXIMUM_BYTES = 2**28
"""Of a workbook once it is unpacked; the tables of public data sets have less than one MiB."""
MAXIMUM_CELLS = 2 * 10**6
"""Of a sheet: one that names its last column has as many in every row as there are columns."""

_FEWEST = 4
"""Cells that a row counts for: a sheet that names its last row has a million before it."""


class _TooManyError(ValueError):
    """A sheet has more cells than are read."""


def read_excel(path: Path) -> list[list[str]]:
    """Read the rows of the first sheet, each as long as the header; whole numbers have no point.

    Raises:
        InputError: openpyxl is not installed.
        OSError, ValueError: it is no workbook, or one larger than `MAXIMUM_BYTES` or `MAXIMUM_CELLS`.
    """
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise InputError(f"{path}: install the extra fedmammo[excel] to read it, or save the table as .csv") from error
    try:
        with ZipFile(path) as archive:
            size = sum(part.file_size for part in archive.infolist())
    except BadZipFile as error:
        raise ValueError("no workbook") from error
    if size > MAXIMUM_BYTES:
        raise ValueError(f"more than {MAXIMUM_BYTES >> 20} MiB once it is unpacked")
    try:
        workbook = load_workbook(path, read_only=True, data_only=True)
        try:
            sheet = workbook.worksheets[0]
            sheet.reset_dimensions()  # which other programs write wrongly
            rows, cells = [], 0
            for row in sheet.iter_rows(values_only=True):
                rows.append([_text(value) for value in row])
                cells += max(len(row), _FEWEST)
                if cells > MAXIMUM_CELLS:
                    raise _TooManyError(f"more than {MAXIMUM_CELLS} cells")
        finally:
            workbook.close()
    except _TooManyError:
        raise
    except Exception as error:  # a damaged workbook makes openpyxl raise almost anything
        raise ValueError(f"no workbook: {type(error).__name__}") from error
    return _even(rows)


def _even(rows: list[list[str]]) -> list[list[str]]:
    """Make all rows as long as the header: empty cells at the end are stored or not, as it happens."""
    filled = [row[: 1 + max((at for at, cell in enumerate(row) if cell), default=-1)] for row in rows]
    while filled and not filled[-1]:
        filled.pop()
    width = len(filled[0]) if filled else 0
    return [row + [""] * (width - len(row)) for row in filled]


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else str(value)
