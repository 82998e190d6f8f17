"""Lists a folder whose subfolders name the class of their images, as many published collections have it.

{split}/{class}/... or {class}/..., where a class is benign or malignant (or 0 or 1) and a split is train, val or test,
in any case. Images lie in the class folder or deeper. Nothing says whose they are but their names.
"""

import re
from pathlib import Path

from fedmammo.cohort.options import Options
from fedmammo.cohort.quarantine import Quarantined, Row, Unusable
from fedmammo.cohort.readers import fields
from fedmammo.cohort.readers.lesion_rows import lesion_row
from fedmammo.cohort.readers.listing import NO_SPLIT, Listing, as_plan
from fedmammo.cohort.readers.places import printable
from fedmammo.cohort.store import FACTS
from fedmammo.disk.stray import files_below

_CLASSES = {"benign": False, "0": False, "malignant": True, "1": True}
_SPLITS = {
    **{"train": "train", "training": "train", "test": "test", "testing": "test"},
    **{"val": "val", "valid": "val", "validation": "val"},
}
_FILES = "files"
_MASK = re.compile(r"_mask(_\d+)?$", re.IGNORECASE)  # as Mini-DDSM and BUSI name what lies beside an image
NO_PATIENTS = (
    "NOBODY KNOWS WHOSE THESE IMAGES ARE: each counts as a patient of its own, so images of one patient may be in "
    "train and in test, and results look better than they are. If file or folder names tell the patient, prepare anew "
    "with --patient PATTERN, for instance --patient 'P_[0-9]+'."
)


def recognises_class_folders(source: Path) -> bool:
    """Whether `source`, or a split's folder in it, has a folder of a class."""
    folders = [folder for folder in source.glob("*") if folder.is_dir()]
    splits = [folder for folder in folders if folder.name.lower() in _SPLITS]
    folders += [folder for split in splits for folder in split.glob("*") if folder.is_dir()]
    return any(folder.name.lower() in _CLASSES for folder in folders)


def list_class_folders(source: Path, options: Options) -> Listing:
    """List every file below `source`; `options.patient` finds the patient in its path below the class folder."""
    paths = _files(source)
    planned: list[Row] = []
    quarantine: list[Quarantined] = []
    has_split = True
    for path in paths:
        place = printable(path, source)
        try:
            split, malignant, below = _parse(place)
            if _MASK.search(path.stem):
                raise Unusable("a mask, by its name: no image")
            patient = place if options.patient is None else _patient(options.patient, below)
        except Unusable as reason:
            quarantine.append(Quarantined(place, None, str(reason)))
            continue
        has_split = has_split and split is not None
        row = lesion_row(place, path, malignant, patient=patient, listed_in=place, listed_row=None)
        planned.append(row | {"split": split or "train"})
    remarks = [NO_PATIENTS] if options.patient is None else []
    remarks += [] if has_split else [NO_SPLIT]
    return Listing("folder of classes", as_plan(planned), {_FILES: len(paths)}, quarantine, [], remarks=remarks)


def _files(source: Path) -> list[Path]:
    """All files, but those of systems and of cohorts that were made here."""
    paths = files_below(source)
    cohorts = {path.parent for path in paths if path.name == FACTS}
    return [
        path
        for path in paths
        if not (cohorts.intersection(path.parents) or any(folder.suffix == ".unfinished" for folder in path.parents))
    ]


def _parse(place: str) -> tuple[str | None, bool, str]:
    """Split, whether malignant, and the path below the class folder."""
    first, *rest = place.split("/")
    split = _SPLITS.get(first.lower())
    if split is not None and rest:
        first, *rest = rest
    if first.lower() not in _CLASSES or not rest:
        raise Unusable("file is in no folder of a class: expected [train|val|test/]benign|malignant/")
    return split, _CLASSES[first.lower()], "/".join(rest)


def _patient(pattern: str, below: str) -> str:
    found = re.search(pattern, below)
    if found is None:
        raise Unusable(f"no patient in the path: --patient {pattern!r} does not match")
    try:
        return fields.patient((found[1] if found.re.groups else found[0]) or "")
    except Unusable as reason:
        raise Unusable(f"no patient in the path: {reason}") from reason
