"""From the rows of a public data set's table to lesions."""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from fedmammo.cohort.lesions import Lesion
from fedmammo.cohort.patch import Box
from fedmammo.cohort.quarantine import Quarantined, Row, Unusable
from fedmammo.cohort.readers.fields import Parser, Value, parse
from fedmammo.cohort.readers.tables import Table
from fedmammo.errors import InputError

Columns = dict[str, tuple[str, Parser]]
"""Field → (heading, parser)."""


class Walked(NamedTuple):
    """What became of the rows of a table.

    Attributes:
        planned: one row per lesion.
        quarantine: the rows that list none that can be used.
    """

    planned: list[Row]
    quarantine: list[Quarantined]

    @property
    def listed(self) -> int:
        """How many they are together: a row that lists several lesions counts once for each."""
        return len(self.planned) + len(self.quarantine)


def find_columns(table: Table, wanted: Columns, may_be_missing: Iterable[str] = ()) -> Columns:
    """Find the columns by their headings, in any case and order.

    Raises:
        InputError: one is missing; fields of `may_be_missing` are then left out.
    """
    headings = {heading.lower(): heading for heading in table.headings}
    found: Columns = {}
    for field, (heading, parser) in wanted.items():
        if heading.lower() in headings:
            found[field] = headings[heading.lower()], parser
        elif field not in may_be_missing:
            raise InputError(f"{table.path}: column {heading!r} is missing; use the file as it is published")
    return found


def parsed(table: Table, columns: Columns) -> tuple[list[tuple[int, Row]], list[Quarantined]]:
    """Read each row that can be read, with its number, and quarantine the others."""
    rows: list[tuple[int, Row]] = []
    quarantine = list(table.quarantine)
    for number, cells in table.rows:
        try:
            rows.append((number, parse(columns, cells)))
        except Unusable as reason:
            quarantine.append(Quarantined(table.path.name, number, str(reason)))
    return rows, quarantine


def walk(table: Table, columns: Columns, describe: Callable[[Row], list[Row]]) -> Walked:
    """Read each row and describe the lesions that it lists, at least one; what raises Unusable is quarantined."""
    rows, quarantine = parsed(table, columns)
    walked = Walked([], quarantine)
    holders: dict[Path, str] = {}
    for number, row in rows:
        try:
            lesions = describe(row)
            for lesion in lesions:
                if holders.setdefault(lesion["work"].file, lesion["patient"]) != lesion["patient"]:
                    raise Unusable(f"image is another patient's too: {lesion['source']}")
        except Unusable as reason:
            walked.quarantine.append(Quarantined(table.path.name, number, str(reason)))
        else:
            listed: Row = {"listed_in": table.path.name, "listed_row": number}
            walked.planned.extend(lesion | listed for lesion in lesions)
    return walked


def lesion_row(place: str, file: Path, malignant: bool, box: Box | None = None, **fields: Value) -> Row:
    """One lesion: its name is the path of its image, and the box where it has one."""
    row: Row = {
        "image": place if box is None else f"{place}@{','.join(map(str, box))}",
        "source": place,
        "work": Lesion(file, box=box),
        "malignant": malignant,
        "pathology": "MALIGNANT" if malignant else "BENIGN",
        "split": "train",
    }
    return row | dict(fields)


def box_around(xs: Sequence[float], ys: Sequence[float]) -> Box:
    """The box around the points of an outline; the pixels that they are in belong to it.

    Raises:
        Unusable: they are fewer than three, not as many across as down, or not finite.
    """
    if len(xs) != len(ys) or len(xs) < 3:
        raise Unusable(f"no outline: {len(xs)} x and {len(ys)} y")
    if not all(map(math.isfinite, (*xs, *ys))):
        raise Unusable("no outline: a point is not finite")
    return Box(*(math.floor(min(axis)) for axis in (xs, ys)), *(math.floor(max(axis)) + 1 for axis in (xs, ys)))
