"""Writes the phantom cohort as CBIS-DDSM lies on disk after a classic TCIA download: DICOM files and CSVs."""

import csv
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from fedmammo.errors import InputError
from fedmammo.folders import new_folder
from fedmammo.phantom.draw import Box, draw_mammogram
from fedmammo.phantom.patients import Breast, Patient, draw_patient

COLUMNS = (
    "patient_id", "breast_density", "left or right breast", "image view", "abnormality id", "abnormality type",
    "mass shape", "mass margins", "assessment", "pathology", "subtlety",
    "image file path", "cropped image file path", "ROI mask file path",
)  # fmt: skip
CSV_NAMES = {
    "Training": "mass_case_description_train_set.csv",
    "Test": "mass_case_description_test_set.csv",
}
FULL, CROP, MASK = "full mammogram images", "cropped images", "ROI mask images"

# Quirks of the real tree, at about its rates: mask and crop in series of their own (both are then 000000), and
# mask and crop exchanged on disk, against what the CSV says.
APART_RATE = 0.07
EXCHANGED_RATE = 0.03
CROP_MARGIN = 12

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
Row = dict[str, str | int]


def write_tree(out: Path, patients: int, seed: int) -> None:
    """Draw `patients` patients and write them as a classic TCIA tree of mass cases into the new folder `out`.

    Patient k of a seed gets the same files whatever the number of patients; every fifth is in the test set. The
    same arguments give the same bytes (for the same versions of numpy, scipy and pydicom). `out` appears only
    when all is written. Raises InputError where `out` exists and is not an empty folder, or where `patients` is
    below 1 or `seed` below 0.
    """
    if patients < 1:
        raise InputError(f"patients is {patients}: expected at least 1")
    if seed < 0:
        raise InputError(f"seed is {seed}: expected 0 or more")
    with new_folder(out) as tree:
        rows: dict[str, list[Row]] = {split: [] for split in CSV_NAMES}
        for number in range(1, patients + 1):
            split = "Test" if number % 5 == 0 else "Training"
            patient = draw_patient(number, seed)
            for breast in patient.breasts:
                for view in breast.views:
                    rows[split].extend(_write_view(tree, split, patient, breast, view, seed))
        for split, name in CSV_NAMES.items():
            with (tree / name).open("w", newline="", encoding="ascii") as file:
                writer = csv.DictWriter(file, COLUMNS)  # its default line end is CRLF, as in the originals
                writer.writeheader()
                writer.writerows(rows[split])


def _write_view(tree: Path, split: str, patient: Patient, breast: Breast, view: str, seed: int) -> Iterator[Row]:
    """Draw one mammogram, write its full image, then each mass's crop and mask; one CSV row a mass."""
    words = (("LEFT", "RIGHT").index(breast.side), ("CC", "MLO").index(view))
    generator = np.random.default_rng([seed, patient.number, *words])
    image, masks, boxes = draw_mammogram(
        [finding.lesion for finding in breast.findings], patient.density, breast.side, view, generator
    )
    name = f"P_{patient.number:05d}"
    folder = f"Mass-{split}_{name}_{breast.side}_{view}"

    def write(folder: str, series: str, instance: int, kind: str, pixels: Pixels) -> str:
        """Write one file; the path that the CSV gives it."""
        study_uid, series_uid = (_uid(seed, folder, series, level) for level in ("study", "series"))
        place = f"{folder}/{study_uid}/{series_uid}"
        dataset = _dicom(pixels, folder, study_uid, series_uid, _uid(seed, folder, series, f"image {instance}"), kind)
        dataset.InstanceNumber = instance
        dataset.Laterality = breast.side[0]
        dataset.ViewPosition = view
        path = tree / place / f"1-{instance}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(path, enforce_file_format=True)
        return f"{place}/{instance - 1:06d}.dcm"

    full_path = write(folder, "full", 1, FULL, image)
    for k, (finding, mask, box) in enumerate(zip(breast.findings, masks, boxes, strict=True), start=1):
        crop = image[_widen(box, image.shape)]
        quirk = generator.random()
        if quirk < APART_RATE:
            crop_path = write(f"{folder}_{k}", "crop", 1, CROP, crop)
            mask_path = write(f"{folder}_{k}", "mask", 1, MASK, mask)
        elif quirk < APART_RATE + EXCHANGED_RATE:
            crop_path = write(f"{folder}_{k}", "both", 1, MASK, mask)
            mask_path = write(f"{folder}_{k}", "both", 2, CROP, crop)
        else:
            crop_path = write(f"{folder}_{k}", "both", 1, CROP, crop)
            mask_path = write(f"{folder}_{k}", "both", 2, MASK, mask)
        lesion = finding.lesion
        # The originals end the last column with a line feed inside the quotes.
        values = (
            name, patient.density, breast.side, view, k, "mass",
            lesion.shape, lesion.margins, finding.assessment, finding.pathology, lesion.subtlety,
            full_path, crop_path, mask_path + "\n",
        )  # fmt: skip
        yield dict(zip(COLUMNS, values, strict=True))


def _widen(box: Box, shape: tuple[int, ...]) -> Box:
    """The box with a margin, cut off at the image's edge."""
    rows, columns = (
        slice(max(side.start - CROP_MARGIN, 0), min(side.stop + CROP_MARGIN, length))
        for side, length in zip(box, shape, strict=True)
    )
    return rows, columns


def _uid(seed: int, *words: str) -> str:
    """A DICOM UID that depends on nothing but its arguments: a name-based UUID under 2.25 (PS3.5, B.2)."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, '/'.join(('fedmammo phantom', str(seed), *words))).int}"


def _dicom(pixels: Pixels, patient_id: str, study_uid: str, series_uid: str, image_uid: str, kind: str) -> FileDataset:
    """A secondary capture as sparse as those of CBIS-DDSM: no pixel spacing, no manufacturer, no date."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = UID(image_uid)
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = image_uid
    dataset.StudyInstanceUID = study_uid
    dataset.SeriesInstanceUID = series_uid
    dataset.SeriesNumber = 1
    dataset.SeriesDescription = kind
    dataset.Modality = "MG"
    dataset.ConversionType = "WSD"
    dataset.BodyPartExamined = "BREAST"
    dataset.PatientID = dataset.PatientName = patient_id
    dataset.StudyDate = dataset.StudyTime = dataset.PatientBirthDate = dataset.PatientSex = ""
    dataset.StudyID = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.set_pixel_data(pixels, "MONOCHROME2", 8 * pixels.itemsize, generate_instance_uid=False)
    return dataset
