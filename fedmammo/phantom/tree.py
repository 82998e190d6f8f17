"""Writes the phantom cohort as CBIS-DDSM lies on disk after a classic TCIA download: DICOM files and CSVs."""

import csv
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedmammo.disk.folders import new_folder
from fedmammo.disk.parallel import in_order
from fedmammo.errors import InputError
from fedmammo.phantom.dicom import Pixels, uid, write_dicom
from fedmammo.phantom.images import draw_mammogram
from fedmammo.phantom.masses import Mass
from fedmammo.phantom.patients import LESIONS, Breast, Finding, Patient, draw_patient
from fedmammo.phantom.rates import DIFFICULTY

_PLACE = ("left or right breast", "image view", "abnormality id", "abnormality type")
_VERDICT = ("assessment", "pathology", "subtlety", "image file path", "cropped image file path", "ROI mask file path")
COLUMNS = {
    "mass": ("patient_id", "breast_density", *_PLACE, "mass shape", "mass margins", *_VERDICT),
    "calcification": ("patient_id", "breast density", *_PLACE, "calc type", "calc distribution", *_VERDICT),
}
PREFIXES = {"mass": "Mass", "calcification": "Calc"}
FULL, CROP, MASK = "full mammogram images", "cropped images", "ROI mask images"

# Quirks of the real tree, at rates that were chosen: mask and crop in series of their own (both are then 000000), mask
# and crop exchanged on disk against what the CSV says, masks smaller than their image, crops of 8 and masks of 16 bit,
# a mask in two parts.
APART_RATE = 0.10
EXCHANGED_RATE = 0.05
SMALLER_RATE, SMALLER = 0.05, 0.87
OTHER_DEPTH_RATE = 0.10
PARTED_RATE = 0.05
CROP_MARGIN = 12

Row = dict[str, str | int]


def write_tree(
    out: Path,
    patients: int,
    seed: int,
    difficulty: float = DIFFICULTY,
    lesions: tuple[str, ...] = LESIONS[:1],
    processes: int = 1,
    report: Callable[[int], None] = lambda done: None,
) -> None:
    """Draw `patients` patients and write them as a classic TCIA tree into the new folder `out`.

    Patient k of a seed gets the same files whatever the number of patients; every fifth is in the test set. The same
    arguments give the same bytes (for the same versions of numpy, scipy and pydicom), also for any number of
    processes. `out` appears only when all is written.

    Args:
        out: a new or empty folder.
        patients: at least 1.
        seed: at least 0.
        difficulty: from 0 (easy) to 1 (hard).
        lesions: the kinds that occur, of `LESIONS`.
        processes: at least 1.
        report: is told how many patients are written.

    Raises InputError where an argument is not so.
    """
    for name, value, least in (("patients", patients, 1), ("seed", seed, 0), ("processes", processes, 1)):
        if value < least:
            raise InputError(f"{name} is {value}: expected at least {least}")
    if not 0 <= difficulty <= 1:
        raise InputError(f"difficulty is {difficulty}: expected a number from 0 (easy) to 1 (hard)")
    with new_folder(out) as tree:
        rows: dict[str, list[Row]] = {_csv(kind, split): [] for kind in lesions for split in ("train", "test")}
        write = partial(_write_patient, tree, seed, difficulty, lesions)
        for done, written in enumerate(in_order(write, range(1, patients + 1), processes, _lost), start=1):
            for name, row in written:
                rows[name].append(row)
            report(done)
        for name, lines in rows.items():
            with (tree / name).open("w", newline="", encoding="ascii") as file:
                writer = csv.DictWriter(file, COLUMNS[_kind(name)])  # its line end is CRLF, as in the originals
                writer.writeheader()
                writer.writerows(lines)


def _csv(kind: str, split: str) -> str:
    return f"{PREFIXES[kind].lower()}_case_description_{split}_set.csv"


def _kind(name: str) -> str:
    return next(kind for kind, prefix in PREFIXES.items() if name.startswith(prefix.lower()))


def _lost(number: int) -> list[tuple[str, Row]]:
    raise InputError(f"the process that drew patient {number} died, perhaps for want of memory; use fewer processes")


def split_of(patient: Patient, kind: str) -> str:
    """`train` or `test`. Of those with lesions of both kinds, some are in train for one and in test for the other."""
    kinds = {kind_of(finding) for breast in patient.breasts for finding in breast.findings}
    crosses = kind == "calcification" and len(kinds) == 2 and patient.number % 2 == 1
    return "test" if (patient.number % 5 == 0) != crosses else "train"


def kind_of(finding: Finding) -> str:
    """`mass` or `calcification`."""
    return "mass" if isinstance(finding.lesion, Mass) else "calcification"


def _write_patient(
    tree: Path, seed: int, difficulty: float, lesions: tuple[str, ...], number: int
) -> list[tuple[str, Row]]:
    """Draw and write one patient's files; its rows, each with the name of its CSV."""
    patient = draw_patient(number, seed, difficulty, lesions)
    return [
        row
        for breast in patient.breasts
        for view in breast.views
        for row in _write_view(tree, seed, difficulty, patient, breast, view)
    ]


def _write_view(
    tree: Path, seed: int, difficulty: float, patient: Patient, breast: Breast, view: str
) -> list[tuple[str, Row]]:
    """Draw one mammogram; write its full image for each kind of lesion, and each lesion's crop and mask."""
    words = (("LEFT", "RIGHT").index(breast.side), ("CC", "MLO").index(view))
    generator = np.random.default_rng([seed, patient.number, *words])
    lesions = [finding.lesion for finding in breast.findings]
    image, masks = draw_mammogram(lesions, patient.density, breast.side, view, difficulty, generator)

    def write(folder: str, series: str, instance: int, description: str, pixels: Pixels) -> str:
        """Write one file; the path that the CSV gives it."""
        study, series = (uid(str(seed), folder, series, level) for level in ("study", "series"))
        path = tree / folder / study / series / f"1-{instance}.dcm"
        write_dicom(path, pixels, folder, study, series, instance, description, breast.side, view)
        return f"{folder}/{study}/{series}/{instance - 1:06d}.dcm"

    rows: list[tuple[str, Row]] = []
    for kind in PREFIXES:
        found = [(f, mask) for f, mask in zip(breast.findings, masks, strict=True) if kind_of(f) == kind]
        split = split_of(patient, kind)
        name = f"P_{patient.number:05d}"
        folder = f"{PREFIXES[kind]}-{'Training' if split == 'train' else 'Test'}_{name}_{breast.side}_{view}"
        full_path = write(folder, "full", 1, FULL, image) if found else ""
        for k, (finding, mask) in enumerate(found, start=1):
            crop, roi = _files(image, mask, generator)
            quirk = generator.random()
            own = f"{folder}_{k}"
            if quirk < APART_RATE:
                crop_path = write(own, "crop", 1, CROP, crop)
                mask_path = write(own, "mask", 1, MASK, roi)
            elif quirk < APART_RATE + EXCHANGED_RATE:
                crop_path = write(own, "both", 1, MASK, roi)
                mask_path = write(own, "both", 2, CROP, crop)
            else:
                crop_path = write(own, "both", 1, CROP, crop)
                mask_path = write(own, "both", 2, MASK, roi)
            lesion = finding.lesion
            if isinstance(lesion, Mass):  # the originals end one path with a line feed inside the quotes
                described, mask_path = (lesion.shape, lesion.margins), mask_path + "\n"
            else:
                described, crop_path = (lesion.type, lesion.distribution), crop_path + "\n"
            values = (
                name, patient.density, breast.side, view, k, kind, *described,
                finding.assessment, finding.pathology, lesion.subtlety, full_path, crop_path, mask_path,
            )  # fmt: skip
            rows.append((_csv(kind, split), dict(zip(COLUMNS[kind], values, strict=True))))
    return rows


def _files(image: NDArray[np.uint16], mask: NDArray[np.bool_], generator: np.random.Generator) -> tuple[Pixels, Pixels]:
    """The crop and the mask of a lesion as they are written, with their quirks."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    crop: Pixels = image[
        max(rows[0] - CROP_MARGIN, 0) : rows[-1] + 1 + CROP_MARGIN,
        max(columns[0] - CROP_MARGIN, 0) : columns[-1] + 1 + CROP_MARGIN,
    ]
    if generator.random() < PARTED_RATE:  # two contours: a gap of four columns in the middle
        middle = int(columns[0] + columns[-1]) // 2
        mask = mask & (abs(np.arange(mask.shape[1]) - middle - 0.5) > 2)
    roi: Pixels = np.where(mask, 255, 0).astype(np.uint8)
    if generator.random() < SMALLER_RATE:
        size = tuple(round(SMALLER * n) for n in reversed(mask.shape))
        roi = np.asarray(Image.fromarray(roi).resize(size, Image.Resampling.NEAREST))
    if generator.random() < OTHER_DEPTH_RATE:
        crop = (crop >> 8).astype(np.uint8)
    if generator.random() < OTHER_DEPTH_RATE:
        roi = roi.astype(np.uint16) * 257
    return crop, roi
