"""Writes small TCIA trees, patch folders and CSVs for the tests of the cohort."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

Pixels = NDArray[Any]


def write_dicom(path: Path, pixels: Pixels, **tags: Any) -> None:
    """A minimal gray DICOM; `tags` override (BitsStored=12, PhotometricInterpretation='MONOCHROME1', ...)."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(path)])
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.dtype.itemsize
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.HighBit = dataset.BitsStored - 1
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


class Source:
    """A source under construction: CSV rows with or without files, as a TCIA tree or a patch folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tables: dict[str, list[dict[str, str]]] = {}
        self.mammograms: dict[tuple[str, str, str], str] = {}
        folder.mkdir()

    def row(self, patient: str = "P_00001", table: str = "mass_train", **changes: str) -> dict[str, str]:
        """Append a CSV row (keys as in the CSV) and write the CSV; its paths are those of a classic tree."""
        lesion, split = table.split("_")
        density = "breast_density" if lesion == "mass" else "breast density"
        row = {"patient_id": patient, density: "2", "left or right breast": "LEFT", "image view": "CC"}
        row |= {"abnormality id": "1", "abnormality type": "mass" if lesion == "mass" else "calcification"}
        kinds = ("mass shape", "mass margins") if lesion == "mass" else ("calc type", "calc distribution")
        row |= {kinds[0]: "OVAL", kinds[1]: "SPICULATED"}
        row |= {"assessment": "4", "pathology": "MALIGNANT", "subtlety": "5"} | changes
        side, view, number = row["left or right breast"], row["image view"], row["abnormality id"]
        prefix = f"{lesion.title()}-{'Training' if split == 'train' else 'Test'}_{patient}_{side}_{view}"
        digits = self.mammograms.setdefault((prefix, side, view), str(1000 + len(self.mammograms)))
        row["image file path"] = f"{prefix}/1.2.3/1.2.{digits}/000000.dcm"
        row["cropped image file path"] = f"{prefix}_{number}/1.2.4/1.3.{digits}/000000.dcm"
        row["ROI mask file path"] = f"{prefix}_{number}/1.2.4/1.3.{digits}/000001.dcm\n"
        self.tables.setdefault(table, []).append(row)
        self.write_table(table)
        return row

    def write_table(self, table: str) -> Path:
        lesion, split = table.split("_")
        path = self.folder / f"{lesion}_case_description_{split}_set.csv"
        rows = self.tables[table]
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return path

    def lesion(
        self, image: Pixels, mask: Pixels, crop: Pixels | None = None, swapped: bool = False, **row: str
    ) -> dict[str, str]:
        """Append a row and write its three DICOM files; `swapped` exchanges mask and crop on disk."""
        written = self.row(**row)
        if crop is None:
            crop = np.arange(30 * 20, dtype=np.uint16).reshape(30, 20)
        pair = (self.folder / written["ROI mask file path"].strip()).parent
        write_dicom((self.folder / written["image file path"]).parent / "1-1.dcm", image)
        write_dicom(pair / ("1-2.dcm" if swapped else "1-1.dcm"), crop)
        write_dicom(pair / ("1-1.dcm" if swapped else "1-2.dcm"), mask)
        return written

    def patch(
        self, row: dict[str, str], k: int, pixels: Pixels | None = None, split: str = "train", benign: bool = False
    ) -> Path:
        """Write a patch of this row's mammogram in the reference's layout."""
        digits = row["image file path"].split("/")[-2].split(".")[-1]
        name = f"patientcbis-ddsm__{row['patient_id']}_image{digits}_mass{k}_is_benign_{int(benign)}.png"
        path = self.folder / split / f"is_benign_{str(benign).lower()}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((128, 128), k, np.uint8) if pixels is None else pixels).save(path)
        return path


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path / "source")


@pytest.fixture
def dicom() -> Callable[..., None]:
    return write_dicom
