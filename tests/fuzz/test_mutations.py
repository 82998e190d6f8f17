"""Good files of every reader with bytes turned, cut out and put in: read, or one line; never anything else."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fedmammo.cohort.gray import MAXIMUM_PIXELS, read_gray
from fedmammo.cohort.options import Options
from fedmammo.cohort.quarantine import Unusable
from fedmammo.cohort.readers.known import list_source
from fedmammo.config.study import load
from fedmammo.disk.files import read_tensors
from fedmammo.errors import LONGEST, InputError
from fedmammo.hospitals.profiles import load_profile
from fedmammo.hospitals.site_file import read_site_file
from tests.fuzz import dicom_files, picture_files, table_files, text_files, tree_files
from tests.fuzz.entries import Place
from tests.fuzz.folder_files import safetensors, tensor

NUMBERS = [0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1]
"""What sizes and offsets are set to."""


def gray_tiff() -> bytes:
    file = io.BytesIO()
    Image.fromarray(dicom_files.GRAY).save(file, "TIFF", compression="tiff_lzw")
    return file.getvalue()


def outlines() -> bytes:
    return tree_files._PLIST.format("", tree_files._ROI.format("Mass", tree_files._POINTS)).encode()


SEEDS: dict[str, tuple[str, bytes]] = {
    "DICOM": ("a.dcm", dicom_files.dicom(frames=b"1", center=b"20000", width=b"30000", slope=b"1", intercept=b"0")),
    "DICOM without a preamble": ("a.dcm", dicom_files.meta(dicom_files.EXPLICIT) + dicom_files.body()),
    "DICOM, RLE": ("a.dcm", dicom_files.packed(dicom_files.rle(), dicom_files.RLE)),
    "DICOM, JPEG": ("a.dcm", dicom_files.packed(dicom_files.picture("JPEG"), dicom_files.JPEG, **dicom_files.BYTE)),
    "DICOM, JPEG 2000": ("a.dcm", dicom_files.packed(dicom_files.J2K_STREAM, dicom_files.J2K, **dicom_files.BYTE)),
    "DICOM, JP2": ("a.dcm", dicom_files.packed(dicom_files.JP2_FILE, dicom_files.J2K, **dicom_files.BYTE)),
    "PNG of 16 bits": ("a.png", picture_files.png()),
    "PNG of 8 bits": ("a.png", dicom_files.picture("PNG")),
    "TIFF": ("a.tif", picture_files.tiff()),
    "TIFF, packed": ("a.tif", gray_tiff()),
    "JPEG": ("a.jpg", picture_files.oriented()),
    "CSV": ("a.csv", b"image,patient,label,density,left,top,right,bottom\ngood.png,p1,benign,2,1,2,3,4\n"),
    "Parquet": ("a.parquet", table_files.parquet(density=[2], time=np.array([5], "M8[s]"))),
    "workbook": ("a.xlsx", table_files.workbook(table_files.GOOD_ROWS)),
    "outlines": ("AllXML/1.xml", outlines()),
    "study": ("a.yaml", text_files.STUDY.encode()),
    "site": ("site.yaml", (text_files.SITE + "limits: {maximum_epsilon: 3}\nweights: {a: b}\n").encode()),
    "profile": ("profile.yaml", (text_files.PROFILE + "density: [.1, .2, .3, .4]\n").encode()),
    "tensors": ("a.safetensors", safetensors({"a": tensor(), "b": tensor(at=(4, 8))}, bytes(8))),
}  # fmt: skip


def read(path: Path, kind: str) -> None:
    """Read a file as its reader does; raises InputError or Unusable where it is none."""
    if kind == "study":
        load(path)
    elif kind == "site":
        read_site_file(path)
    elif kind == "profile":
        load_profile(str(path))
    elif kind == "tensors":
        read_tensors(path)
    elif kind == "outlines":
        list_source(path.parent.parent, Options())
    elif path.suffix in (".csv", ".parquet", ".xlsx"):
        list_source(path, Options())
    else:
        pixels = read_gray(path)
        assert pixels.dtype == np.uint16 and pixels.ndim == 2 and 0 < pixels.size <= MAXIMUM_PIXELS


@st.composite
def altered(draw: st.DrawFn, good: bytes) -> bytes:
    """A good file with one to four alterations."""
    found = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(found) - 1)))
        how = draw(st.sampled_from(["bit", "byte", "number", "cut", "leave out", "put in", "repeat", "zeros"]))
        length = draw(st.integers(1, 64))
        if how == "bit" and found:
            found[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "byte" and found:
            found[at] = draw(st.integers(0, 255))
        elif how == "number":
            size, order = draw(st.sampled_from("HI")), draw(st.sampled_from("<>"))
            number = draw(st.sampled_from(NUMBERS)) % 2 ** (8 * struct.calcsize(size))
            found[at : at + struct.calcsize(size)] = struct.pack(order + size, number)
        elif how == "cut":
            del found[at:]
        elif how == "leave out":
            del found[at : at + length]
        elif how == "put in":
            found[at:at] = draw(st.binary(min_size=1, max_size=64))
        elif how == "repeat":
            found[at:at] = found[at : at + length] * draw(st.sampled_from([1, 2, 100]))
        else:
            found[at : at + length] = bytes(length)
    return bytes(found)


def mend_png(content: bytes) -> bytes:
    """Write the checksums of a PNG's chunks anew, so that what was altered is read."""
    found, at = bytearray(content), 8
    while at + 12 <= len(found):
        (length,) = struct.unpack_from(">I", found, at)
        end = at + 8 + length
        if end + 4 > len(found):
            break
        struct.pack_into(">I", found, end, zlib.crc32(found[at + 4 : end]))
        at = end + 4
    return bytes(found)


def check(kind: str, folder: Path, examples: int) -> None:
    """Alter a seed so many times; what reads it raises nothing but what it may, in one line."""
    name, good = SEEDS[kind]
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "outlines":
        tree_files.inbreast(good)(Place(folder, folder, folder))
    path.write_bytes(good)
    read(path, kind)

    @settings(max_examples=examples, database=None, deadline=10_000, suppress_health_check=list(HealthCheck))
    @given(content=altered(good))
    def one(content: bytes) -> None:
        path.write_bytes(mend_png(content) if path.suffix == ".png" else content)
        try:
            read(path, kind)
        except (InputError, Unusable) as error:
            assert str(error).isprintable() and 0 < len(str(error)) <= LONGEST + 50

    one()


@pytest.fixture
def as_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a good image, from which nothing else is near."""
    (tmp_path / "good.png").write_bytes(picture_files.png())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", SEEDS)
def test_an_altered_file(kind: str, as_it_lies: Path) -> None:
    check(kind, as_it_lies, 120)


@pytest.mark.long
@pytest.mark.parametrize("kind", SEEDS)
def test_a_file_that_is_altered_often(kind: str, as_it_lies: Path) -> None:
    check(kind, as_it_lies, 3_000)
