"""Lists the lesions of EMBED, the Emory Breast Imaging Dataset, as its open data lie in the cloud.

tables/EMBED_OpenData_metadata.csv, one row per image, with regions of interest as lists of (ymin, xmin, ymax, xmax);
tables/EMBED_OpenData_clinical.csv, one row per finding, with what its biopsy found; images/cohort_*/<patient>/<exam>/.
Of both tables the reduced forms will do. Whether ymax and xmax belong to a region is not published: here they do not.

Findings and regions are joined by patient, exam and breast, which is all that the tables have in common.
"""

import os
import re
from pathlib import Path, PureWindowsPath

from fedmammo.cohort.options import Options
from fedmammo.cohort.patch import Box
from fedmammo.cohort.quarantine import Row, Unusable
from fedmammo.cohort.readers.embed_findings import COLUMNS, Breast, Findings, describe, is_malignant, read_findings
from fedmammo.cohort.readers.fields import name, side, whole_number
from fedmammo.cohort.readers.lesion_rows import Columns, find_columns, lesion_row, walk
from fedmammo.cohort.readers.listing import NO_SPLIT, Listing, Origin, as_plan
from fedmammo.cohort.readers.places import below, printable
from fedmammo.cohort.readers.tables import Table, read_table
from fedmammo.errors import InputError

ORIGIN = Origin(
    "EMBED Research Use Agreement: non-commercial research; models may not be released without permission",
    "Jeong JJ, Vey BL, Bhimireddy A, Kim T, Santos T, Correa R, et al. (2023): The EMory BrEast imaging Dataset "
    "(EMBED): A racially diverse, granular dataset of 3.4 million screening and diagnostic mammographic images. "
    "Radiology: Artificial Intelligence 5(1):e220047. doi:10.1148/ryai.220047",
)
JOINED = (
    "Pathology is joined to regions by exam and breast: in a breast with several findings a region may be of one that "
    "had no biopsy. A breast whose results disagree is in quarantine."
)
_METADATA, _CLINICAL = "EMBED_OpenData_metadata", "EMBED_OpenData_clinical"
_REGION = r"[\[(]\s*(\d{1,6})\s*,\s*(\d{1,6})\s*,\s*(\d{1,6})\s*,\s*(\d{1,6})\s*(?:,\s*)?[\])]"
_DEEPEST = 32  # folders of a path
_IMAGE: Columns = {
    "patient": ("empi_anon", name),
    "exam": ("acc_anon", name),
    "path": ("anon_dicom_path", name),
    "kind": ("FinalImageType", str),
    "side": ("ImageLateralityFinal", side),
    "view": ("ViewPosition", str),
    "regions": ("num_roi", whole_number(0, 999)),
    "places": ("ROI_coords", str),
}


def recognises_embed(source: Path) -> bool:
    """Whether `source` is EMBED."""
    return any(source.glob(f"tables/{_METADATA}*.csv"))


def list_embed(source: Path, options: Options) -> Listing:
    """List every region of every image; raises InputError where a table is missing, unreadable, or lacks a column."""
    images, findings = _table(source, _METADATA, _IMAGE), _table(source, _CLINICAL, COLUMNS)
    breasts, quarantine = read_findings(findings)
    columns = find_columns(images, _IMAGE)
    walked = walk(images, columns, lambda row: _lesions(source, row, breasts))
    unread = {findings.path.name: len(quarantine)} if quarantine else {}
    return Listing(
        "EMBED folder",
        as_plan(walked.planned),
        {images.path.name: walked.listed} | unread,
        [*walked.quarantine, *quarantine],
        [images, findings],
        remarks=[JOINED, NO_SPLIT],
        origin=ORIGIN,
    )


def _table(source: Path, stem: str, columns: Columns) -> Table:
    """Read the whole table, or else its reduced form, or else the first that has another ending."""
    names = (f"{stem}.csv", f"{stem}_reduced.csv", *sorted(path.name for path in source.glob(f"tables/{stem}*.csv")))
    found = next((source / "tables" / name for name in names if (source / "tables" / name).is_file()), None)
    if found is None:
        raise InputError(f"{source}: expected tables/{stem}.csv; download it")
    return read_table(found, only={heading.lower() for heading, _ in columns.values()})


def _lesions(source: Path, row: Row, breasts: Findings) -> list[Row]:
    if row["kind"].upper() != "2D":
        raise Unusable(f"not a 2D image: FinalImageType is {row['kind']!r}")
    if not row["regions"]:
        raise Unusable("no lesion: num_roi is 0")
    boxes = [Box(int(left), int(top), int(right), int(bottom)) for top, left, bottom, right in _regions(row["places"])]
    if len(boxes) != row["regions"]:
        raise Unusable(f"unreadable ROI_coords: {len(boxes)} regions, num_roi is {row['regions']}")
    findings = breasts.get(Breast(row["patient"], row["exam"], row["side"]), [])
    malignant = is_malignant(findings)
    file = _find(source, row["path"])
    view = row["view"].upper()
    known = {"patient": row["patient"], "side": row["side"], "view": view if view in ("CC", "MLO") else None}
    known |= describe(findings)
    return [lesion_row(printable(file, source), file, malignant, box, **known) for box in boxes]


def _regions(text: str) -> list[tuple[str, ...]]:
    """Read lists of four numbers in a list, with round or square brackets."""
    inner = text.strip()[1:-1]
    left = re.sub(_REGION, "", inner)
    if left.strip(" ,"):
        raise Unusable(f"unreadable ROI_coords: {text[:80]!r}")
    return re.findall(_REGION, inner)


def _find(source: Path, text: str) -> Path:
    """The file below images/ whose path ends as that of the table does, which begins with a folder of Emory's disks."""
    path = PureWindowsPath(text)
    parts = path.parts[1:] if path.anchor else path.parts
    for first in range(max(0, len(parts) - _DEEPEST), len(parts)):
        file = below(source / "images", "/".join(parts[first:]))
        if os.path.isfile(file):  # noqa: PTH113  which a name that is too long does not stop
            return file
    raise Unusable(f"image is missing: {'/'.join(parts[-3:])}")
