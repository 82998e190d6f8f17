"""Lists the lesions of CBIS-DDSM as it lies on disk after a download, in any of its forms.

Classic: <PatientID>/<StudyUID>/<SeriesUID>/1-1.dcm; flat: <SeriesUID>/1-1.dcm, perhaps below its study. Descriptive:
<PatientID>/<date and description>/<number and description>/1-1.dcm beside the `metadata.csv` that NBIA Data Retriever
writes (Series UID → File Location). Kaggle's mirror: jpeg/<SeriesUID>/1-249.jpg and csv/dicom_info.csv. They differ in
how the files of a series are found, and in nothing else: that is a SeriesIndex.

PatientID is `Mass-Training_P_00001_LEFT_CC` for a full image, and ends with the abnormality's number for its crop and
mask. The case descriptions' folders hold, their file names do not; they swap mask and crop in places, so all files of
both series are candidates for the mask. Where they give no paths, or not this tree's, files are found by PatientID.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from fedmammo.cohort.lesions import Lesion
from fedmammo.cohort.options import Options
from fedmammo.cohort.quarantine import Quarantined, Row, Unusable
from fedmammo.cohort.readers.case_descriptions import CaseDescriptions, descriptions_of
from fedmammo.cohort.readers.listing import CBIS, CBIS_UIDS, UNKNOWN, Listing, as_plan
from fedmammo.cohort.readers.places import below
from fedmammo.cohort.readers.tables import read_table
from fedmammo.disk.stray import is_stray
from fedmammo.errors import InputError

_FOLDERS = ("Mass-Training_P_*", "Mass-Test_P_*", "Calc-Training_P_*", "Calc-Test_P_*")
_METADATA = "metadata.csv"
_UID = re.compile(r"\d+(\.\d+)+")  # PS3.5, 9.1
KAGGLE_INFO = Path("csv", "dicom_info.csv")


@dataclass(frozen=True)
class SeriesIndex:
    """Where files are: by the identifier of their series, and by PatientID."""

    series: dict[str, list[Path]]
    patients: dict[str, list[Path]]

    @classmethod
    def of(cls, files: Iterable[tuple[str, str, Path]]) -> "SeriesIndex":
        """Index (series, PatientID, file)."""
        series, patients = defaultdict(set), defaultdict(set)
        for uid, patient, path in files:
            series[uid].add(path)
            patients[patient].add(path)
        return cls(*({key: sorted(paths) for key, paths in found.items()} for found in (series, patients)))

    def find(self, csv_path: str, patient: str) -> list[Path]:
        """The files of the series that a case description's path names, or else of this PatientID."""
        return self.series.get(PurePosixPath(csv_path).parent.name) or self.patients.get(patient, [])


def recognises_tree(source: Path) -> bool:
    """Whether `source` is a tree of DICOM files, a flat one, or the folder that holds one beside its metadata.csv."""
    if (source / _METADATA).is_file() or any(path.is_dir() for pattern in _FOLDERS for path in source.glob(pattern)):
        return True
    return any(path.is_dir() and _UID.fullmatch(path.name) for path in source.iterdir())


def recognises_kaggle(source: Path) -> bool:
    """Whether `source` is Kaggle's mirror."""
    return (source / KAGGLE_INFO).is_file()


def list_tree(source: Path, options: Options) -> Listing:
    """List a classic or descriptive tree; raises InputError where one of its tables cannot be read."""
    return _list("TCIA tree", index_tree(source), descriptions_of(source, options.csv))


def list_kaggle(source: Path, options: Options) -> Listing:
    """List Kaggle's mirror; raises InputError where one of its tables cannot be read."""
    return _list("Kaggle mirror", index_kaggle(source), descriptions_of(source, options.csv))


def index_tree(source: Path) -> SeriesIndex:
    """Index a classic or descriptive tree.

    Raises:
        InputError: its metadata.csv cannot be read.
    """
    files = {path: (path.parent.name, path.parts[-4], path) for path in _files(source, "*/*/*/*")}
    flat = {path: (path.parent.name, "", path) for depth in ("*/*", "*/*/*") for path in _files(source, depth)}
    files |= {path: found for path, found in flat.items() if _UID.fullmatch(path.parent.name)}
    metadata = next((folder / _METADATA for folder in (source, source.parent) if (folder / _METADATA).is_file()), None)
    if metadata is not None:
        columns = ("Series UID", "Subject ID", "File Location")
        for uid, patient, location in _columns(metadata, columns):
            try:
                folder = below(metadata.parent, location)
            except Unusable:  # as if the folder were missing
                continue
            for path in _files(folder, "*"):
                files[path] = (uid, patient, path)
    return SeriesIndex.of(files.values())


def _files(folder: Path, pattern: str) -> list[Path]:
    """List DICOM files, but for those that an operating system left there."""
    if not os.path.isdir(folder):  # noqa: PTH112  which a name that is too long does not stop
        return []
    return [path for path in sorted(folder.glob(f"{pattern}.dcm")) if not is_stray(path.relative_to(folder))]


def index_kaggle(source: Path) -> SeriesIndex:
    """Index Kaggle's mirror.

    Raises:
        InputError: its dicom_info.csv cannot be read.
    """
    columns = ("SeriesInstanceUID", "PatientID", "image_path")
    listed = (
        (uid, patient, source.joinpath(*PureWindowsPath(image).parts[-3:]))  # which reads / and \ alike
        for uid, patient, image in _columns(source / KAGGLE_INFO, columns)
        if ".." not in PureWindowsPath(image).parts
    )
    there = os.path.isfile  # which, other than a path's own, a name that is too long does not stop
    return SeriesIndex.of((uid, patient, path) for uid, patient, path in listed if there(path))


def _list(kind: str, index: SeriesIndex, descriptions: CaseDescriptions) -> Listing:
    """List the lesions that the case descriptions know, with the files that `index` has of them."""
    planned: list[Row] = []
    quarantine = list(descriptions.quarantine)
    for row in descriptions.rows:
        try:
            planned.append({**row, **_find(index, row)})
        except Unusable as reason:
            quarantine.append(Quarantined(row["listed_in"], row["listed_row"], str(reason)))
    is_cbis = any(uid.startswith(CBIS_UIDS) for uid in index.series)
    is_cbis = is_cbis or any(f"/{CBIS_UIDS}" in row["image_path"] for row in descriptions.rows)
    return Listing(
        kind,
        as_plan(planned),
        rows={table.path.name: table.count for table in descriptions.tables},
        quarantine=quarantine,
        tables=descriptions.tables,
        remarks=descriptions.remarks,
        origin=CBIS if is_cbis else UNKNOWN,
    )


def _find(index: SeriesIndex, row: Row) -> Row:
    """Find the full image and the files among which the mask is."""
    prefix = f"{'Mass' if row['lesion'] == 'mass' else 'Calc'}-{'Training' if row['split'] == 'train' else 'Test'}"
    mammogram = f"{prefix}_{row['patient']}_{row['side']}_{row['view']}"
    lesion = f"{mammogram}_{row['abnormality']}"
    images = index.find(row["image_path"], mammogram)
    if not images:
        raise Unusable(f"full image is missing: {row['image_path'] or mammogram}")
    pair = {path for column in ("mask_path", "crop_path") for path in index.find(row[column], lesion)}
    candidates = tuple(sorted(pair - set(images)))
    if not candidates:
        raise Unusable(f"mask is missing: {row['mask_path'] or lesion}")
    return {"image": lesion, "source": row["image_path"] or mammogram, "work": Lesion(images[0], candidates)}


def _columns(path: Path, names: tuple[str, ...]) -> list[tuple[str, ...]]:
    table = read_table(path)
    missing = [name for name in names if name not in table.headings]
    if missing:
        raise InputError(f"{path}: column {missing[0]!r} is missing; use the file as it came with the images")
    return [tuple(cells[name].strip() for name in names) for _, cells in table.rows]
