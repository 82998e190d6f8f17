"""Lists a folder of lesion patches in the reference study's layout and joins it to the case descriptions.

{train,val,test}/is_benign_{true,false}/patientcbis-ddsm__P_00068_image<digits>_mass<k>_is_benign_<0|1>.png, as
published with arXiv 2407.12669. <digits> is the last component of the mammogram's SeriesInstanceUID; <k> is a running
number which follows, within a mammogram, the row order of the case description.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fedmammo.cohort.lesions import Lesion
from fedmammo.cohort.options import Options
from fedmammo.cohort.quarantine import Quarantined, Row, Unusable
from fedmammo.cohort.readers.case_descriptions import descriptions_of
from fedmammo.cohort.readers.listing import CBIS, CBIS_UIDS, UNKNOWN, Listing, as_plan
from fedmammo.cohort.store import SPLITS
from fedmammo.disk.stray import files_below

_NAME = re.compile(r"patientcbis-ddsm__(P_\d+)_image(\d+)_mass(\d+)_is_benign_([01])\.png")
_LESION_SPECIFIC = ("abnormality", "assessment", "subtlety", "shape", "margins")
_FOLDERS = {f"{split}/is_benign_{benign}": (split, benign) for split in SPLITS for benign in ("true", "false")}
_FILES = "files of patches"


def recognises_patches(source: Path) -> bool:
    """Whether `source` has this layout."""
    return any((source / folder).is_dir() for folder in _FOLDERS)


def list_patches(source: Path, options: Options) -> Listing:
    """List every file below the folders of splits, each with the case description's row of its lesion.

    Raises InputError where a case description is missing or cannot be read.
    """
    descriptions = descriptions_of(source, options.csv)
    paths = sorted(path for split in SPLITS for path in files_below(source / split))
    patches: dict[tuple[str, str, str], list[_Patch]] = defaultdict(list)
    quarantine = list(descriptions.quarantine)
    planned: list[Row] = []
    notes: dict[str, str] = {}
    for path in paths:
        place = path.relative_to(source).as_posix()
        try:
            patch = _Patch.parse(place)
        except Unusable as reason:
            text = place.encode(errors="backslashreplace").decode()  # a name may be no UTF-8
            quarantine.append(Quarantined(text, None, str(reason)))
        else:
            patches[patch.patient, patch.digits, patch.split].append(patch)
    rows_of: dict[str, list[Row]] = defaultdict(list)
    for row in descriptions.rows:
        if row["lesion"] == "mass":
            rows_of[PurePosixPath(row["image_path"]).parent.name.split(".")[-1]].append(row)
    for (_, digits, _), together in sorted(patches.items()):
        rows = rows_of.get(digits, [])
        for position, patch in enumerate(sorted(together, key=lambda patch: patch.k)):
            try:
                row = _describe(patch, rows, position, len(together))
            except Unusable as reason:
                quarantine.append(Quarantined(patch.place, None, str(reason)))
                continue
            image = f"{patch.patient}_image{digits}_mass{patch.k}"
            own: Row = {"image": image, "source": patch.place, "work": Lesion(source / patch.place)}
            planned.append({**row, **own, "split": patch.split, "listed_in": patch.place, "listed_row": None})
            if len(rows) != len(together):
                notes[image] = f"patches {len(together)}, CSV rows {len(rows)}: lesion's own fields stay empty"
    unreadable = {table.path.name: 0 for table in descriptions.tables}
    for entry in descriptions.quarantine:
        unreadable[entry.source] += 1
    return Listing(
        "patch folder",
        as_plan(planned),
        rows={_FILES: len(paths), **{name: count for name, count in unreadable.items() if count}},
        quarantine=quarantine,
        tables=descriptions.tables,
        remarks=descriptions.remarks,
        notes=notes,
        origin=CBIS if any(f"/{CBIS_UIDS}" in row["image_path"] for row in descriptions.rows) else UNKNOWN,
    )


@dataclass(frozen=True)
class _Patch:
    """What a patch's path says."""

    place: str
    split: str
    malignant: bool
    named_malignant: bool
    patient: str
    digits: str
    k: int

    @classmethod
    def parse(cls, place: str) -> "_Patch":
        folder, _, file = place.rpartition("/")
        name = _NAME.fullmatch(file)
        if folder not in _FOLDERS:
            raise Unusable("file is in no folder of patches: expected {train,val,test}/is_benign_{true,false}/")
        if name is None:
            expected = "expected patientcbis-ddsm__P_..._image<digits>_mass<k>_is_benign_<0|1>.png"
            raise Unusable(f"name does not parse: {expected}")
        split, benign = _FOLDERS[folder]
        return cls(place, split, benign == "false", name[4] == "0", name[1], name[2], int(name[3]))


def _describe(patch: _Patch, rows: list[Row], position: int, patches: int) -> Row:
    """Find the row that describes the patch at this position among a mammogram's patches.

    Where patches and rows differ in number nobody knows which is which: what holds for all rows is kept, the
    lesion's own fields stay empty.
    """
    if patch.named_malignant != patch.malignant:
        raise Unusable("label of the name and of the folder disagree")
    if not rows:
        raise Unusable("no CSV row for this mammogram")
    if patch.patient not in {row["patient"] for row in rows}:
        raise Unusable(f"patient disagrees with the CSV: it says {rows[0]['patient']}")
    matched = len(rows) == patches
    fitting = [
        row for row in (rows[position : position + 1] if matched else rows) if row["malignant"] == patch.malignant
    ]
    pathologies = {row["pathology"] for row in fitting}
    if not pathologies:
        raise Unusable("label disagrees with the CSV")
    if len(pathologies) > 1:
        raise Unusable(f"pathology is ambiguous: {patches} patches for {len(rows)} CSV rows of this mammogram")
    return fitting[0] if matched else {**fitting[0], **dict.fromkeys(_LESION_SPECIFIC)}
