"""Which breast a DICOM file shows, and in which view, by its header."""

import warnings
from pathlib import Path
from typing import Any

import pydicom
from pydicom.uid import DeflatedExplicitVRLittleEndian

from fedmammo.cohort.gray import check_file
from fedmammo.cohort.quarantine import Unusable
from fedmammo.cohort.readers.fields import side

_TAGS = ["ImageLaterality", "Laterality", "ViewPosition", "ViewCodeSequence"]
_VIEWS = {
    **dict.fromkeys(("CC", "CRANIO-CAUDAL", "R-10242", "399162004"), "CC"),
    **dict.fromkeys(("MLO", "MEDIO-LATERAL OBLIQUE", "R-10226", "399368009"), "MLO"),
}
"""Names and codes of views: DICOM PS3.16, CID 4014, by SNOMED RT and CT."""


def side_and_view(path: Path) -> tuple[str, str | None]:
    """Read side and view, but not the image; the view is None where it is none of the manifest's.

    Raises:
        Unusable: the file is no readable DICOM, or its header names no breast, or both.
    """
    try:
        check_file(path)
        with warnings.catch_warnings(action="ignore"):
            syntax = pydicom.filereader.read_file_meta_info(path).get("TransferSyntaxUID")
            if syntax == DeflatedExplicitVRLittleEndian:  # a small file may inflate to any size
                raise Unusable(f"DICOM is deflated as a whole: {path.name}; write it anew without")
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
            said = str(header.get("ImageLaterality") or header.get("Laterality") or "")
            codes: Any = header.get("ViewCodeSequence") or []
            views = [header.get("ViewPosition")]
            views += [code.get(key) for code in codes for key in ("CodeValue", "CodeMeaning")]
    except Unusable:
        raise
    except Exception as error:  # a damaged file makes pydicom raise almost anything
        raise Unusable(f"unreadable DICOM: {path.name} ({type(error).__name__})") from error
    if said not in ("L", "R"):
        raise Unusable(f"no breast in the header: ImageLaterality and Laterality say {said!r}")
    known = (_VIEWS.get(str(view).strip().upper()) for view in views)
    return side(said), next((view for view in known if view is not None), None)
