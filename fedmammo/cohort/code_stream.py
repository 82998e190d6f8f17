"""What a JPEG, JPEG-LS or JPEG 2000 code stream declares of itself, before anything is decoded."""

import struct
from typing import NamedTuple

_FRAME_HEADERS = {0xF7, *range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
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
    while at + 8 <= len(frame):
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
    while at + 10 <= len(stream) and stream[at] == 0xFF:
        marker, length = stream[at + 1], int.from_bytes(stream[at + 2 : at + 4], "big")
        if marker in _FRAME_HEADERS:
            bits, rows, columns, components = struct.unpack_from(">BHHB", stream, at + 4)
            return Frame(rows, columns, bits, components)
        at += 1 if marker == 0xFF else 2 + length  # 0xFF may be repeated before a marker
    return None
