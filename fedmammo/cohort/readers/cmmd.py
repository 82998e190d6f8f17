"""Lists CMMD, the Chinese Mammography Database, as TCIA distributes it: whole breasts with biopsies, and no boxes.

manifest-*/CMMD/<D1-0001>/<study>/<series>/1-1.dcm, and CMMD_clinicaldata_revision.xlsx (or the same table as .csv)
beside the manifest or in it, one row per breast. File names do not tell the breast or the view: the header does.
"""

from pathlib import Path

from fedmammo.cohort.options import Options
from fedmammo.cohort.quarantine import Quarantined, Row, Unusable
from fedmammo.cohort.readers.fields import name, side, word
from fedmammo.cohort.readers.lesion_rows import Columns, find_columns, lesion_row, parsed
from fedmammo.cohort.readers.listing import NO_SPLIT, Listing, Origin, as_plan
from fedmammo.cohort.readers.mammogram_header import side_and_view
from fedmammo.cohort.readers.places import printable
from fedmammo.cohort.readers.tables import Table, read_table
from fedmammo.disk.stray import files_below, is_stray
from fedmammo.errors import InputError

ORIGIN = Origin(
    "CC BY 4.0",
    "Cui C, Li L, Cai H, Fan Z, Zhang L, Dan T, Li J, Wang J (2021): The Chinese Mammography Database (CMMD): An "
    "online mammography database with biopsy confirmed types for machine diagnosis of breast. The Cancer Imaging "
    "Archive. doi:10.7937/tcia.eqde-4b16",
)
WHOLE = "CMMD has no boxes: each patch is a whole image, and its label is that of the breast's biopsy."
_CLINICAL = "CMMD_clinicaldata*"
_FILES = "images"
_ABNORMALITIES = {"BOTH": "mass, calcification", "MASS": "mass", "CALCIFICATION": "calcification"}
_COLUMNS: Columns = {
    "patient": ("ID1", name),
    "side": ("LeftRight", side),
    "abnormality": ("abnormality", word(*_ABNORMALITIES)),
    "classification": ("classification", word("BENIGN", "MALIGNANT")),
}
Clinical = dict[str, dict[str, list[tuple[int, Row]]]]
"""Patient → side → rows with their numbers."""


def recognises_cmmd(source: Path) -> bool:
    """Whether `source` is CMMD's manifest, or the folder that holds it."""
    return any(any(source.glob(pattern)) for pattern in (_CLINICAL, "manifest-*/CMMD", "CMMD/D?-*", "D1-[0-9]*"))


def list_cmmd(source: Path, options: Options) -> Listing:
    """List every image; raises InputError where the clinical data are missing, unreadable, or lack a column."""
    table = read_table(_clinical(source))
    clinical, quarantine = _read(table)
    paths = [path for path in files_below(source) if path.suffix.lower() == ".dcm"]
    planned: list[Row] = []
    seen: set[tuple[str, str]] = set()
    for path in paths:
        place = printable(path, source)
        try:
            row = _lesion(path, place, clinical)
        except Unusable as reason:
            quarantine.append(Quarantined(place, None, str(reason)))
            continue
        seen.add((row["patient"], row["side"]))
        planned.append({**row, "listed_in": place, "listed_row": None})
    unseen = [
        number
        for patient, breasts in clinical.items()
        for side, rows in breasts.items()
        if (patient, side) not in seen
        for number, _ in rows
    ]
    quarantine += [
        Quarantined(table.path.name, number, "breast has no image: none that can be used is there") for number in unseen
    ]
    of_table = sum(entry.source == table.path.name for entry in quarantine)
    return Listing(
        "CMMD folder",
        as_plan(planned),
        {_FILES: len(paths)} | ({table.path.name: of_table} if of_table else {}),
        quarantine,
        [table],
        remarks=[WHOLE, NO_SPLIT],
        origin=ORIGIN,
    )


def _clinical(source: Path) -> Path:
    """The clinical data, as .csv where there are both."""
    found = [
        path
        for pattern in (_CLINICAL, f"*/{_CLINICAL}")
        for path in sorted(source.glob(pattern))
        if path.suffix.lower() in (".csv", ".xlsx") and not is_stray(path)
    ]
    if not found:
        raise InputError(f"{source}: put TCIA's CMMD_clinicaldata_revision.xlsx there, or the same table as .csv")
    return found[0]


def _read(table: Table) -> tuple[Clinical, list[Quarantined]]:
    """The rows of each breast, and those that cannot be read."""
    rows, quarantine = parsed(table, find_columns(table, _COLUMNS))
    clinical: Clinical = {}
    for number, row in rows:
        clinical.setdefault(row["patient"], {}).setdefault(row["side"], []).append((number, row))
    return clinical, quarantine


def _lesion(path: Path, place: str, clinical: Clinical) -> Row:
    patient = next((part for part in place.split("/")[:-1] if part in clinical), None)
    if patient is None:
        raise Unusable("no clinical data: no folder of the path is a patient of the table")
    side, view = side_and_view(path)
    rows = [row for _, row in clinical[patient].get(side, [])]
    if not rows:
        raise Unusable(f"no clinical data: the table has no row for the patient's {side.lower()} breast")
    if len({row["classification"] for row in rows}) > 1:
        raise Unusable(f"label is ambiguous: the table calls the {side.lower()} breast benign and malignant")
    kinds = ", ".join(_ABNORMALITIES[row["abnormality"]] for row in rows).split(", ")
    lesion = ", ".join(sorted(set(kinds), reverse=True))
    malignant = rows[0]["classification"] == "MALIGNANT"
    return lesion_row(place, path, malignant, patient=patient, side=side, view=view, lesion=lesion)
