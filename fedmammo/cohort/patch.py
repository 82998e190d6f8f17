"""Cuts the square around a lesion out of a mammogram and brings it to the cohort's patch size."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedmammo.cohort.quarantine import Unusable

MARGIN = 0.2
"""Added to the larger side of the lesion's bounding box, as a share of it: a mass shows its margins there."""
MINIMUM_SIDE = 128
"""Pixels of the mammogram; a smaller lesion is not magnified beyond this."""


def cut_patch(image: NDArray[np.uint16], mask: NDArray[np.bool_], size: int) -> NDArray[np.uint16]:
    """Cut the square around the lesion and resample it to (size, size).

    The square is centred on the mask's bounding box; its side is the larger side of the box plus `MARGIN`, at least
    `MINIMUM_SIDE`. What lies outside the mammogram is 0.

    Args:
        image: (height, width), 0-65535, tissue bright.
        mask: (height', width'), true inside the lesion; brought to the image's shape where it differs.
        size: side of the patch in pixels.

    Raises:
        Unusable: the mask is empty.
    """
    top, bottom, left, right = _bounding_box(_as_shape(mask, image.shape))
    side = max(MINIMUM_SIDE, round((1 + MARGIN) * max(bottom - top, right - left)))
    return resize(_window(image, (top + bottom - side) // 2, (left + right - side) // 2, side), size)


def resize(square: NDArray[np.uint16], size: int) -> NDArray[np.uint16]:
    """Resample a square of 16-bit gray values to (size, size), antialiased where it shrinks.

    Pillow's bilinear kernel widens with the reduction, and its weights are positive: no value leaves the range of
    its neighbours, so a bright calcification gets no dark ring.
    """
    if square.shape == (size, size):
        return square
    resized = Image.fromarray(square.astype(np.float32)).resize((size, size), Image.Resampling.BILINEAR)
    return np.rint(np.asarray(resized)).astype(np.uint16)


def _as_shape(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    if mask.shape == shape:
        return mask
    height, width = shape
    resized = Image.fromarray(mask.astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(resized).astype(bool)


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Top, bottom, left, right; bottom and right exclusive."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        raise Unusable("mask is empty")
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _window(image: NDArray[np.uint16], top: int, left: int, side: int) -> NDArray[np.uint16]:
    window = np.zeros((side, side), np.uint16)
    height, width = image.shape
    first_row, last_row = max(top, 0), min(top + side, height)
    first_column, last_column = max(left, 0), min(left + side, width)
    window[first_row - top : last_row - top, first_column - left : last_column - left] = image[
        first_row:last_row, first_column:last_column
    ]
    return window
