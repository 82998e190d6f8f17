"""Writes one image as DICOM, as sparse as those of CBIS-DDSM."""

import uuid
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


def uid(*words: str) -> str:
    """A DICOM UID that depends on nothing but its arguments: a name-based UUID under 2.25 (PS3.5, B.2)."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, '/'.join(('fedmammo phantom', *words))).int}"


def write_dicom(
    path: Path, pixels: Pixels, patient_id: str, study: str, series: str, instance: int, kind: str, side: str, view: str
) -> None:
    """Write a secondary capture without pixel spacing, manufacturer or date; 8 or 16 bit as `pixels` are.

    `study` and `series` are UIDs, `kind` is the series description, `side` is LEFT or RIGHT, `view` CC or MLO.
    """
    image = uid(study, series, f"image {instance}")
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = UID(image)
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = image
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
    dataset.SeriesNumber, dataset.InstanceNumber = 1, instance
    dataset.SeriesDescription = kind
    dataset.Modality = "MG"
    dataset.ConversionType = "WSD"
    dataset.BodyPartExamined = "BREAST"
    dataset.Laterality, dataset.ViewPosition = side[0], view
    dataset.PatientID = dataset.PatientName = patient_id
    dataset.StudyDate = dataset.StudyTime = dataset.PatientBirthDate = dataset.PatientSex = ""
    dataset.StudyID = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.set_pixel_data(pixels, "MONOCHROME2", 8 * pixels.itemsize, generate_instance_uid=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
