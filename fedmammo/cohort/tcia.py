"""Reads a classic TCIA tree of CBIS-DDSM: cuts a patch around every lesion that the case descriptions list.

<PatientID folder>/<StudyUID>/<SeriesUID>/1-1.dcm, full image in one folder, crop and mask in another. The CSV's
folders hold, its file names do not: any .dcm in the folder is taken. The CSV also swaps mask and crop in places, so
the mask is told from the crop by what it is.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedmammo.cohort.dicom import read_gray
from fedmammo.cohort.patch import cut_patch
from fedmammo.cohort.quarantine import Quarantined, Row, Unusable

_FOLDERS = ("Mass-Training_P_*", "Mass-Test_P_*", "Calc-Training_P_*", "Calc-Test_P_*")


class TciaTree:
    """A classic TCIA tree.

    Attributes:
        plan: one row per lesion and view whose files are there, as `write_cohort` expects it.
        quarantine: rows whose files are missing.
        notes: image → what was mended in it.
    """

    kind = "TCIA tree"

    @staticmethod
    def recognises(source: Path) -> bool:
        """Whether `source` has this layout."""
        return any(path.is_dir() for pattern in _FOLDERS for path in source.glob(pattern))

    def __init__(self, source: Path, descriptions: pd.DataFrame) -> None:
        self.source = source
        self.quarantine: list[Quarantined] = []
        self.notes: dict[str, str] = {}
        self._last: tuple[Path, NDArray[np.uint16]] | None = None
        planned = []
        for row in descriptions.to_dict("records"):
            try:
                planned.append({**row, **self._find(row)})
            except Unusable as reason:
                self.quarantine.append(Quarantined(row["table"], row["table_row"], str(reason)))
        columns = [*descriptions.columns, "image", "source", "candidates"]
        self.plan = pd.DataFrame(planned, columns=columns).rename(
            columns={"table": "listed_in", "table_row": "listed_row"}
        )

    def read(self, row: Row, size: int) -> NDArray[np.uint16]:
        """Cut one lesion's patch out of its mammogram.

        Raises:
            Unusable: the full image cannot be read, or no readable file is its mask.
        """
        image = self._full_image(self.source / row["source"])
        mask = _choose_mask(row["candidates"], image.shape)
        if mask.shape != image.shape:
            self.notes[row["image"]] = f"mask resized from {_size(mask.shape)} to {_size(image.shape)}"
        return cut_patch(image, mask, size)

    def _find(self, row: Row) -> Row:
        """Find the full image and the files among which the mask is."""
        images = self._beside(row["image_path"])
        if not images:
            raise Unusable(f"full image is missing: {row['image_path']}")
        candidates = sorted({*self._beside(row["mask_path"]), *self._beside(row["crop_path"])} - set(images))
        if not candidates:
            raise Unusable(f"mask is missing: {row['mask_path']}")
        prefix = f"{'Mass' if row['lesion'] == 'mass' else 'Calc'}-{'Training' if row['split'] == 'train' else 'Test'}"
        name = f"{prefix}_{row['patient']}_{row['side']}_{row['view']}_{row['abnormality']}"
        return {"image": name, "source": images[0].relative_to(self.source).as_posix(), "candidates": candidates}

    def _beside(self, path: str) -> list[Path]:
        return sorted((self.source / path).parent.glob("*.dcm")) if path else []

    def _full_image(self, path: Path) -> NDArray[np.uint16]:
        """The mammogram; the last one is kept, because lesions of one mammogram follow each other in the CSV."""
        if self._last is None or self._last[0] != path:
            self._last = path, read_gray(path)
        return self._last[1]


def _choose_mask(candidates: list[Path], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Tell the mask from the crop: it has two values, or the full image's shape, or at best both."""
    masks, unreadable = [], []
    for path in candidates:
        try:
            pixels = read_gray(path)
        except Unusable as reason:
            unreadable.append(str(reason))
            continue
        low, high = int(pixels.min()), int(pixels.max())
        two_values = bool(np.all((pixels == low) | (pixels == high)))
        if two_values or pixels.shape == shape:
            lesion = pixels > (low + high) // 2  # half-way also serves a mask that lossy compression blurred
            masks.append(((two_values, pixels.shape == shape, pixels.size), lesion))
    if not masks:
        raise Unusable(unreadable[0] if unreadable else "no mask among the files of mask and crop")
    return max(masks, key=lambda mask: mask[0])[1]


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in shape)
