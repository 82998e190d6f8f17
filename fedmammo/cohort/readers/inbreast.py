"""Lists the lesions of INbreast, release 1.0: outlines drawn in OsiriX, and BI-RADS of each image.

INbreast.csv (semicolons), AllDICOMs/<file name>_<patient>_MG_<L|R>_<CC|ML>_ANON.dcm and AllXML/<file name>.xml, a
property list. The patient's number is in the name of the image alone, and as far as is
known the same in all exams of a patient. File names say ML for the oblique view, which the
publication calls MLO: both are read as MLO. Points are (x, y) in pixels, as far as is known from the top left.

A region with three points or more is a lesion; single points (calcifications) and the pectoral muscle are not.
"""

import plistlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

from fedmammo.cohort.options import Options
from fedmammo.cohort.quarantine import Quarantined, Row, Unusable
from fedmammo.cohort.readers.birads import REMARK, assessment, birads, is_malignant
from fedmammo.cohort.readers.fields import FIELDS, gap, name
from fedmammo.cohort.readers.lesion_rows import Columns, box_around, find_columns, lesion_row, walk
from fedmammo.cohort.readers.listing import NO_SPLIT, Listing, Origin, as_plan
from fedmammo.cohort.readers.places import below, printable
from fedmammo.cohort.readers.tables import read_table
from fedmammo.disk.stray import is_stray

ORIGIN = Origin(
    "not published; research, by agreement with its authors",
    "Moreira IC, Amaral I, Domingues I, Cardoso A, Cardoso MJ, Cardoso JS (2012): INbreast: Toward a full-field "
    "digital mammographic database. Academic Radiology 19(2):236-248. doi:10.1016/j.acra.2011.09.014",
)
POINTS = (
    "INbreast assesses images: all lesions of an image have its label. Single points, which mark calcifications, are "
    "no lesions: they have no box."
)
MAXIMUM_BYTES = 2**25
"""Of a file of outlines; the largest of INbreast have a few MiB."""
_TABLE, _IMAGES, _OUTLINES = "INbreast.csv", "AllDICOMs", "AllXML"
_UNLISTED = "images that no row lists"
_NAME = re.compile(r"([^_]+)_([^_]+)_MG_([LR])_(CC|MLO?)_ANON\.dcm", re.IGNORECASE)
_LESIONS = {
    **dict.fromkeys(("calcification", "calcifications", "cluster"), "calcification"),
    **dict.fromkeys(("assymetry", "asimmetry"), "asymmetry"),
    **dict.fromkeys(("", "unnamed"), None),
    "espiculated region": "spiculated region",
}
"""Names of regions, as they are spelt, and what the manifest calls them; other names stay as they are."""
_COLUMNS: Columns = {
    "image": ("File Name", name),
    "density": ("ACR", gap(FIELDS["density"])),
    "birads": ("Bi-Rads", gap(birads)),
}


def recognises_inbreast(source: Path) -> bool:
    """Whether `source` is INbreast."""
    return (source / _TABLE).is_file() and (source / _IMAGES).is_dir()


def list_inbreast(source: Path, options: Options) -> Listing:
    """List every lesion; raises InputError where the table cannot be read or lacks a column."""
    table = read_table(source / _TABLE, delimiter=";")
    paths = [path for path in sorted((source / _IMAGES).glob("*.dcm")) if not is_stray(path)]
    paths.sort(key=lambda path: _NAME.fullmatch(path.name) is not None)  # of two files of an image the last is taken
    files = {_image(path): path for path in paths}

    def describe(row: Row) -> list[Row]:
        if row["image"] not in files:
            raise Unusable(f"image is missing: {_IMAGES}/{row['image']}_*.dcm")
        return _lesions(source, files[row["image"]], row)

    columns = find_columns(table, _COLUMNS)
    walked = walk(table, columns, describe)
    listed = {cells[columns["image"][0]].strip() for _, cells in table.rows}
    faults = {path: f"image has no row: {_TABLE} does not know it" for path in paths if _image(path) not in listed}
    twice = [path for path in paths if files[_image(path)] != path]
    faults |= {path: f"image is there twice: {files[_image(path)].name}" for path in twice}
    unlisted = [Quarantined(printable(path, source), None, reason) for path, reason in sorted(faults.items())]
    return Listing(
        "INbreast folder",
        as_plan(walked.planned),
        ({_UNLISTED: len(unlisted)} if unlisted else {}) | {_TABLE: walked.listed},
        [*walked.quarantine, *unlisted],
        [table],
        remarks=[REMARK, POINTS, NO_SPLIT],
        origin=ORIGIN,
    )


def _image(path: Path) -> str:
    """What the table calls an image."""
    return path.name.partition("_")[0]


def _lesions(source: Path, file: Path, row: Row) -> list[Row]:
    found = _NAME.fullmatch(file.name)
    if found is None:
        raise Unusable(f"name does not parse: expected {_IMAGES}/<file name>_<patient>_MG_<L|R>_<CC|ML>_ANON.dcm")
    malignant = is_malignant(row["birads"])
    outlines = below(source, f"{_OUTLINES}/{row['image']}.xml")
    if not outlines.is_file():
        raise Unusable("no lesion: the image has no outlines")
    lesions = [
        lesion_row(
            printable(file, source),
            file,
            malignant,
            box_around(*zip(*points, strict=True)),
            patient=found[2],
            side={"L": "LEFT", "R": "RIGHT"}[found[3].upper()],
            view="CC" if found[4].upper() == "CC" else "MLO",
            density=row["density"],
            assessment=assessment(row["birads"]),
            lesion=_LESIONS.get(region, region),
        )
        for region, points in _regions(outlines)
        if len(points) >= 3 and "pectoral" not in region
    ]
    if not lesions:
        raise Unusable("no lesion: no region has an area")
    return lesions


def _regions(path: Path) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """The regions of a file of outlines: names in lower case, and points."""
    try:
        if path.stat().st_size > MAXIMUM_BYTES:
            raise Unusable(f"file of outlines is larger than {MAXIMUM_BYTES >> 20} MiB: {path.name}")
        with path.open("rb") as file:
            images: Any = plistlib.load(file, fmt=plistlib.FMT_XML)["Images"]  # which refuses entities
        for region in (region for image in images for region in image["ROIs"]):
            points = [tuple(map(float, point.strip(" ()").split(","))) for point in region["Point_px"]]
            yield str(region.get("Name", "")).strip().lower(), [(x, y) for x, y in points]
    except Unusable:
        raise
    except (OSError, ExpatError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise Unusable(f"unreadable outlines: {path.name} ({type(error).__name__})") from error
