"""Bad PNG, TIFF and JPEG files: bombs, circles, tables without end, pieces."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, TiffImagePlugin

from tests.fuzz.dicom_files import GRAY, deflated, picture
from tests.fuzz.entries import Build, Entry, Place

SIDE = len(GRAY)
PNG_START = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, content: bytes, length: int | None = None) -> bytes:
    said = len(content) if length is None else length
    return struct.pack(">I", said) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    *extra: bytes, width: int = SIDE, height: int = SIDE, bits: int = 16, colour: int = 0, data: bytes = b""
) -> bytes:
    """A gray PNG; `extra`: chunks before its pixels, `data`: its packed pixels."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in GRAY)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return PNG_START + head + b"".join(extra) + chunk(b"IDAT", data or zlib.compress(rows)) + chunk(b"IEND", b"")


def zeros(mebibytes: int) -> bytes:
    """So many MiB, packed a thousandfold, with the checksum that zeros have (RFC 1950)."""
    return b"\x78\xda" + deflated(b"", mebibytes) + struct.pack(">HH", mebibytes * 2**20 % 65521, 1)


def tag(number: int, kind: int, count: int, value: int) -> bytes:
    return struct.pack("<HHII", number, kind, count, value)


def tiff(*tags: bytes, after: int = 0, tail: bytes = b"") -> bytes:
    """A gray TIFF of 8 bits, its pixels at its end; `tags` replace those of the same number."""
    usual = [
        tag(256, 3, 1, SIDE), tag(257, 3, 1, SIDE), tag(258, 3, 1, 8), tag(259, 3, 1, 1), tag(262, 3, 1, 1),
        tag(273, 4, 1, 0), tag(277, 3, 1, 1), tag(278, 3, 1, SIDE), tag(279, 4, 1, SIDE * SIDE),
    ]  # fmt: skip
    found = {one[:2]: one for one in (*usual, *tags)}
    size = 8 + 2 + 12 * len(found) + 4
    if found[usual[5][:2]] == usual[5]:
        found[usual[5][:2]] = tag(273, 4, 1, size)
    ordered = [found[key] for key in sorted(found, key=lambda key: struct.unpack("<H", key)[0])]
    start = b"II*\0" + struct.pack("<IH", 8, len(ordered)) + b"".join(ordered) + struct.pack("<I", after)
    return start + (GRAY >> 8).astype("u1").tobytes() + tail


def chain(count: int) -> bytes:
    """A TIFF of so many images, all with the same pixels."""
    start = tiff()
    size = len(start) - 8 - SIDE * SIDE
    directory = start[8 : 8 + size - 4]
    nexts = [len(start) + size * (number + 1) for number in range(count - 1)] + [0]
    return tiff(after=len(start)) + b"".join(directory + struct.pack("<I", after) for after in nexts)


def oriented() -> bytes:
    """A JPEG whose Exif names a directory that names itself."""
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = bytearray(picture("JPEG", exif=exif))
    at = whole.index(b"Exif\0\0") + 6
    order = "<" if whole[at : at + 2] == b"II" else ">"
    entry = at + 8 + 2
    whole[entry : entry + 12] = struct.pack(f"{order}HHII", 0x8769, 4, 1, 8)
    whole[entry + 12 : entry + 16] = struct.pack(f"{order}I", 8)
    return bytes(whole)


def lzw(place: Place) -> bytes:
    """10000 x 10001 pixels of a TIFF, packed by deflate."""
    file = BytesIO()
    info = TiffImagePlugin.ImageFileDirectory_v2()
    Image.fromarray(np.zeros((10001, 10000), "u1")).save(file, "TIFF", compression="tiff_adobe_deflate", tiffinfo=info)
    return file.getvalue()


def pipe(place: Place) -> None:
    import os

    os.mkfifo(place.folder / "bad.png")


def folder(place: Place) -> None:
    (place.folder / "bad.png").mkdir()


def too_long(place: Place) -> None:
    """A file of 2 GiB that takes no room."""
    with Path(place.folder / "bad.png").open("wb") as file:
        file.write(PNG_START)
        file.truncate(2**31)


_LARGE = "^image is too large|^unreadable image"
_PICTURE = "^unreadable image|of a kind that cannot be read"
_BUILT: dict[str, tuple[str, str, Build]] = {
    "good PNG": ("png", "", lambda _: png()),
    "good TIFF": ("tif", "", lambda _: tiff()),
    "PNG of 10^9 x 10^9": ("png", "^image is too large", lambda _: png(width=10**9, height=10**9)),
    "PNG of 10000 x 10000 in a few bytes": ("png", "^unreadable image", lambda _: png(width=10_000, height=10_000)),
    "PNG of 300 MiB more than it declares": ("png", "has no contrast|^unreadable", lambda _: png(data=zeros(300))),
    "PNG with a packed text of 200 MiB": (
        "png",
        "^unreadable image",
        lambda _: png(chunk(b"zTXt", b"a\0\0" + zeros(200))),
    ),
    "PNG with many packed texts": (
        "png",
        "^unreadable image",
        lambda _: png(*[chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000)))] * 200),
    ),
    "PNG with a packed profile of 200 MiB": (
        "png",
        "^unreadable image",
        lambda _: png(chunk(b"iCCP", b"a\0\0" + zeros(200))),
    ),
    "PNG with a packed iTXt of 200 MiB": (
        "png",
        "^unreadable image",
        lambda _: png(chunk(b"iTXt", b"a\0\1\0\0\0" + zeros(200))),
    ),
    "PNG whose chunk has 4 GB": ("png", _PICTURE, lambda _: png(chunk(b"tEXt", b"a\0b", 2**32 - 1))),
    "PNG that says it moves": ("png", "^not one image", lambda _: png(chunk(b"acTL", struct.pack(">II", 2**31, 0)))),
    "PNG of 3 bits": ("png", _PICTURE, lambda _: png(bits=3)),
    "PNG without a size": ("png", _PICTURE, lambda _: png(width=0)),
    "PNG with a palette, and none": ("png", "^not a gray image|" + _PICTURE, lambda _: png(bits=8, colour=3)),
    "PNG in half": ("png", _PICTURE, lambda _: png()[: len(png()) // 2]),
    "PNG start alone": ("png", _PICTURE, lambda _: PNG_START),
    "TIFF of 10000 x 10001": ("tif", "^image is too large", lzw),
    "TIFF that is its own next image": ("tif", "", lambda _: tiff(after=8)),
    "TIFF with an image of nowhere": ("tif", _PICTURE, lambda _: tiff(after=2**32 - 2)),
    "TIFF with a chain of 40000 images": ("tif", "^not one image", lambda _: chain(40_000)),
    "TIFF with 4 billion strips": ("tif", _PICTURE, lambda _: tiff(tag(273, 4, 2**30 - 1, 8))),
    "TIFF with tiles of 2^31": (
        "tif",
        "",
        lambda _: tiff(tag(322, 4, 1, 2**31 - 1), tag(323, 4, 1, 2**31 - 1), tag(324, 4, 1, 8)),
    ),
    "TIFF with tiles of one pixel": (
        "tif",
        "",
        lambda _: tiff(tag(322, 4, 1, 1), tag(323, 4, 1, 1), tag(324, 4, 2304, 8)),
    ),
    "TIFF with tiles of none": (
        "tif",
        "",
        lambda _: tiff(tag(322, 4, 1, 0), tag(323, 4, 1, 0), tag(324, 4, 1, 8)),
    ),
    "TIFF with bits of nowhere": ("tif", "", lambda _: tiff(tag(258, 3, 2**31, 2**31))),
    "TIFF with 2^16 samples": ("tif", _PICTURE, lambda _: tiff(tag(277, 3, 1, 65535))),
    "TIFF of a compression that nobody knows": ("tif", _PICTURE, lambda _: tiff(tag(259, 3, 1, 65000))),
    "TIFF in half": ("tif", _PICTURE, lambda _: tiff()[:900]),
    "TIFF whose directory is cut": ("tif", _PICTURE, lambda _: tiff()[:40]),
    "BigTIFF that declares 2^63": (
        "tif",
        _PICTURE,
        lambda _: b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**63 - 1) + bytes(400),
    ),
    "JPEG of 65500 x 65500": (
        "jpg",
        "^image is too large",
        lambda _: (
            (whole := picture("JPEG"))[: (at := whole.index(b"\xff\xc0") + 5)] + b"\xff\xdc" * 2 + whole[at + 4 :]
        ),
    ),
    "JPEG whose Exif is a circle": ("jpg", "", lambda _: oriented()),
    "JPEG with a profile that is none": ("jpg", "", lambda _: picture("JPEG", icc_profile=b"\xff" * 60_000)),
    "JPEG in half": ("jpg", _PICTURE, lambda _: picture("JPEG")[: len(picture("JPEG")) // 2]),
    "JPEG of markers alone": ("jpg", _PICTURE, lambda _: b"\xff\xd8" + b"\xff" * 100_000),
    "a pickle": ("png", "^neither DICOM", lambda place: code(place)),
    "a pipe": ("png", "^not a file", pipe),
    "a folder": ("png", "^file cannot be opened|^not a file", folder),
    "a file of 2 GiB": ("png", "^file is larger", too_long),
}


def code(place: Place) -> bytes:
    """A pickle that makes a file when it is loaded."""
    return b"cos\nsystem\n(S'touch " + str(place.canary).encode() + b"'\ntR."


ENTRIES = [Entry(f"picture: {name}", "image", says, build, f"bad.{end}") for name, (end, says, build) in _BUILT.items()]
