"""Reads a folder of lesion patches in the reference study's layout and joins it to the case descriptions.

{train,val,test}/is_benign_{true,false}/patientcbis-ddsm__P_00068_image<digits>_mass<k>_is_benign_<0|1>.png, as
published with arXiv 2407.12669. <digits> is the last component of the mammogram's SeriesInstanceUID; <k> is a running
number which follows, within a mammogram, the row order of the case description.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from fedmammo.cohort.patch import resize
from fedmammo.cohort.quarantine import Quarantined, Row, Unusable
from fedmammo.cohort.store import SPLITS

_NAME = re.compile(r"patientcbis-ddsm__(P_\d+)_image(\d+)_mass(\d+)_is_benign_([01])\.png")
_LESION_SPECIFIC = ("abnormality", "assessment", "subtlety", "shape", "margins")
_FOLDERS = {f"{split}/is_benign_{benign}": (split, benign) for split in SPLITS for benign in ("true", "false")}


class PatchFolder:
    """A folder of 8-bit patches.

    Attributes:
        plan: one row per patch that the case descriptions know, as `write_cohort` expects it.
        quarantine: files that cannot be used.
        notes: image → what is not known of it, and why.
    """

    kind = "patch folder"

    @staticmethod
    def recognises(source: Path) -> bool:
        """Whether `source` has this layout."""
        return any((source / folder).is_dir() for folder in _FOLDERS)

    def __init__(self, source: Path, descriptions: pd.DataFrame) -> None:
        self.source = source
        self.quarantine: list[Quarantined] = []
        self.notes: dict[str, str] = {}
        masses = descriptions[descriptions["lesion"] == "mass"]
        digits = masses["image_path"].str.split("/").str[-2].str.split(".").str[-1]
        rows_of = {str(name): rows for name, rows in masses.groupby(digits, sort=False)}
        planned: list[Row] = []
        for (_, name), patches in self._files().groupby(["split", "digits"], sort=False):
            rows = rows_of.get(str(name), masses.iloc[:0]).to_dict("records")
            for position, patch in enumerate(patches.sort_values("k").to_dict("records")):
                try:
                    row = _describe(patch, rows, position, len(patches))
                except Unusable as reason:
                    self.quarantine.append(Quarantined(patch["source"], None, str(reason)))
                    continue
                image = f"{patch['patient']}_image{name}_mass{patch['k']}"
                planned.append({**row, **patch, "image": image})
                if len(rows) != len(patches):
                    self.notes[image] = f"patches {len(patches)}, CSV rows {len(rows)}: lesion's own fields stay empty"
        columns = [*descriptions.columns, "image", "source"]
        self.plan = pd.DataFrame(planned, columns=columns).assign(
            listed_in=lambda plan: plan["source"], listed_row=None
        )

    def read(self, row: Row, size: int) -> NDArray[np.uint16]:
        """Read one patch: the 8-bit value v becomes 257 v, so that 255 is 65535.

        Raises:
            Unusable: the file is no square 8-bit gray PNG.
        """
        try:
            with Image.open(self.source / row["source"], formats=["PNG"]) as image:
                image.load()
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise Unusable(f"unreadable PNG: {type(error).__name__}") from error
        if image.mode != "L" or image.width != image.height:
            raise Unusable(f"not a square 8-bit gray PNG: mode {image.mode}, {image.width}x{image.height}")
        return resize(np.asarray(image).astype(np.uint16) * np.uint16(257), size)

    def _files(self) -> pd.DataFrame:
        files = []
        for folder, (split, benign) in _FOLDERS.items():
            for path in sorted((self.source / folder).glob("[!.]*")):
                name, source = _NAME.fullmatch(path.name), f"{folder}/{path.name}"
                if name is None:
                    expected = "expected patientcbis-ddsm__P_..._image<digits>_mass<k>_is_benign_<0|1>.png"
                    self.quarantine.append(Quarantined(source, None, f"name does not parse: {expected}"))
                else:
                    files.append((split, benign == "false", name[4] == "0", name[1], name[2], int(name[3]), source))
        columns = ["split", "malignant", "named_malignant", "patient", "digits", "k", "source"]
        return pd.DataFrame(files, columns=columns).sort_values(["patient", "digits", "k"])


def _describe(patch: Row, rows: list[Row], position: int, patches: int) -> Row:
    """Find the row that describes the patch at this position among a mammogram's patches.

    Where patches and rows differ in number nobody knows which is which: what holds for all rows is kept, the
    lesion's own fields stay empty.
    """
    if patch["named_malignant"] != patch["malignant"]:
        raise Unusable("label of the name and of the folder disagree")
    if not rows:
        raise Unusable("no CSV row for this mammogram")
    if patch["patient"] not in {row["patient"] for row in rows}:
        raise Unusable(f"patient disagrees with the CSV: it says {rows[0]['patient']}")
    matched = len(rows) == patches
    fitting = [
        row for row in (rows[position : position + 1] if matched else rows) if row["malignant"] == patch["malignant"]
    ]
    pathologies = {row["pathology"] for row in fitting}
    if not pathologies:
        raise Unusable("label disagrees with the CSV")
    if len(pathologies) > 1:
        raise Unusable(f"pathology is ambiguous: {patches} patches for {len(rows)} CSV rows of this mammogram")
    return fitting[0] if matched else {**fitting[0], **dict.fromkeys(_LESION_SPECIFIC)}
