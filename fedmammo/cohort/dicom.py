"""Reads the gray values of one DICOM file, whatever its bit depth and photometric interpretation."""

import warnings
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray

from fedmammo.cohort.quarantine import Unusable


def read_gray(path: Path) -> NDArray[np.uint16]:
    """Read a DICOM image as (height, width), scaled from its stored bits to 0-65535, bright = dense.

    DICOM PS3.3 C.7.6.3.1.2: in MONOCHROME1 the lowest value is white, so it is inverted.

    Raises:
        Unusable: no readable, unsigned, single-frame gray image of at most 16 bits.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # the caller learns what matters from the outcome
            dataset = pydicom.dcmread(path)
            bits, signed = int(dataset.BitsStored), int(dataset.PixelRepresentation)
            interpretation = str(dataset.PhotometricInterpretation)
            pixels = dataset.pixel_array
    except Exception as error:  # a damaged file makes pydicom raise almost anything
        raise Unusable(f"unreadable DICOM: {path.name} ({_one_line(error)})") from error
    if not interpretation.startswith("MONOCHROME") or pixels.ndim != 2 or signed or not 1 <= bits <= 16:
        kind = f"{interpretation}, {pixels.ndim} axes, {bits} bits{' signed' if signed else ''}"
        raise Unusable(f"not a gray image of at most 16 unsigned bits: {path.name} ({kind})")
    highest = 2**bits - 1
    gray = np.minimum(pixels.astype(np.uint32), highest)  # 32 bits hold 65535 * 65535
    gray = (gray * 65535 + highest // 2) // highest
    return (65535 - gray if interpretation == "MONOCHROME1" else gray).astype(np.uint16)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
