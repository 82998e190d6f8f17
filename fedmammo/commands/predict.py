"""Scores images with a model that somebody was given."""

from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pandas as pd

from fedmammo.cohort.lesions import Lesion, read_lesions
from fedmammo.cohort.patch import Box
from fedmammo.cohort.quarantine import Row, Unusable
from fedmammo.cohort.readers.fields import Parser, name, optional, parse, whole_number
from fedmammo.cohort.readers.places import below, printable
from fedmammo.cohort.readers.tables import read_table
from fedmammo.disk.stray import files_below
from fedmammo.errors import InputError
from fedmammo.evaluation.units import Grouping
from fedmammo.models.package import Package

SUFFIXES = (".dcm", ".dicom", ".png", ".jpg", ".jpeg", ".tif", ".tiff", "")
BOX = Box._fields
COLUMNS = ("image", *BOX, "lesion", "score", "lesion_score", "above_balanced", "above_specific", "note")
_FIELDS: dict[str, Parser] = {
    "image": name,
    **dict.fromkeys(BOX, optional(whole_number(0, 10**6))),
    "lesion": optional(name),
}


def predict(model: Path, images: Path, boxes: Path | None, report: Callable[[int, int], None]) -> pd.DataFrame:
    """Score the images of a folder, a row each, in the order of the table of boxes, or of their names.

    Args:
        model: folder that `export` made.
        images: folder of DICOM files or pictures.
        boxes: table (CSV, Parquet, Excel) with `image`, a path below the folder, and `left`, `top`, `right`, `bottom`
            in pixels, right and bottom being the first outside; with `lesion` the images of one are averaged. Without
            a table, or where a box is empty, the whole image is the patch.
        report: is told how many rows of how many are done.

    Returns:
        COLUMNS: `score` is the probability of malignancy, empty where `note` says why there is none; `lesion_score`
        the mean over a lesion's images; `above_...` compare that with the model's cuts, 1 or 0.

    Raises:
        InputError: where there is no model, no image, or a table that cannot be read.
    """
    package = Package.open(model)
    if not images.is_dir():
        raise InputError(f"{images}: is no folder; name one of DICOM files or pictures")
    rows = _listed(images, boxes) if boxes is not None else _found(images)
    if not rows:
        raise InputError(f"{boxes or images}: lists no image; expected DICOM files, PNG, JPEG or TIFF")
    done = 0
    for _, some in groupby(sorted(filter(_readable, rows), key=_file), key=_file):
        of_file = list(some)
        outcomes = read_lesions([row["work"] for row in of_file], package.about.size, package.about.margin)
        for row, outcome in zip(of_file, outcomes, strict=True):
            row["note"] = outcome.text or ""
            if outcome.patch is not None:
                row["score"] = package.score(outcome.patch)
        done += len(of_file)
        report(done, len(rows))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table["score"] = table["score"].astype(float)
    own = pd.Series([f"row {at}" for at in table.index], index=table.index)  # an image of no lesion is one of its own
    known = table["score"].notna()
    grouping = Grouping.of(table["lesion"].fillna(own)[known].to_numpy())
    scores = grouping.mean(table["score"][known].to_numpy(), package.about.pooling)
    table["lesion_score"] = pd.Series(scores[grouping.of_image], index=table.index[known], dtype=float)
    for cut in ("balanced", "specific"):
        threshold = getattr(package.about, cut)
        above = (table["lesion_score"] > threshold) if threshold is not None else pd.Series(pd.NA, index=table.index)
        table[f"above_{cut}"] = above.astype("Int64").where(table["lesion_score"].notna())
    return table.astype(dict.fromkeys(BOX, "Int64"))


def _readable(row: Row) -> bool:
    return "work" in row


def _file(row: Row) -> str:
    return str(row["work"].file)


def _found(folder: Path) -> list[Row]:
    """List the images in a folder and those below it, by name."""
    files = [path for path in files_below(folder) if path.suffix.lower() in SUFFIXES]
    return [{"image": printable(path, folder), "work": Lesion(path)} for path in files]


def _listed(folder: Path, boxes: Path) -> list[Row]:
    """List the rows of a table; one that cannot be read stays, and says why."""
    table = read_table(boxes)
    columns = {heading.strip().lower(): heading for heading in table.headings}
    if "image" not in columns:
        raise InputError(f"{boxes}: column 'image' is missing; expected image, {', '.join(BOX)}")
    sides = [side for side in BOX if side in columns]
    if sides and len(sides) < len(BOX):
        raise InputError(f"{boxes}: expected all four columns of the box, {', '.join(BOX)}, or none")
    parsers = {field: (columns[field], parser) for field, parser in _FIELDS.items() if field in columns}
    rows: dict[int | None, Row] = {
        one.row: {"image": "", "note": f"row {one.row}: {one.reason}"} for one in table.quarantine
    }
    for number, cells in table.rows:
        row: Row = {"image": cells[columns["image"]]}
        try:
            row |= parse(parsers, cells)
            given = [row.get(side) for side in BOX]
            if None in given and given != [None] * len(BOX):
                raise Unusable(f"box is incomplete: {', '.join(BOX)} are all given or all empty")
            row["work"] = Lesion(below(folder, row["image"]), box=None if None in given else Box(*given))
        except Unusable as reason:
            row["note"] = f"row {number}: {reason}"
        rows[number] = row
    return [row for _, row in sorted(rows.items())]
