"""From the files of one mammogram to the patches of its lesions: what a reading process does."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmammo.cohort.gray import read_gray
from fedmammo.cohort.patch import Box, bounding_box, cut_patch, whole_patch
from fedmammo.cohort.quarantine import Unusable

_NEAR = 65535 // 8  # lossy compression blurs a mask's two values into two narrow bands
_CONTRAST = 65535 // 4
_SHARE = 0.98


@dataclass(frozen=True)
class Lesion:
    """Where a lesion is to be seen.

    Attributes:
        file: the mammogram, or a patch.
        candidates: files among which the lesion's mask is; the others are crops.
        box: the lesion's bounding box, where no mask is needed. Without mask and box the whole file is the patch.
    """

    file: Path
    candidates: tuple[Path, ...] = ()
    box: Box | None = None


class Outcome(NamedTuple):
    """What became of a lesion.

    Attributes:
        patch: (size, size), uint16, 0-65535; None where it is unusable.
        text: what was mended, or why it is unusable.
    """

    patch: NDArray[np.uint16] | None
    text: str | None


def read_lesions(lesions: list[Lesion], size: int, margin: float) -> list[Outcome]:
    """Read the patches of lesions that share one file, which is opened once."""
    notes: list[str] = []
    try:
        image = read_gray(lesions[0].file, notes.append)
    except Unusable as reason:
        return [Outcome(None, str(reason))] * len(lesions)
    return [_read_lesion(lesion, image, size, margin, notes) for lesion in lesions]


def _read_lesion(lesion: Lesion, image: NDArray[np.uint16], size: int, margin: float, notes: list[str]) -> Outcome:
    told = list(notes)
    try:
        if lesion.box is not None:
            patch = cut_patch(image, lesion.box, size, margin)
        elif not lesion.candidates:
            patch = whole_patch(image, size)
        else:
            mask = choose_mask(lesion.candidates, image.shape)
            if mask.shape != image.shape:
                told.append(f"mask resized from {_size(mask.shape)} to {_size(image.shape)}")
            patch = cut_patch(image, bounding_box(mask, image.shape), size, margin)
        if patch.min() == patch.max():
            raise Unusable(f"patch has no contrast: {lesion.file.name} (a box beside the breast, or a window far off)")
        return Outcome(patch, "; ".join(told) or None)
    except Unusable as reason:
        return Outcome(None, str(reason))


def choose_mask(candidates: tuple[Path, ...], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Tell the mask from the crop by what they are: a mask has two values, or the full image's shape, or both.

    Lossy compression leaves more than two values: a file whose pixels are nearly all near its lowest or its highest
    value counts as one of two values, where these differ widely.

    Raises:
        Unusable: none of the files is a mask, or none can be read.
    """
    masks, unreadable = [], []
    for path in candidates:
        try:
            pixels = read_gray(path)
        except Unusable as reason:
            unreadable.append(str(reason))
            continue
        two_values, lesion = _as_mask(pixels)
        if two_values or pixels.shape == shape:
            masks.append(((two_values, pixels.shape == shape, pixels.size), lesion))
    if not masks:
        raise Unusable(unreadable[0] if unreadable else "no mask among the files of mask and crop")
    return max(masks, key=lambda mask: mask[0])[1]


def _as_mask(pixels: NDArray[np.uint16]) -> tuple[bool, NDArray[np.bool_]]:
    """Whether an image has two values, and where it has the higher one."""
    low, high = int(pixels.min()), int(pixels.max())
    lesion = pixels > (low + high) // 2
    if low < high and ((pixels == low) | (pixels == high)).all():
        return True, lesion
    if high - low < _CONTRAST:
        return False, np.zeros_like(lesion)  # black, but for the traces of compression
    return bool(((pixels < low + _NEAR) | (pixels > high - _NEAR)).mean() >= _SHARE), lesion


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in shape)
