"""Reads the gray values of one DICOM file, whatever its bit depth, photometric interpretation and compression."""

import struct
import warnings
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import get_frame
from pydicom.pixels import apply_modality_lut, apply_voi_lut, get_decoder
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from fedmammo.cohort.quarantine import Unusable

_FRAME_HEADERS = {0xF7, *range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do (PS3.10, 7.1). Raises OSError where it cannot be opened."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def read_dicom(path: Path, maximum_pixels: int) -> NDArray[np.uint16]:
    """Read a DICOM image as (height, width), 0-65535, bright = dense, as its header says it is to be shown.

    DICOM PS3.3: stored values pass the modality transformation (C.11.1: a table, or slope and intercept) and the first
    VOI transformation (C.11.2: a table or a window), where there are any; the lowest and highest values that the
    header allows become 0 and 65535. In MONOCHROME1 the lowest value is white (C.7.6.3.1.2), so it is inverted.

    Raises:
        Unusable: no readable single-frame gray image of at most 16 bits and `maximum_pixels`.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # the caller learns what matters from the outcome
            return _read(path, maximum_pixels)
    except Unusable:
        raise
    except Exception as error:  # a damaged file makes pydicom raise almost anything
        raise Unusable(f"unreadable DICOM: {path.name} ({_one_line(error)})") from error


def _read(path: Path, maximum_pixels: int) -> NDArray[np.uint16]:
    syntax = pydicom.filereader.read_file_meta_info(path).get("TransferSyntaxUID")
    if syntax == DeflatedExplicitVRLittleEndian:  # a small file may inflate to any size
        raise Unusable(f"DICOM is deflated as a whole: {path.name}; write it anew without")
    dataset = pydicom.dcmread(path)
    if "PixelData" not in dataset:
        raise Unusable(f"DICOM without an image: {path.name}")
    bits, signed = int(dataset.BitsStored), int(dataset.PixelRepresentation)
    interpretation, frames = str(dataset.PhotometricInterpretation), int(dataset.get("NumberOfFrames") or 1)
    if not interpretation.startswith("MONOCHROME") or int(dataset.SamplesPerPixel) != 1 or not 1 <= bits <= 16:
        raise Unusable(f"not a gray image of at most 16 bits: {path.name} ({interpretation}, {bits} bits)")
    if frames != 1:
        raise Unusable(f"not one image: {path.name} ({frames} frames)")
    if int(dataset.Rows) * int(dataset.Columns) > maximum_pixels:
        raise Unusable(f"image is too large: {path.name} ({dataset.Columns}x{dataset.Rows} pixels)")
    if syntax is not None and syntax.is_compressed and not get_decoder(syntax).is_available:
        raise Unusable(f"no decoder for {syntax.name}: {path.name}; install the extra fedmammo[dicom]")
    if syntax is not None and syntax.is_compressed and syntax != RLELossless:
        declared = _code_stream_size(get_frame(dataset.PixelData, 0, number_of_frames=1))
        if declared != (dataset.Rows, dataset.Columns):  # decoders take memory for what the code stream declares
            raise Unusable(f"unreadable DICOM: {path.name} (its code stream and its header differ in size)")
    pixels = dataset.pixel_array
    lowest = -(2 ** (bits - 1)) if signed else 0
    stored = np.arange(lowest, lowest + 2**bits, dtype=np.int32)
    shown = _as_shown(stored, dataset)
    if interpretation == "MONOCHROME1":
        shown = 65535 - shown
    if not signed:
        if bits == 16 and np.array_equal(shown, stored):  # every value is shown as it is
            return pixels.astype(np.uint16, copy=False)
        return shown.take(pixels, mode="clip")
    return shown[np.clip(pixels.astype(np.int32), lowest, stored[-1]) - lowest]


def _code_stream_size(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns that a JPEG, JPEG-LS or JPEG 2000 code stream declares; None where it is none of these.

    ITU-T T.81, B.2.2 (frame header), and T.87, C.1.1, alike; T.800, A.5.1 (SIZ).
    """
    if frame[:4] == b"\xff\x4f\xff\x51":
        right, bottom, left, top = struct.unpack_from(">IIII", frame, 8)
        return bottom - top, right - left
    at = 2
    while at + 9 <= len(frame) and frame[at] == 0xFF:
        marker, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        if marker in _FRAME_HEADERS:
            rows, columns = struct.unpack_from(">HH", frame, at + 5)
            return rows, columns
        at += 1 if marker == 0xFF else 2 + length  # 0xFF may be repeated before a marker
    return None


def _as_shown(stored: NDArray[np.int32], dataset: pydicom.Dataset) -> NDArray[np.uint16]:
    """What each stored value becomes: at most 65536 of them, so that an image is one look-up."""
    values = apply_modality_lut(stored, dataset)
    if "VOILUTSequence" in dataset:
        values = np.rint(values).astype(np.int32)  # a table is looked up by whole numbers
    values = np.asarray(apply_voi_lut(values, dataset), np.float64)
    low, high = values.min(), values.max()
    if not np.isfinite([low, high]).all() or low == high:
        raise Unusable("DICOM header shows all values alike: rescale, window or look-up table")
    return np.floor((values - low) * 65535 / (high - low) + 0.5).astype(np.uint16)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
