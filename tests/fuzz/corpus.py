"""The corpus: every bad file, built by code."""

from tests.fuzz import dicom_files, folder_files, picture_files, table_files, text_files, tree_files
from tests.fuzz.entries import Entry

CORPUS: dict[str, Entry] = {
    entry.name: entry
    for part in (dicom_files, picture_files, table_files, tree_files, text_files, folder_files)
    for entry in part.ENTRIES
}
