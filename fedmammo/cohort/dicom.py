"""Reads the gray values of one DICOM file, whatever its bits, photometric interpretation and compression."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, get_frame
from pydicom.filereader import read_dataset
from pydicom.pixels import get_decoder
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
    RLELossless,
)

from fedmammo.cohort.code_stream import code_stream_of, frame_of, too_many_parts
from fedmammo.cohort.quarantine import Unusable
from fedmammo.cohort.shown import shown_values

Tell = Callable[[str], None]
"""Is told what was mended or ignored, in a few words."""
_LOSSY = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000)
_ALL_BITS: dict[str, Any] = {"correct_unused_bits": False}
_BEYOND = 0.5
"""Overlays cover less of an image than this; more is an image of more bits than its header says."""


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do (PS3.10, 7.1), or, without a preamble, as their data sets do.

    Raises OSError where it cannot be opened.
    """
    with path.open("rb") as file:
        start = file.read(132)
    return start[128:] == b"DICM" or _begins_a_data_set(start)


def _begins_a_data_set(start: bytes) -> bool:
    """Whether these are a first element of group 2 or 8: with a value representation, or with a short length."""
    if start[:2] not in (b"\2\0", b"\x08\0") or start[3:4] != b"\0":
        return False
    return start[4:6] in (b"UL", b"UI", b"CS", b"OB", b"DA", b"SH", b"LO") or (
        start[5:8] == b"\0\0\0" and 0 < start[4] < 128
    )


def read_dicom(path: Path, maximum_pixels: int, tell: Tell) -> NDArray[np.uint16]:
    """Read a DICOM image as (height, width), 0-65535, bright = dense, as its header says it is to be shown.

    PS3.5, 8.1.1: a value is `BitsStored` bits of its cell, the highest of which is `HighBit`; other bits may hold
    overlays. In a code stream the cells have the code stream's own precision. What a value becomes: see `shown`.

    Raises:
        Unusable: no readable single-frame gray image of at most 16 bits and `maximum_pixels`.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # the caller learns what matters from the outcome
            return _read(path, maximum_pixels, tell)
    except Unusable:
        raise
    except Exception as error:  # a damaged file makes pydicom raise almost anything
        raise Unusable(f"unreadable DICOM: {path.name} ({_one_line(error)})") from error


def _read(path: Path, maximum_pixels: int, tell: Tell) -> NDArray[np.uint16]:
    dataset, syntax = _open(path)
    if "PixelData" not in dataset:
        raise Unusable(f"DICOM without an image: {path.name}")
    bits, allocated = int(dataset.BitsStored), int(dataset.BitsAllocated)
    interpretation, frames = str(dataset.PhotometricInterpretation), int(dataset.get("NumberOfFrames") or 1)
    if interpretation not in ("MONOCHROME1", "MONOCHROME2") or int(dataset.SamplesPerPixel) != 1 or not 1 <= bits <= 16:
        raise Unusable(f"not a gray image of at most 16 bits: {path.name} ({interpretation}, {bits} bits)")
    if frames != 1:
        raise Unusable(f"not one image: {path.name} ({frames} frames)")
    if int(dataset.Rows) * int(dataset.Columns) > maximum_pixels:
        raise Unusable(f"image is too large: {path.name} ({dataset.Columns}x{dataset.Rows} pixels)")
    if syntax.is_compressed and not get_decoder(syntax).is_available:
        raise Unusable(f"no decoder for {syntax.name}: {path.name}; install the extra fedmammo[dicom]")
    if syntax.is_compressed and syntax != RLELossless:
        stream = code_stream_of(get_frame(dataset.PixelData, 0, number_of_frames=1))
        found = frame_of(stream)  # decoders take memory for what the code stream declares
        if found is None or (found.rows, found.columns, found.components) != (dataset.Rows, dataset.Columns, 1):
            raise Unusable(f"unreadable DICOM: {path.name} (its code stream and its header differ in size)")
        if too_many_parts(stream):
            raise Unusable(f"unreadable DICOM: {path.name} (its code stream has more parts than an image needs)")
        dataset.PixelData = encapsulate([stream])
        allocated = found.bits
    words, _ = get_decoder(syntax).as_array(dataset, raw=True, **_ALL_BITS)
    if words.ndim != 2:  # more pixels than rows and columns say are taken for frames
        raise Unusable(f"not one image: {path.name} (its pixels are those of {len(words)} frames)")
    high = int(dataset.HighBit) if dataset.get("HighBit") is not None else bits - 1
    shift = high + 1 - bits if allocated > bits else 0
    signed = int(dataset.PixelRepresentation) == 1
    patterns = _bits_of(words, bits, shift, signed, syntax in _LOSSY, path.name)
    if str(dataset.get("PresentationIntentType")) == "FOR PROCESSING":
        tell("raw image, not for presentation")
    _lift(dataset)
    shown = shown_values(dataset, tell)  # of the lowest value, which is negative where signed, to the highest
    table = np.roll(shown, -len(shown) // 2) if signed else shown
    if bits == 16 and np.array_equal(table, np.arange(2**16)):  # every value is shown as it is
        return patterns.astype(np.uint16, copy=False)
    return table[patterns]


def _lift(dataset: pydicom.Dataset) -> None:
    """Lift an enhanced object's transformations (PS3.3, C.7.6.16) to where other objects have them."""
    for groups in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        for group in dataset.get(groups) or []:
            for macro in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
                for item in group.get(macro) or []:
                    for element in item:
                        if element.tag not in dataset:
                            dataset.add(element)


def _open(path: Path) -> tuple[pydicom.Dataset, UID]:
    """Read a file and find its transfer syntax, which one without file meta information does not name."""
    with path.open("rb") as file:
        preamble = file.read(132)[128:] == b"DICM"
        file.seek(132 if preamble else 0)
        named = read_dataset(file, False, True, stop_when=lambda tag, _, __: tag.group != 2).get("TransferSyntaxUID")
    if named == DeflatedExplicitVRLittleEndian:  # a small file may inflate to any size
        raise Unusable(f"DICOM is deflated as a whole: {path.name}; write it anew without")
    dataset = pydicom.dcmread(path, force=not preamble)
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        implicit, little = dataset.original_encoding
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = syntax
        if "PixelData" in dataset and dataset["PixelData"].is_undefined_length:
            raise Unusable(f"DICOM does not say how it is compressed: {path.name} (no transfer syntax)")
    return dataset, syntax


def _bits_of(
    words: NDArray[np.integer], bits: int, shift: int, signed: bool, lossy: bool, name: str
) -> NDArray[np.integer]:
    """Take the stored bits out of decoded cells: a signed value is its two's complement."""
    if shift < 0:
        raise Unusable(f"DICOM header contradicts itself: {name} (HighBit is below BitsStored)")
    if shift and (words & (2**shift - 1)).any():
        raise Unusable(f"DICOM header contradicts its image: {name} (bits below HighBit and BitsStored are in use)")
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    values = words.astype(np.int32) if signed else words
    if shift:
        values = values >> shift
    if values.min() >= low and values.max() <= high:
        return values & (2**bits - 1)
    if lossy:
        if values.min() < 2 * low - high or values.max() > 2 * high:
            raise Unusable(f"DICOM has more bits than its header says: {name} (lossy, so they cannot be told apart)")
        return values.clip(low, high) & (2**bits - 1)
    if not signed and (values > high).mean() > _BEYOND:
        raise Unusable(f"DICOM has more bits than its header says: {name} (most values are above {bits} bits)")
    return values & (2**bits - 1)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
