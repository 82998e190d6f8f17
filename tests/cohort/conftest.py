"""Writes small TCIA trees in their three forms, patch folders and CSVs for the tests of the cohort."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydicom
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


def mammogram() -> Pixels:
    """260 x 240; a row is 200 brighter than the one above, a column 1 brighter than the one before."""
    rows, columns = np.indices((260, 240))
    return (200 * rows + columns).astype(np.uint16)


def mask(kind: str = "u1") -> Pixels:
    """Rows 100-119, columns 90-99: centre (110, 95), so the 128 pixels begin at (46, 31)."""
    pixels = np.zeros((260, 240), kind)
    pixels[100:120, 90:100] = np.iinfo(kind).max
    return pixels


def as_descriptive(classic: Path, out: Path) -> Path:
    """The same tree with descriptive folders and NBIA Data Retriever's metadata.csv; every second line as Windows
    writes it.
    """
    lines = []
    for number, path in enumerate(sorted(classic.glob("*/*/*/*.dcm"))):
        patient, study, series = path.parts[-4:-1]
        place = f"CBIS-DDSM/{patient}/07-20-2016-DDSM-93921/1.000000-full mammogram images-{series[-5:]}"
        (out / place).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, out / place / path.name)
        line = {"Series UID": series, "Collection": "CBIS-DDSM", "3rd Party Analysis": ""}
        line |= {"Data Description URI": "https://doi.org/10.7937/K9/TCIA.2016.7O02S9CY", "Subject ID": patient}
        line |= {"Study UID": study, "Study Description": "", "Study Date": "07-20-2016", "Series Description": ""}
        line |= {"Manufacturer": "", "Modality": "MG", "SOP Class Name": "", "SOP Class UID": "", "Number of Images": 1}
        line |= {"File Size": "1 MB", "File Location": f"./{place}", "Download Timestamp": "2024-01-01"}
        if number % 2:
            line["File Location"] = line["File Location"].replace("/", "\\")
        lines.append(line)
    pd.DataFrame(lines).drop_duplicates("Series UID").to_csv(out / "metadata.csv", index=False)
    for table in classic.glob("*.csv"):
        shutil.copy(table, out)
    return out


def as_kaggle(classic: Path, out: Path) -> Path:
    """The same tree as Kaggle's mirror has it: 8-bit JPEGs under the identifier of their series; every second line as
    Windows writes it.
    """
    lines = []
    for number, path in enumerate(sorted(classic.glob("*/*/*/*.dcm"))):
        patient, study, series = path.parts[-4:-1]
        dataset = pydicom.dcmread(path)
        place = f"jpeg/{series}/{path.stem[-1]}-{number:03d}.jpg"
        (out / place).parent.mkdir(parents=True, exist_ok=True)
        gray = (dataset.pixel_array >> (dataset.BitsStored - 8)).astype(np.uint8)
        Image.fromarray(gray).save(out / place, quality=90)
        line = {"file_path": f"CBIS-DDSM/dicom/{series}/{path.name}", "image_path": f"CBIS-DDSM/{place}"}
        if number % 2:
            line["image_path"] = line["image_path"].replace("/", "\\")
        line |= {"PatientID": patient, "SeriesDescription": "", "SeriesInstanceUID": series, "StudyInstanceUID": study}
        lines.append(line)
    (out / "csv").mkdir()
    pd.DataFrame(lines).to_csv(out / "csv/dicom_info.csv", index=False)
    for table in classic.glob("*.csv"):
        shutil.copy(table, out / "csv")
    return out


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
        row["cropped image file path"] = f"{prefix}_{number}/1.2.4/1.3.{digits}.{number}/000000.dcm"
        row["ROI mask file path"] = f"{prefix}_{number}/1.2.4/1.3.{digits}.{number}/000001.dcm\n"
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
        self,
        image: Pixels | None = None,
        mask: Pixels | None = None,
        crop: Pixels | None = None,
        swapped: bool = False,
        **row: str,
    ) -> dict[str, str]:
        """Append a row and write its three DICOM files; `swapped` exchanges mask and crop on disk."""
        written = self.row(**row)
        image, mask = self.mammogram() if image is None else image, self.mask() if mask is None else mask
        if crop is None:
            crop = np.arange(30 * 20, dtype=np.uint16).reshape(30, 20)
        pair = (self.folder / written["ROI mask file path"].strip()).parent
        write_dicom((self.folder / written["image file path"]).parent / "1-1.dcm", image)
        write_dicom(pair / ("1-2.dcm" if swapped else "1-1.dcm"), crop)
        write_dicom(pair / ("1-1.dcm" if swapped else "1-2.dcm"), mask)
        return written

    mammogram, mask = staticmethod(mammogram), staticmethod(mask)

    def as_form(self, form: str) -> Path:
        """The tree in one of its forms: classic (as it was written), descriptive or kaggle."""
        write = {"classic": lambda folder, _: folder, "descriptive": as_descriptive, "kaggle": as_kaggle}[form]
        return write(self.folder, self.folder.with_name(form))

    def patch(
        self, row: dict[str, str], k: int, pixels: Pixels | None = None, split: str = "train", benign: bool = False
    ) -> Path:
        """Write a patch of this row's mammogram in the reference's layout."""
        digits = row["image file path"].split("/")[-2].split(".")[-1]
        name = f"patientcbis-ddsm__{row['patient_id']}_image{digits}_mass{k}_is_benign_{int(benign)}.png"
        path = self.folder / split / f"is_benign_{str(benign).lower()}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if pixels is None:  # no two are alike, and none is without contrast
            pixels = np.full((128, 128), k, np.uint8)
            pixels[-1, -1] = 255 - len(list(self.folder.rglob("*.png"))) % 100
        Image.fromarray(pixels).save(path)
        return path


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path / "source")


@pytest.fixture
def dicom() -> Callable[..., None]:
    return write_dicom
