"""Reads the case descriptions of CBIS-DDSM, as TCIA distributes them, into one table with one row per
lesion and view.

Lee et al. 2017, Scientific Data 4:170177, "Data Records". The four files differ in a column's spelling, carry CRLF
line ends, and end one of their path columns with a quoted newline.
"""

import csv
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from fedmammo.cohort.quarantine import Quarantined, Row, Unusable
from fedmammo.errors import InputError

TABLES = {
    f"{lesion}_case_description_{split}_set.csv": (name, split)
    for lesion, name in (("mass", "mass"), ("calc", "calcification"))
    for split in ("train", "test")
}
"""File name → (lesion, split)."""


def _word(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.upper() not in allowed:
            raise Unusable(f"{text!r} is none of {', '.join(allowed)}")
        return text.upper()

    return parse


def _number(low: int, high: int, optional: bool = True) -> Callable[[str], int | None]:
    def parse(text: str) -> int | None:
        if not text and optional:
            return None
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            raise Unusable(f"{text!r} is no whole number from {low} to {high}")
        return int(text)

    return parse


def _density(text: str) -> int | None:
    return _number(0, 4)(text) or None  # 0 stands for "not recorded"


def _patient(text: str) -> str:
    if not text:
        raise Unusable("'' is no patient")
    return text


def _text(text: str) -> str | None:
    return text or None


_COLUMNS: dict[str, tuple[str, Callable[[str], str | int | None]]] = {
    "patient": ("patient_id", _patient),
    "abnormality": ("abnormality id", _number(1, 99, optional=False)),
    "pathology": ("pathology", _word("BENIGN", "BENIGN_WITHOUT_CALLBACK", "MALIGNANT")),
    "side": ("left or right breast", _word("LEFT", "RIGHT")),
    "view": ("image view", _word("CC", "MLO")),
    "density": ("breast_density", _density),
    "assessment": ("assessment", _number(0, 5)),
    "subtlety": ("subtlety", _number(0, 5)),
    "shape": ("mass shape", _text),
    "margins": ("mass margins", _text),
    "image_path": ("image file path", str),
    "crop_path": ("cropped image file path", str),
    "mask_path": ("ROI mask file path", str),
}
"""Our name → (the file's name, parser of one stripped cell)."""
_MASSES_ONLY = ("shape", "margins")
_NUMBERS = ("abnormality", "density", "assessment", "subtlety")


def read_case_descriptions(folder: Path) -> tuple[pd.DataFrame, list[Quarantined]]:
    """Read every case description in `folder`.

    Returns:
        A table with columns `patient, lesion, abnormality, pathology, malignant, side, view, density (1-4),
        assessment, subtlety, shape, margins (masses only), split ('train' | 'test'), image_path, crop_path,
        mask_path` (as the file says), `table` (file name) and `table_row` (spreadsheet row); and the rows that
        could not be read.

    Raises:
        InputError: no case description is there, one is not a CSV, or one lacks a column.
    """
    names = [name for name in TABLES if (folder / name).is_file()]
    if not names:
        raise InputError(
            f"{folder}: expected case descriptions ({', '.join(TABLES)}); name their folder with --csv DIR"
        )
    rows: list[Row] = []
    quarantine: list[Quarantined] = []
    for name in names:
        _read_table(folder / name, rows, quarantine)
    columns = ["lesion", *_COLUMNS, "malignant", "split", "table", "table_row"]
    table = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(_NUMBERS, "Int64"))
    return table.astype(dict.fromkeys(_MASSES_ONLY, "string")), quarantine


def _read_table(path: Path, rows: list[Row], quarantine: list[Quarantined]) -> None:
    lesion, split = TABLES[path.name]
    columns = {ours: column for ours, column in _COLUMNS.items() if lesion == "mass" or ours not in _MASSES_ONLY}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *lines = csv.reader(file)
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise InputError(f"{path}: expected a CSV with a header ({error}); fetch it anew from TCIA") from error
    header = [cell.strip().replace("breast density", "breast_density") for cell in header]
    missing = [theirs for theirs, _ in columns.values() if theirs not in header]
    if missing:
        raise InputError(f"{path}: column {missing[0]!r} is missing; use the file as TCIA distributes it now")
    for number, cells in enumerate(lines, start=2):
        if not any(cells):
            continue
        try:
            row = _parse(columns, dict(zip(header, cells, strict=True)))
        except Unusable as reason:
            quarantine.append(Quarantined(path.name, number, str(reason)))
        except ValueError:
            counts = f"{len(cells)} cells under {len(header)} headings"
            quarantine.append(Quarantined(path.name, number, f"row does not fit the header: {counts}"))
        else:
            malignant = row["pathology"] == "MALIGNANT"
            rows.append(
                {**row, "lesion": lesion, "malignant": malignant, "split": split}
                | {"table": path.name, "table_row": number}
            )


def _parse(columns: dict[str, tuple[str, Callable[[str], str | int | None]]], cells: dict[str, str]) -> Row:
    row: Row = {}
    for ours, (theirs, parse) in columns.items():
        try:
            row[ours] = parse(cells[theirs].strip())
        except Unusable as reason:
            raise Unusable(f"unreadable {theirs}: {reason}") from reason
    return row
