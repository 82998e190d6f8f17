"""Reads the gray values of one image file: DICOM, PNG, TIFF or JPEG."""

import stat
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fedmammo.cohort.dicom import is_dicom, read_dicom
from fedmammo.cohort.quarantine import Unusable

MAXIMUM_PIXELS = 100_000_000
"""The largest films of CBIS-DDSM have some 40 million; a file that declares more would take the memory of others."""
MAXIMUM_BYTES = 2**30

_FORMATS = ("PNG", "TIFF", "JPEG")
_MARKS = {
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\x89PNG": "PNG",
    b"\xff\xd8": "JPEG",
}
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = (
    258,
    262,
    339,
)  # TIFF 6.0, sections 3, 4, 19; photometric 0: white is zero


def read_gray(path: Path, tell: Callable[[str], None] = lambda text: None) -> NDArray[np.uint16]:
    """Read an image as (height, width), 0-65535, bright = dense; its format is told by its content.

    `tell` hears what was mended or ignored.

    Raises:
        Unusable: no readable gray image of at most 16 bits, one frame and `MAXIMUM_PIXELS`.
    """
    try:
        check_file(path)
        dicom = is_dicom(path)
    except OSError as error:
        raise Unusable(f"file cannot be opened: {path.name} ({error.strerror})") from error
    return read_dicom(path, MAXIMUM_PIXELS, tell) if dicom else _read_picture(path, tell)


def _frames(image: Any) -> int:
    """Count images of a file, but of a TIFF two at most: it may have millions, each of a few bytes."""
    if image.format != "TIFF":
        return getattr(image, "n_frames", 1)
    try:
        image.seek(1)
    except EOFError:
        return 1
    return 2


def check_file(path: Path) -> None:
    """Raise Unusable for a file that is too large, or a pipe, which would be waited for; OSError for a missing one."""
    state = path.stat()
    if not (stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode)):  # a folder cannot be opened, and says so
        raise Unusable(f"not a file: {path.name} is a pipe, or a device")
    if state.st_size > MAXIMUM_BYTES:
        raise Unusable(f"file is larger than {MAXIMUM_BYTES >> 20} MiB: {path.name}")


def _read_picture(path: Path, tell: Callable[[str], None]) -> NDArray[np.uint16]:
    """Read a PNG, TIFF or JPEG: the 8-bit value v becomes 257 v, so that 255 is 65535.

    It is turned as its Exif orientation says (CIPA DC-008, 4.6.4), as viewers show it.
    """
    try:
        # An open file, not its name: Pillow maps a named TIFF into memory, and turns it wrongly (13.0.0).
        with warnings.catch_warnings(action="ignore"), path.open("rb") as file:
            image: Any = Image.open(file, formats=_FORMATS)
            if image.width * image.height > MAXIMUM_PIXELS:
                raise Unusable(f"image is too large: {path.name} ({image.width}x{image.height} pixels)")
            if (frames := _frames(image)) != 1:
                raise Unusable(f"not one image: {path.name} ({frames} frames)")
            tags = image.tag_v2 if image.format == "TIFF" else {}
            white_is_zero, (bits, *_) = tags.get(_PHOTOMETRIC) == 0, tags.get(_BITS, (16,))
            if set(tags.get(_SAMPLE_FORMAT, (1,))) != {1}:
                raise Unusable(f"not an image of whole numbers from 0 on: {path.name}; save it anew as PNG")
            if not image.mode.startswith("I") and any(";16" in str(tile.args) for tile in image.tile):
                raise Unusable(f"16 bits in several channels, which are read as 8: {path.name}; save it as 16-bit gray")
            image.load()
            image = _without_wrapping(ImageOps.exif_transpose(image))
    except Image.UnidentifiedImageError as error:
        with path.open("rb") as file:
            kind = next((kind for mark, kind in _MARKS.items() if file.peek(8).startswith(mark)), None)
        if kind is not None:
            raise Unusable(f"{kind} of a kind that cannot be read: {path.name}; save it anew as PNG") from error
        raise Unusable(f"neither DICOM, PNG, TIFF nor JPEG: {path.name}") from error
    except Image.DecompressionBombError as error:
        raise Unusable(f"image is too large: {path.name}") from error
    except Unusable:
        raise
    except Exception as error:  # a damaged file makes Pillow raise almost anything
        raise Unusable(f"unreadable image: {path.name} ({type(error).__name__})") from error
    pixels = np.asarray(image)
    if image.mode == "RGB" and (pixels == pixels[:, :, :1]).all():  # gray that was saved as colour
        pixels = pixels[:, :, 0]
    if pixels.ndim == 2 and pixels.dtype in (np.bool_, np.uint8) and image.mode in ("1", "L", "RGB"):
        return pixels.astype(np.uint16) * np.uint16(65535 if pixels.dtype == np.bool_ else 257)
    if image.mode.startswith("I;16"):
        values = pixels.astype(np.uint16)
        if bits == 16 and 255 < values.max() < 4096:
            tell("16 bits of which no value needs more than 12: dark, if others have 16")
        if bits == 12:
            values = np.rint(values * (65535 / 4095)).astype(np.uint16)
        return 65535 - values if white_is_zero else values  # Pillow inverts those of 8 bits and fewer
    raise Unusable(f"not a gray image of 8 or 16 bits: {path.name} (mode {image.mode}); save it as gray PNG")


def _without_wrapping(image: Any) -> Any:
    """Take gray out of a palette, or from under an alpha channel that hides nothing."""
    if image.mode in ("LA", "RGBA") and image.getchannel("A").getextrema() == (255, 255):
        return image.convert(image.mode.removesuffix("A"))
    return image.convert("RGB") if image.mode == "P" else image
