"""The sources that are known: what each looks like, and which file reads it.

A reader is one file: a function that recognises its source by names alone, one that lists it, and a line here.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from fedmammo.cohort.options import Options
from fedmammo.cohort.readers.bcdr import list_bcdr, recognises_bcdr
from fedmammo.cohort.readers.cbis_tree import list_kaggle, list_tree, recognises_kaggle, recognises_tree
from fedmammo.cohort.readers.class_folders import list_class_folders, recognises_class_folders
from fedmammo.cohort.readers.cmmd import list_cmmd, recognises_cmmd
from fedmammo.cohort.readers.embed import list_embed, recognises_embed
from fedmammo.cohort.readers.inbreast import list_inbreast, recognises_inbreast
from fedmammo.cohort.readers.listing import Listing
from fedmammo.cohort.readers.patch_folder import list_patches, recognises_patches
from fedmammo.cohort.readers.plain_table import list_plain_table
from fedmammo.cohort.readers.vindr_mammo import list_vindr, recognises_vindr
from fedmammo.errors import InputError


class Reader(NamedTuple):
    """How one kind of folder is read.

    Attributes:
        layout: what the folder holds, for whoever named another.
        recognises: tells by the names in a folder whether it is of this kind.
        listed: lists it.
    """

    layout: str
    recognises: Callable[[Path], bool]
    listed: Callable[[Path, Options], Listing]


READERS = (
    Reader("a folder of patches (train|val|test/is_benign_true|false/)", recognises_patches, list_patches),
    Reader("Kaggle's mirror of CBIS-DDSM (csv/dicom_info.csv)", recognises_kaggle, list_kaggle),
    Reader("VinDr-Mammo (finding_annotations.csv)", recognises_vindr, list_vindr),
    Reader("INbreast (INbreast.csv, AllDICOMs/)", recognises_inbreast, list_inbreast),
    Reader("CMMD (manifest-*/CMMD/, CMMD_clinicaldata_revision.xlsx)", recognises_cmmd, list_cmmd),
    Reader("EMBED (tables/EMBED_OpenData_metadata.csv)", recognises_embed, list_embed),
    Reader("BCDR (bcdr_..._outlines.csv)", recognises_bcdr, list_bcdr),
    Reader(
        "a TCIA tree (folders Mass-Training_P_..., Calc-Test_P_... or <SeriesUID>, or metadata.csv)",
        recognises_tree,
        list_tree,
    ),
    Reader("folders of classes ([train|val|test/]benign|malignant/)", recognises_class_folders, list_class_folders),
)
"""In the order in which they are asked: metadata.csv, by which a TCIA tree is known, is in other sources too."""


def list_source(source: Path, options: Options) -> Listing:
    """Find out what a source is, and list it.

    Raises:
        InputError: it is nothing that is known, or its tables are missing or lack a column.
    """
    if source.is_file():
        with source.open("rb") as file:
            start = file.read(132)
        if start[:2] == b"PK" and source.suffix.lower() != ".xlsx":
            raise InputError(f"{source}: is packed; unpack it, and name the folder")
        if start[128:] == b"DICM":
            raise InputError(f"{source}: is one DICOM file; name its folder, or a table that lists it")
        return list_plain_table(source)
    if not source.is_dir():
        raise InputError(f"{source}: no such file or folder; name the table, or the folder that holds the images")
    reader = next((reader for reader in READERS if reader.recognises(source)), None)
    if reader is None:
        layouts = ", ".join(known.layout for known in READERS)
        raise InputError(
            f"{source}: expected {layouts}, or a table (.csv, .parquet); name the folder that directly holds them"
        )
    return reader.listed(source, options)
