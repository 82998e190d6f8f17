"""Lists VinDr-Mammo as PhysioNet distributes it: findings with boxes, categories and BI-RADS, and no pathology.

images/<study_id>/<image_id>.dicom and finding_annotations.csv, one row per finding, or per image without one. Boxes are
floats in pixels. The publication has one exam of each patient, so a study is a patient.
"""

import math
from pathlib import Path

from fedmammo.cohort.options import Options
from fedmammo.cohort.patch import Box
from fedmammo.cohort.quarantine import Row, Unusable
from fedmammo.cohort.readers.birads import REMARK, assessment, birads, is_malignant
from fedmammo.cohort.readers.fields import FIELDS, gap, name, number, side, whole_number, word
from fedmammo.cohort.readers.lesion_rows import Columns, find_columns, lesion_row, walk
from fedmammo.cohort.readers.listing import Listing, Origin, as_plan
from fedmammo.cohort.readers.places import below
from fedmammo.cohort.readers.tables import read_table

ORIGIN = Origin(
    "PhysioNet Restricted Health Data License 1.5.0",
    "Nguyen HT, Nguyen HQ, Pham HH, Lam K, Le LT, Dao M, Vu V (2023): VinDr-Mammo: A large-scale benchmark dataset for "
    "computer-aided diagnosis in full-field digital mammography. Scientific Data 10:277. "
    "doi:10.1038/s41597-023-02100-7. PhysioNet, version 1.0.0, doi:10.13026/br2v-7517.",
)
_TABLE = "finding_annotations.csv"
_BOX = ("xmin", "ymin", "xmax", "ymax")
_LESIONS = {"suspicious calcification": "calcification"}
"""Categories that the manifest calls otherwise."""
_SIDE_OF_A_FILM = whole_number(1, 10**5)


def _density(text: str) -> int:
    return "ABCD".index(word("A", "B", "C", "D")(text.upper().removeprefix("DENSITY").strip())) + 1


def _split(text: str) -> str:
    return {"TRAINING": "train", "TEST": "test"}[word("TRAINING", "TEST")(text)]


def _categories(text: str) -> list[str]:
    """Read a list as Python writes it."""
    return [part.strip(" '\"").lower() for part in text.strip("[]").split(",")]


_COLUMNS: Columns = {
    "patient": ("study_id", name),
    "image": ("image_id", name),
    "side": ("laterality", side),
    "view": ("view_position", FIELDS["view"]),
    "height": ("height", _SIDE_OF_A_FILM),
    "width": ("width", _SIDE_OF_A_FILM),
    "density": ("breast_density", gap(_density)),
    "categories": ("finding_categories", str),
    "birads": ("finding_birads", gap(birads)),
    "split": ("split", _split),
    **{edge: (edge, gap(number)) for edge in _BOX},
}


def recognises_vindr(source: Path) -> bool:
    """Whether `source` is VinDr-Mammo."""
    return (source / _TABLE).is_file()


def list_vindr(source: Path, options: Options) -> Listing:
    """List every finding; raises InputError where the table cannot be read or lacks a column."""
    table = read_table(source / _TABLE)
    walked = walk(table, find_columns(table, _COLUMNS), lambda row: [_lesion(source, row)])
    return Listing(
        "VinDr-Mammo folder",
        as_plan(walked.planned),
        {_TABLE: walked.listed},
        walked.quarantine,
        [table],
        remarks=[REMARK, "VinDr-Mammo names exams, not patients: each exam counts as a patient."],
        origin=ORIGIN,
    )


def _lesion(source: Path, row: Row) -> Row:
    categories = _categories(row["categories"])
    if categories == ["no finding"]:
        raise Unusable("no lesion: No Finding")
    edges = [row[edge] for edge in _BOX]
    if None in edges:
        raise Unusable(f"box is incomplete: {', '.join(_BOX)} of a finding are all given")
    malignant = is_malignant(row["birads"])
    place = f"images/{row['patient']}/{row['image']}.dicom"
    return lesion_row(
        place,
        below(source, place),
        malignant,
        _box(edges, row["width"], row["height"]),
        **{field: row[field] for field in ("patient", "side", "view", "density")},
        lesion=", ".join(_LESIONS.get(category, category) for category in categories),
        assessment=assessment(row["birads"]),
    ) | {"split": row["split"]}


def _box(edges: list[float], width: int, height: int) -> Box:
    """The pixels that a box touches, without what it has outside the image."""
    left, top, right, bottom = edges
    return Box(
        max(math.floor(left), 0), max(math.floor(top), 0), min(math.ceil(right), width), min(math.ceil(bottom), height)
    )
