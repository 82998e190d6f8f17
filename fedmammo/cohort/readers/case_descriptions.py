"""Reads the case descriptions of CBIS-DDSM, as TCIA distributes them, into one table with one row per
lesion and view.

Lee et al. 2017, Scientific Data 4:170177, "Data Records". The four files differ in a column's spelling, carry CRLF
line ends, and end one of their path columns with a quoted newline. Older revisions have other orders and no paths.
"""

from dataclasses import dataclass, field
from pathlib import Path

from fedmammo.cohort.quarantine import Quarantined, Row, Unusable
from fedmammo.cohort.readers.fields import FIELDS, Parser, parse
from fedmammo.cohort.readers.tables import Table, read_table
from fedmammo.disk.stray import is_stray
from fedmammo.errors import InputError

TABLES = {
    f"{lesion}_case_description_{split}_set.csv": (name, split)
    for lesion, name in (("mass", "mass"), ("calc", "calcification"))
    for split in ("train", "test")
}
"""File name → (lesion, split)."""

_BOTH = {
    "patient": "patient_id",
    "abnormality": "abnormality id",
    "pathology": "pathology",
    "side": "left or right breast",
    "view": "image view",
    "density": "breast_density",
    "assessment": "assessment",
    "subtlety": "subtlety",
}
_OWN = {
    "mass": {"shape": "mass shape", "margins": "mass margins"},
    "calcification": {"calcification_type": "calc type", "calcification_distribution": "calc distribution"},
}
_PATHS = {
    "image_path": "image file path",
    "crop_path": "cropped image file path",
    "mask_path": "ROI mask file path",
}


@dataclass(frozen=True)
class CaseDescriptions:
    """All case descriptions of a folder.

    Attributes:
        rows: one dictionary per row that can be read: the fields of a lesion (`fields.FIELDS`; None where empty),
            `lesion` ('mass' | 'calcification'), `malignant`, `split` ('train' | 'test'), `image_path`, `crop_path`,
            `mask_path` (as the file says, stripped; '' where it has none), `listed_in` (file name) and `listed_row`.
        quarantine: rows that cannot be read.
        tables: the files.
        remarks: what looks like one, and was not read.
    """

    rows: list[Row]
    quarantine: list[Quarantined]
    tables: list[Table]
    remarks: list[str] = field(default_factory=list)


def descriptions_of(source: Path, csv: Path | None) -> CaseDescriptions:
    """Read the case descriptions in `csv`, or else those in `source` or its folder `csv`; raises as reading does."""
    folders = [source, source / "csv"] if csv is None else [csv]
    found = (folder for folder in folders if any((folder / name).is_file() for name in TABLES))
    return read_case_descriptions(next(found, folders[0]))


def read_case_descriptions(folder: Path) -> CaseDescriptions:
    """Read every case description in `folder`.

    Raises:
        InputError: no case description is there, one is not a CSV, or one lacks a column.
    """
    paths = [folder / name for name in TABLES if (folder / name).is_file()]
    if not paths:
        raise InputError(
            f"{folder}: expected case descriptions ({', '.join(TABLES)}); name their folder with --csv DIR"
        )
    found = CaseDescriptions([], [], [read_table(path) for path in paths])
    for table in found.tables:
        _read(table, found)
    for path in sorted(folder.iterdir()):
        if "case_description" in path.name and path.name not in TABLES and not is_stray(path) and path.is_file():
            found.remarks.append(f"{path.name} was not read: its name is none of {', '.join(TABLES)}. Rename it.")
    return found


def _read(table: Table, found: CaseDescriptions) -> None:
    lesion, split = TABLES[table.path.name]
    parsers = _parsers(table, lesion)
    found.quarantine.extend(table.quarantine)
    for number, cells in table.rows:
        try:
            row = parse(parsers, cells)
        except Unusable as reason:
            found.quarantine.append(Quarantined(table.path.name, number, str(reason)))
            continue
        row |= {"lesion": lesion, "malignant": row["pathology"] == "MALIGNANT", "split": split}
        row |= {"listed_in": table.path.name, "listed_row": number}
        found.rows.append({**dict.fromkeys(FIELDS), **dict.fromkeys(_PATHS, ""), **row})


def _parsers(table: Table, lesion: str) -> dict[str, tuple[str, Parser]]:
    """Find the columns by name, whatever their order: field → (heading, parser)."""
    headings = {heading.lower().replace("_", " "): heading for heading in table.headings}
    wanted = {**_BOTH, **_OWN[lesion], **_PATHS}
    present = {field: headings.get(name.lower().replace("_", " ")) for field, name in wanted.items()}
    missing = [wanted[field] for field, heading in present.items() if heading is None and field not in _PATHS]
    if missing:
        raise InputError(f"{table.path}: column {missing[0]!r} is missing; use the file as TCIA distributes it")
    return {field: (heading, FIELDS.get(field, str)) for field, heading in present.items() if heading is not None}
