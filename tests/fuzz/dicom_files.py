"""Bad DICOM files, element by element: what declares more than it holds, what is packed, what contradicts itself."""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image

from tests.fuzz.entries import Entry

IMPLICIT, EXPLICIT, BIG = b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.2"
DEFLATED, RLE = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.5"
JPEG, J2K = b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.4.90"
SIDE = 48
GRAY = (np.indices((SIDE, SIDE)).sum(0) * 600).astype("<u2")
_LONG = (b"OB", b"OW", b"OF", b"OD", b"SQ", b"UN", b"UT")
_TAGS = {
    "charset": (0x0008, 0x0005, b"CS"),
    "patient": (0x0010, 0x0010, b"PN"),
    "samples": (0x0028, 0x0002, b"US"),
    "interpretation": (0x0028, 0x0004, b"CS"),
    "frames": (0x0028, 0x0008, b"IS"),
    "rows": (0x0028, 0x0010, b"US"),
    "columns": (0x0028, 0x0011, b"US"),
    "allocated": (0x0028, 0x0100, b"US"),
    "stored": (0x0028, 0x0101, b"US"),
    "high": (0x0028, 0x0102, b"US"),
    "signed": (0x0028, 0x0103, b"US"),
    "center": (0x0028, 0x1050, b"DS"),
    "width": (0x0028, 0x1051, b"DS"),
    "intercept": (0x0028, 0x1052, b"DS"),
    "slope": (0x0028, 0x1053, b"DS"),
}
_USUAL = {
    "samples": 1,
    "interpretation": b"MONOCHROME2",
    "rows": SIDE,
    "columns": SIDE,
    "allocated": 16,
    "stored": 16,
    "high": 15,
    "signed": 0,
}


def element(group: int, number: int, kind: bytes, value: bytes, length: int | None = None) -> bytes:
    """One element, explicit and little endian; `length`: what it declares."""
    value += b" " * (len(value) % 2) if kind not in (b"OB", b"OW", b"UN", b"SQ") else b"\0" * (len(value) % 2)
    said = len(value) if length is None else length
    start = struct.pack("<HH2s", group, number, kind)
    return start + (struct.pack("<HI", 0, said) if kind in _LONG else struct.pack("<H", said)) + value


def meta(syntax: bytes) -> bytes:
    named = element(2, 0x10, b"UI", syntax + b"\0" * (len(syntax) % 2))
    return element(2, 0, b"UL", struct.pack("<I", len(named))) + named


def body(pixels: bytes | None = None, before: bytes = b"", **fields: int | bytes | None) -> bytes:
    """A data set; `fields` override the usual ones or leave them out, `before` stands before the pixels."""
    said = {name: value for name, value in {**_USUAL, **fields}.items() if value is not None}
    parts = [b""] * len(_TAGS)
    for place, (name, (group, number, kind)) in enumerate(_TAGS.items()):
        value = said.get(name)
        if value is not None:
            parts[place] = element(
                group, number, kind, struct.pack("<H", value) if type(value) is int else bytes(value)
            )
    return b"".join(parts) + before + element(0x7FE0, 0x10, b"OW", GRAY.tobytes() if pixels is None else pixels)


def dicom(syntax: bytes = EXPLICIT, content: bytes | None = None, **fields: int | bytes | None) -> bytes:
    return bytes(128) + b"DICM" + meta(syntax) + (body(**fields) if content is None else content)


def packed(stream: bytes, syntax: bytes, offsets: bytes = b"", declared: int | None = None, **fields: int) -> bytes:
    """An image as a code stream; `declared`: the length that its item declares."""
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(stream) if declared is None else declared) + stream
    items = struct.pack("<HHI", 0xFFFE, 0xE000, len(offsets)) + offsets + item + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    whole = body(b"", **fields)[: -len(element(0x7FE0, 0x10, b"OW", b""))]
    return dicom(syntax, whole + element(0x7FE0, 0x10, b"OB", b"", 0xFFFFFFFF) + items)


def picture(kind: str, **more: object) -> bytes:
    file = BytesIO()
    Image.fromarray((GRAY >> 8).astype("u1")).save(file, kind, **more)
    return file.getvalue()


BYTE = {"allocated": 8, "stored": 8, "high": 7}
J2K_STREAM = picture("JPEG2000", no_jp2=True)
JP2_FILE = picture("JPEG2000")


def rle() -> bytes:
    """The gray values as RLE: two segments of literal runs."""
    segments = []
    for plane in (GRAY >> 8, GRAY & 255):
        runs = b"".join(b"\x2f" + row.astype("u1").tobytes() for row in plane)
        segments.append(runs + b"\0" * (len(runs) % 2))
    return struct.pack("<16I", 2, 64, 64 + len(segments[0]), *[0] * 13) + b"".join(segments)


def nested(depth: int) -> bytes:
    """Sequences in sequences, of undefined length."""
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    return (element(0x0008, 0x1140, b"SQ", b"", 0xFFFFFFFF) + item) * depth


def nested_whole(depth: int) -> bytes:
    """Sequences in sequences, each of a declared length."""
    found = b""
    for _ in range(depth):
        item = struct.pack("<HHI", 0xFFFE, 0xE000, len(found)) + found
        found = element(0x0028, 0x3010, b"SQ", item)
    return found


def deflated(start: bytes, mebibytes: int) -> bytes:
    """Bytes and then so many MiB of zeros, packed a thousandfold: one of them, which knows no other, over and over."""
    packer = zlib.compressobj(9, wbits=-15)
    packed_start = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    one = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return packed_start + mebibytes * one + packer.flush()


def deflated_bomb() -> bytes:
    """200 MiB of zeros in 200 KiB."""
    return deflated(body() + element(0x7FE1, 0x10, b"UN", b"", 0xFFFFFFF0), 200)


def sized(stream: bytes, rows: int, columns: int, tile: int = 0) -> bytes:
    """The JPEG 2000 code stream with other sizes in its SIZ; of one tile, or of tiles of this side."""
    at = stream.index(b"\xff\x4f\xff\x51") + 8
    sizes = struct.pack(">6I", columns, rows, 0, 0, tile or columns, tile or rows)
    return stream[:at] + sizes + stream[at + 24 :]


def backwards(stream: bytes) -> bytes:
    """The JPEG 2000 code stream whose tile-part is as long as its header."""
    at = stream.index(b"\xff\x90") + 6
    return stream[:at] + struct.pack(">I", 12) + stream[at + 4 :]


def small_blocks(stream: bytes) -> bytes:
    at = stream.index(b"\xff\x52")
    return stream[: at + 10] + bytes(2) + stream[at + 12 :]


def crowded(stream: bytes, in_tile: bool = False) -> bytes:
    """The JPEG 2000 code stream with precincts of 2 x 2 in its COD, or in a COD of its tile."""
    at = stream.index(b"\xff\x52")
    length, levels = struct.unpack_from(">H", stream, at + 2)[0], stream[at + 9]
    usual = stream[at : at + 2 + length]
    said = struct.pack(">HHB", 0xFF52, length + levels + 1, usual[4] | 1) + usual[5:] + b"\x11" * (levels + 1)
    if not in_tile:
        return stream.replace(usual, said)
    start, data = stream.index(b"\xff\x90"), stream.index(b"\xff\x93")
    (size,) = struct.unpack_from(">I", stream, start + 6)
    size += len(said) if size else 0
    return stream[: start + 6] + struct.pack(">I", size) + stream[start + 10 : data] + said + stream[data:]


def _jpeg(rows: int, columns: int) -> bytes:
    stream = picture("JPEG")
    at = stream.index(b"\xff\xc0") + 5
    return stream[:at] + struct.pack(">HH", rows, columns) + stream[at + 4 :]


def _cut(at: int) -> Callable[[object], bytes]:
    return lambda _: dicom()[:at]


_JP2_100_GB = JP2_FILE.replace(
    struct.pack(">I4s", len(JP2_FILE) - JP2_FILE.index(b"jp2c") + 4, b"jp2c"),
    struct.pack(">I4sQ", 1, b"jp2c", 100 * 2**30),
)
_UNREADABLE = "^unreadable DICOM: bad"
_SEVERAL = r"^not a gray image of at most 16 bits: bad"
_BUILT: dict[str, tuple[str, Callable[[object], bytes]]] = {
    "good": ("", lambda _: dicom()),
    "good, RLE": ("", lambda _: packed(rle(), RLE)),
    "good, JPEG": ("", lambda _: packed(picture("JPEG"), JPEG, **BYTE)),
    "good, JPEG 2000": ("", lambda _: packed(J2K_STREAM, J2K, **BYTE)),
    "good, JP2": ("", lambda _: packed(JP2_FILE, J2K, **BYTE)),
    "65535 rows and columns": ("^image is too large", lambda _: dicom(rows=65535, columns=65535)),
    "10000 rows and columns": (_UNREADABLE, lambda _: dicom(rows=10000, columns=10000)),
    "frames of 100 GB": ("^not one image", lambda _: dicom(frames=b"23000000")),
    "no frame, less than none": ("^not one image", lambda _: dicom(frames=b"-5")),
    "frames that are no number": (_UNREADABLE, lambda _: dicom(frames=b"1e9\\x")),
    "rows of 1, pixels of 48": ("^not one image", lambda _: dicom(rows=1)),
    "rows of 0": (_UNREADABLE, lambda _: dicom(rows=0)),
    "pixels of 4 GB": (
        _UNREADABLE,
        lambda _: dicom(content=body()[: -4 - GRAY.nbytes] + struct.pack("<I", 2**32 - 16) + b"\1\2"),
    ),
    "a code stream of 4 GB": ("", lambda _: packed(J2K_STREAM, J2K, declared=2**32 - 16, **BYTE)),
    "a code stream of 100 GB by its size": ("differ in size", lambda _: packed(sized(J2K_STREAM, 2**18, 2**18), J2K)),
    "JPEG 2000 of 3000 x 3000 in a few bytes": (
        "",
        lambda _: packed(sized(J2K_STREAM, 3000, 3000, SIDE), J2K, rows=3000, columns=3000, **BYTE),
    ),
    "JPEG 2000 with precincts of 2 x 2 in its header": (
        "more parts than an image needs",
        lambda _: packed(crowded(sized(J2K_STREAM, 4000, 4000)), J2K, rows=4000, columns=4000, **BYTE),
    ),
    "JPEG 2000 with precincts of 2 x 2 in a tile's header": (
        "more parts than an image needs",
        lambda _: packed(crowded(sized(J2K_STREAM, 4000, 4000), True), J2K, rows=4000, columns=4000, **BYTE),
    ),
    "JPEG 2000 with precincts of 128 x 128": (
        "",
        lambda _: packed(picture("JPEG2000", no_jp2=True, precinct_size=(128, 128)), J2K, **BYTE),
    ),
    "JPEG 2000 with code blocks of 4 x 4": (
        "more parts than an image needs",
        lambda _: packed(small_blocks(sized(J2K_STREAM, 9000, 9000)), J2K, rows=9000, columns=9000, **BYTE),
    ),
    "JPEG 2000 with 16 million tiles": (
        "more parts than an image needs",
        lambda _: packed(sized(J2K_STREAM, 4000, 4000, 1), J2K, rows=4000, columns=4000, **BYTE),
    ),
    "JPEG 2000 whose tile begins in its own header": (
        _UNREADABLE,
        lambda _: packed(backwards(J2K_STREAM), J2K, **BYTE),
    ),
    "a JPEG of 30 MB of filling": (
        "differ in size",
        lambda _: packed(b"\xff\xd8" + b"\xff" * 30_000_000, JPEG, **BYTE),
    ),
    "a JPEG of 65500 x 65500": ("differ in size", lambda _: packed(_jpeg(65500, 65500), JPEG, **BYTE)),
    "JP2 with a box of 100 GB": ("", lambda _: packed(_JP2_100_GB, J2K, **BYTE)),
    "JP2 with boxes of length 0 to 7": (
        "differ in size",
        lambda _: packed(JP2_FILE[:12] + struct.pack(">I4s", 4, b"free") * 9, J2K, **BYTE),
    ),
    "frame offsets of nowhere": ("", lambda _: packed(rle(), RLE, struct.pack("<I", 2**31))),
    "RLE with segments of nowhere": (
        _UNREADABLE,
        lambda _: packed(struct.pack("<16I", 2, 2**31, 2**32 - 1, *[0] * 13) + bytes(99), RLE),
    ),
    "RLE with 4 billion segments": (_UNREADABLE, lambda _: packed(struct.pack("<16I", 2**32 - 1, *[64] * 15), RLE)),
    "sequences 5000 deep": (_UNREADABLE, lambda _: dicom(content=nested(5000) + body())),
    "sequences 3000 deep, lengths declared": (
        "unreadable DICOM|^DICOM header",
        lambda _: dicom(before=nested_whole(3000)),
    ),
    "a private tag of 4 GB": (
        "^DICOM without an image|" + _UNREADABLE,
        lambda _: dicom(content=element(9, 0x1001, b"UN", b"x", 2**32 - 2) + body()),
    ),
    "100000 private tags": ("", lambda _: dicom(content=element(9, 0x1001, b"UN", b"xx") * 100_000 + body())),
    "deflated bomb": ("^DICOM is deflated", lambda _: dicom(DEFLATED, deflated_bomb())),
    "deflated bomb without a preamble": ("^DICOM is deflated", lambda _: meta(DEFLATED) + deflated_bomb()),
    "deflated, what follows is none": ("^DICOM is deflated", lambda _: dicom(DEFLATED)),
    "RGB": (_SEVERAL, lambda _: dicom(samples=3, interpretation=b"RGB")),
    "palette": (_SEVERAL, lambda _: dicom(interpretation=b"PALETTE COLOR")),
    "floats": (
        "^DICOM without an image",
        lambda _: dicom(content=body().replace(b"\xe0\x7f\x10\x00OW", b"\xe0\x7f\x08\x00OF")),
    ),
    **{
        f"{bits} bits allocated": (_UNREADABLE, lambda _, bits=bits: dicom(allocated=bits))
        for bits in (0, 1, 12, 24, 64)
    },
    "0 bits stored": (_SEVERAL, lambda _: dicom(stored=0)),
    "two numbers of rows": (
        _UNREADABLE,
        lambda _: dicom(rows=None, columns=None, frames=None, before=element(0x28, 0x10, b"US", bytes(4))),
    ),
    "odd rescale and window": (
        "",
        lambda _: dicom(slope=b"1e400", intercept=b"nan", center=b"-inf\\x", width=b"9" * 16),
    ),
    "slope of 1e308": ("shows all values alike|^unread", lambda _: dicom(slope=b"1e308", intercept=b"1e308")),
    "padding by numbers of nowhere": (
        "",
        lambda _: dicom(before=element(0x28, 0x120, b"DS", b"1e300") + element(0x28, 0x121, b"DS", b"2e300")),
    ),
    "a charset that nobody knows": (
        "",
        lambda _: dicom(charset=b"ISO_IR 9999\\\\ISO 2022 IR 87", patient=b"\x1b$B\xff\xfe=\x1b(Z^=^"),
    ),
    "text for numbers": (_UNREADABLE, lambda _: dicom(signed=b"\xff\xfe\x00")),
    "no transfer syntax that is known": (_UNREADABLE, lambda _: dicom(b"1.2.3.4.5")),
    "big endian, and is not": ("unreadable|without an image", lambda _: dicom(BIG)),
    "implicit, and is not": ("", lambda _: dicom(IMPLICIT)),
    "called JPEG, and is not": (_UNREADABLE, lambda _: dicom(JPEG)),
    **{
        f"cut after {at} bytes": ("^unreadable|without an image|^neither|^not", _cut(at))
        for at in (131, 132, 140, 150, 170, 200, 250, 300, 1000)
    },
    "zeros": ("^neither DICOM", lambda _: bytes(10_000)),
    "nothing": ("^neither DICOM", lambda _: b""),
}
ENTRIES = [Entry(f"DICOM: {name}", "image", says, build, "bad.dcm") for name, (says, build) in _BUILT.items()]
