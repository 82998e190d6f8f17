"""Lists the images of a plain table, CSV or Parquet: how users bring their own data.

Columns: `image` (a file below the table's folder, its path relative to it), `patient` and `label` (benign | malignant,
or 0 | 1) are needed. `split` (train | val | test), the box of the lesion (`left`, `top`, `right`, `bottom`, in pixels),
`lesion` and the fields of CBIS-DDSM are read where they are there. Every other column is an attribute, kept as text.
"""

import os
from pathlib import Path

from fedmammo.cohort.lesions import Lesion
from fedmammo.cohort.patch import Box
from fedmammo.cohort.quarantine import Quarantined, Row, Unusable
from fedmammo.cohort.readers.fields import FIELDS, Parser, name, optional, parse, patient, whole_number
from fedmammo.cohort.readers.listing import COLUMNS, NO_SPLIT, Listing, as_plan
from fedmammo.cohort.readers.places import below
from fedmammo.cohort.readers.tables import read_table
from fedmammo.cohort.store import MANIFEST_COLUMNS, PATIENT_COLUMNS, SPLITS
from fedmammo.errors import InputError

_LABELS = {"benign": False, "malignant": True}
_BOX = Box._fields
_BOX_LIKE = {"x", "y", "w", "h", "xmin", "ymin", "xmax", "ymax", "x1", "y1", "x2", "y2", "bbox", "boundingbox"}


def _label(text: str) -> bool:
    if text.lower() in _LABELS:
        return _LABELS[text.lower()]
    try:
        return bool(whole_number(0, 1)(text))
    except Unusable:
        raise Unusable(f"{text!r} is none of benign, malignant, 0, 1") from None


def _split(text: str) -> str:
    if text.lower() not in SPLITS:
        raise Unusable(f"{text!r} is none of {', '.join(SPLITS)}")
    return text.lower()


_NEEDED: dict[str, Parser] = {"image": name, "patient": patient, "label": _label}
_KNOWN: dict[str, Parser] = {
    **{field: optional(parser) for field, parser in FIELDS.items()},
    "lesion": optional(str),
    "split": _split,
    **dict.fromkeys(_BOX, optional(whole_number(0, 10**6))),
    **_NEEDED,
}
_TAKEN = {*MANIFEST_COLUMNS, *PATIENT_COLUMNS, *COLUMNS} - set(_KNOWN)


def list_plain_table(path: Path) -> Listing:
    """List the images of the table at `path`.

    Raises:
        InputError: it is no table, lacks a column, or has a column whose name the manifest needs.
    """
    table = read_table(path)
    for wanted in _NEEDED:
        if wanted not in table.headings:
            raise InputError(f"{path}: column {wanted!r} is missing; expected image, patient and label")
    has_box = {side for side in _BOX if side in table.headings}
    if has_box and len(has_box) < len(_BOX):
        raise InputError(f"{path}: expected all four columns of the box, {', '.join(_BOX)}, or none")
    for heading in table.headings:
        if heading not in _KNOWN and heading.lower() in _KNOWN:
            raise InputError(f"{path}: column {heading!r} differs from {heading.lower()!r} in case alone; rename it")
        if heading.lower().replace("_", "") in _BOX_LIKE and not has_box:
            raise InputError(
                f"{path}: column {heading!r} looks like a part of a box; call them {', '.join(_BOX)}, in pixels, right "
                "and bottom being the first outside, or rename it"
            )
        if heading in _TAKEN:
            raise InputError(f"{path}: column {heading!r} has a name that fedmammo needs; rename it")
    attributes = [heading for heading in table.headings if heading not in _KNOWN]
    parsers = {heading: (heading, _KNOWN.get(heading, optional(str))) for heading in table.headings}
    planned: list[Row] = []
    quarantine = list(table.quarantine)
    holders: dict[str, tuple[str, int]] = {}
    for number, cells in table.rows:
        try:
            row = _plan(path.parent, parse(parsers, cells))
            holder, first = holders.setdefault(os.path.realpath(row["work"].file), (row["patient"], number))
            if holder != row["patient"]:  # they might be in different splits
                raise Unusable(f"image is another patient's: that of row {first}")
        except Unusable as reason:
            quarantine.append(Quarantined(path.name, number, str(reason)))
        else:
            planned.append({**row, "listed_in": path.name, "listed_row": number})
    plan, rows, remarks = as_plan(planned, attributes), {path.name: table.count}, []
    if "split" not in table.headings:
        remarks.append(NO_SPLIT)
    return Listing("table", plan, rows, quarantine, [table], attributes, remarks=remarks)


def _plan(folder: Path, row: Row) -> Row:
    """Plan one image: its name is its path, and the box where it has one."""
    path, malignant = below(folder, row["image"]), row["label"]
    file = path.relative_to(folder).as_posix()
    pathology = row.get("pathology") or ("MALIGNANT" if malignant else "BENIGN")
    if (pathology == "MALIGNANT") != malignant:
        raise Unusable("label and pathology disagree")
    sides = [row.get(side) for side in _BOX]
    if None in sides and sides != [None] * len(_BOX):
        raise Unusable(f"box is incomplete: {', '.join(_BOX)} are all given or all empty")
    box = None if None in sides else Box(*sides)
    return row | {
        "image": file if box is None else f"{file}@{','.join(map(str, box))}",
        "pathology": pathology,
        "malignant": malignant,
        "split": row.get("split", "train"),
        "source": file,
        "work": Lesion(path, box=box),
    }
