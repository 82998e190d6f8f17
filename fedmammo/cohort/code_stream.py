"""What a JPEG, JPEG-LS or JPEG 2000 code stream declares of itself, before anything is decoded."""

import math
import struct
from typing import NamedTuple

_HEADERS = 2**21  # bytes before which an image begins, whatever is told of it
_FRAME_HEADERS = {0xF7, *range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
MAXIMUM_PARTS = 2**18
"""Precincts of a JPEG 2000 image, for each of which a decoder takes a KiB or two, however little they hold. A tile
counts as eight, four code blocks as one."""
_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"


class Frame(NamedTuple):
    """The image of a code stream; `bits` of a component."""

    rows: int
    columns: int
    bits: int
    components: int


def code_stream_of(frame: bytes) -> bytes:
    """Take the code stream out of a JP2 file (T.800, Annex I), which DICOM does not want but some write."""
    if not frame.startswith(_JP2):
        return frame
    at = 0
    while at + 8 <= len(frame) and at < _HEADERS:
        length, kind = struct.unpack_from(">I4s", frame, at)
        start = at + 8
        if length == 1 and at + 16 <= len(frame):
            (length,) = struct.unpack_from(">Q", frame, start)
            start += 8
        end = at + length if length else len(frame)
        if kind == b"jp2c":
            return frame[start:end]
        if end < start:
            break
        at = end
    return b""


def frame_of(stream: bytes) -> Frame | None:
    """Read the frame header of a code stream; None where it is none of these.

    ITU-T T.81, B.2.2 (frame header), and T.87, C.1.1, alike; T.800, A.5.1 (SIZ).
    """
    if stream[:4] == b"\xff\x4f\xff\x51" and len(stream) >= 43:
        right, bottom, left, top = struct.unpack_from(">IIII", stream, 8)
        components, depth = struct.unpack_from(">HB", stream, 40)
        return Frame(bottom - top, right - left, (depth & 0x7F) + 1, components)
    at = 2
    while at + 10 <= min(len(stream), _HEADERS) and stream[at] == 0xFF:
        marker, length = stream[at + 1], int.from_bytes(stream[at + 2 : at + 4], "big")
        if marker in _FRAME_HEADERS:
            bits, rows, columns, components = struct.unpack_from(">BHHB", stream, at + 4)
            return Frame(rows, columns, bits, components)
        at += 1 if marker == 0xFF else 2 + length  # 0xFF may be repeated before a marker
    return None


def too_many_parts(stream: bytes) -> bool:
    """Whether a JPEG 2000 code stream declares more than `MAXIMUM_PARTS`: hundreds of bytes would take gigabytes.

    T.800, A.4 (tile-parts), A.5.1 (SIZ), A.6.1 and A.6.2 (COD and COC, in any header), B.6 (precincts).
    """
    if stream[:4] != b"\xff\x4f\xff\x51" or len(stream) < 43:
        return False
    right, bottom, left, top, width, height = struct.unpack_from(">6I", stream, 8)
    tiles = math.ceil((right - left) / max(width, 1)) * math.ceil((bottom - top) / max(height, 1))
    parts, at, tile_part, end = 8 * tiles, 2, 0, len(stream)
    while at + 12 <= end and parts <= MAXIMUM_PARTS:
        kind, length = struct.unpack_from(">HH", stream, at)
        parts += 1
        if kind == 0xFF93:  # what follows is data, up to the next tile-part
            at = max(tile_part, at + 2)
            continue
        if kind == 0xFF90:
            (size,) = struct.unpack_from(">I", stream, at + 6)
            tile_part = at + size if size else end
        elif kind in (0xFF52, 0xFF53):
            start = at + 9 if kind == 0xFF52 else at + 6
            block = sum(2 + (exponent & 15) for exponent in stream[start + 1 : start + 3])
            parts += ((right - left) * (bottom - top) >> block) // 4
            exponents = stream[start + 5 : at + 2 + length]  # of precincts, the lowest resolution first; else 15
            for level, exponent in enumerate(exponents):
                shift = len(exponents) - 1 - level
                across, down = (max(0, (exponent >> bits & 15) + shift) for bits in (0, 4))
                parts += ((right - left >> across) + 1) * ((bottom - top >> down) + 1)
        at += 2 + length
    return parts > MAXIMUM_PARTS
