"""Cuts the square around a lesion out of a mammogram and brings it to the cohort's patch size."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedmammo.cohort.quarantine import Unusable

MARGIN = 0.2
"""Added to the larger side of the lesion's bounding box, as a share of it: a mass shows its margins there."""
MINIMUM_SIDE = 128
"""Pixels of the mammogram; a smaller lesion is not magnified beyond this."""
_MAXIMUM_SIDE = 16_384
"""A square of more pixels would take gigabytes."""


class Box(NamedTuple):
    """A rectangle of pixels: left and top belong to it, right and bottom are the first that do not."""

    left: int
    top: int
    right: int
    bottom: int


def bounding_box(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> Box:
    """The box around everything that a mask holds, in a mammogram of this shape (height, width).

    Several contours are one abnormality. A mask of another shape is first resized, nearest neighbour.

    Raises:
        Unusable: the mask is empty.
    """
    if mask.shape != shape:
        height, width = shape
        resized = Image.fromarray(mask.astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST)
        mask = np.asarray(resized).astype(bool)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        raise Unusable("mask is empty")
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def cut_patch(image: NDArray[np.uint16], box: Box, size: int, margin: float = MARGIN) -> NDArray[np.uint16]:
    """Cut the square around a lesion and resample it to (size, size).

    The square is centred on the box; its side is the larger side of the box plus `margin`, at least `MINIMUM_SIDE`.
    What lies outside the mammogram is 0.

    Args:
        image: (height, width), 0-65535, tissue bright.
        box: the lesion's bounding box.
        size: side of the patch in pixels.
        margin: share of the box's larger side, at least 0.

    Raises:
        Unusable: the box is empty or not inside the image, or the square is wider than 16384 pixels.
    """
    height, width = image.shape
    if box.left >= box.right or box.top >= box.bottom:
        raise Unusable(
            f"box is empty or reversed: {tuple(box)}; left, top, right, bottom are expected, no width or height"
        )
    if not (0 <= box.left < box.right <= width and 0 <= box.top < box.bottom <= height):
        raise Unusable(f"box is not inside the image: {tuple(box)} in {width}x{height}")
    side = max(MINIMUM_SIDE, round((1 + margin) * max(box.bottom - box.top, box.right - box.left)))
    return _square(image, box, side, size)


def whole_patch(image: NDArray[np.uint16], size: int) -> NDArray[np.uint16]:
    """Make a patch of a whole image: padded with zeros to a square, centred, and resampled to (size, size).

    Raises:
        Unusable: the image is longer than 16384 pixels.
    """
    height, width = image.shape
    return _square(image, Box(0, 0, width, height), max(height, width), size)


def resize(square: NDArray[np.uint16], size: int) -> NDArray[np.uint16]:
    """Resample a square of 16-bit gray values to (size, size), antialiased where it shrinks.

    Pillow's bilinear kernel widens with the reduction, and its weights are positive: no value leaves the range of
    its neighbours, so a bright calcification gets no dark ring.
    """
    if square.shape == (size, size):
        return square
    resized = Image.fromarray(square.astype(np.float32)).resize((size, size), Image.Resampling.BILINEAR)
    return np.rint(np.asarray(resized)).astype(np.uint16)


def _square(image: NDArray[np.uint16], box: Box, side: int, size: int) -> NDArray[np.uint16]:
    """The square of this side around the centre of a box, zero outside the image, resampled."""
    if side > _MAXIMUM_SIDE:
        raise Unusable(f"patch is too large: {side} pixels wide, at most {_MAXIMUM_SIDE}")
    height, width = image.shape
    top, left = (box.top + box.bottom - side) // 2, (box.left + box.right - side) // 2
    rows, columns = (slice(max(first, 0), min(first + side, end)) for first, end in ((top, height), (left, width)))
    window = np.zeros((side, side), np.uint16)
    window[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = image[rows, columns]
    return resize(window, size)
