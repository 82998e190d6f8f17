"""What each stored value of a DICOM image is shown as: modality and VOI transformations of its header.

DICOM PS3.3: stored values pass the modality transformation (C.11.1: a table, or slope and intercept) and the first VOI
transformation (C.11.2: a table, or a window), where there are any; the lowest and highest values that the header allows
become 0 and 65535. In MONOCHROME1 the lowest value is white (C.7.6.3.1.2), so it is inverted; the values of padding
(C.7.5.1.1.2) are black.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi

from fedmammo.cohort.quarantine import Unusable

Function = Callable[[NDArray[np.float64], float, float], NDArray[np.float64]]
_FUNCTIONS: dict[str, Function] = {
    "LINEAR": lambda values, center, width: _line(values, center - 0.5, width - 1),
    "LINEAR_EXACT": lambda values, center, width: _line(values, center, width),
    "SIGMOID": lambda values, center, width: 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700))),
}
_SHAPES = {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}


def shown_values(dataset: Dataset, tell: Callable[[str], None]) -> NDArray[np.uint16]:
    """Say for each value, from the lowest to the highest of its bits, what it is shown as.

    `tell` hears of a window that is impossible, and ignored.

    Raises Unusable where the header shows all values alike, or contradicts itself.
    """
    bits, signed = int(dataset.BitsStored), int(dataset.PixelRepresentation) == 1
    interpretation, shape = str(dataset.PhotometricInterpretation), dataset.get("PresentationLUTShape") or None
    if shape is not None and shape != _SHAPES[interpretation]:
        raise Unusable(f"DICOM header contradicts itself: {interpretation} and a presentation of shape {shape}")
    lowest = -(2 ** (bits - 1)) if signed else 0
    stored = np.arange(lowest, lowest + 2**bits, dtype=np.int32)
    values = _voi(_modality(stored, dataset, tell), dataset, tell)
    low, high = values.min(), values.max()
    if not np.isfinite([low, high]).all() or low == high:
        raise Unusable("DICOM header shows all values alike: rescale, window or look-up table")
    shown = np.floor((values - low) * 65535 / (high - low) + 0.5).astype(np.uint16)
    if interpretation == "MONOCHROME1":
        shown = 65535 - shown
    shown[_padding(stored, dataset)] = 0
    return shown


def _modality(stored: NDArray[np.int32], dataset: Dataset, tell: Callable[[str], None]) -> NDArray[Any]:
    if dataset.get("ModalityLUTSequence"):
        return apply_modality_lut(stored, dataset)
    slope, intercept = (_first(dataset, name) for name in ("RescaleSlope", "RescaleIntercept"))
    if slope is None and intercept is None:
        return stored
    if slope is None or slope == 0:
        tell("impossible rescale slope ignored")
        slope = 1.0
    return stored * slope + (intercept or 0.0)


def _voi(values: NDArray[Any], dataset: Dataset, tell: Callable[[str], None]) -> NDArray[np.float64]:
    if dataset.get("VOILUTSequence"):
        whole = np.rint(values).astype(np.int32)  # a table is looked up by whole numbers
        _mend_table(dataset.VOILUTSequence[0], signed=bool(whole.min() < 0))
        return np.asarray(apply_voi(whole, dataset), np.float64)
    values = np.asarray(values, np.float64)
    if "WindowCenter" not in dataset and "WindowWidth" not in dataset:
        return values
    center, width = (_first(dataset, name) for name in ("WindowCenter", "WindowWidth"))
    name = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
    possible = width is not None and (width >= 1 if name == "LINEAR" else width > 0)
    if center is None or width is None or name not in _FUNCTIONS or not possible:
        tell("impossible window ignored")
        return values
    return _FUNCTIONS[name](values, center, width)


def _mend_table(item: Dataset, signed: bool) -> None:
    """Read a table as it was meant: its first value as signed where values are, bytes where they are packed."""
    entries, first, bits = (int(number) for number in item.LUTDescriptor)
    if signed and first > 32767:  # where the value representation is implicit, nobody could say that it is signed
        item.LUTDescriptor = [entries, first - 65536, bits]
    data = item.LUTData
    if isinstance(data, bytes) and bits <= 8 and len(data) == (entries or 65536):
        item.LUTData = np.frombuffer(data, np.uint8).astype("<u2").tobytes()


def _line(values: NDArray[np.float64], center: float, width: float) -> NDArray[np.float64]:
    """C.11.2.1.2.1 and C.11.2.1.3.2: 0 up to center - width / 2, 1 above center + width / 2."""
    if width == 0:
        return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0, 1)


def _first(dataset: Dataset, name: str) -> float | None:
    """Return a number of the header, the first of several; None where it is missing, empty or none."""
    try:
        value = dataset.get(name)
        number = float(value[0] if isinstance(value, list | tuple) or hasattr(value, "append") else value)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _padding(stored: NDArray[np.int32], dataset: Dataset) -> NDArray[np.bool_]:
    """Which values stand for no tissue at all."""
    bits = int(dataset.BitsStored)
    ends = [_first(dataset, name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if ends[0] is None:
        return np.zeros(len(stored), np.bool_)
    low, high = sorted(int(end) for end in (ends[0], ends[0] if ends[1] is None else ends[1]))
    if stored[0] < 0 <= high and high > stored[-1]:  # written as unsigned
        low, high = low - 2**bits, high - 2**bits
    return (stored >= low) & (stored <= high)
