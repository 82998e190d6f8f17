"""Inputs from public reports of other software: each is right, or ends in a true reason that says what to do."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from fedmammo.cohort.gray import read_gray
from fedmammo.cohort.options import Options
from fedmammo.cohort.prepare import prepare
from fedmammo.cohort.quarantine import Unusable
from fedmammo.errors import InputError

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)


def classes(folder: Path, *names: str) -> None:
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(PIXELS, seed)).save(folder / name)


def test_folders_that_are_links_are_entered_once(tmp_path: Path) -> None:
    """Python does not enter them by itself: a whole class was lost. One of them leads back."""
    classes(tmp_path / "store", "1.png", "2.png")
    classes(tmp_path / "source", "benign/3.png")
    (tmp_path / "source/malignant").symlink_to(tmp_path / "store")
    (tmp_path / "source/benign/back").symlink_to(tmp_path / "source")
    cohort = prepare(tmp_path / "source", tmp_path / "out")
    assert cohort.manifest["malignant"].sum() == 2 and len(cohort.manifest) == 3


def test_copies_of_tools_and_masks_are_no_images(tmp_path: Path) -> None:
    names = ("1.png", ".ipynb_checkpoints/1-checkpoint.png", "1_Mask.png", "1_mask_2.png")
    classes(tmp_path / "source", *(f"benign/{name}" for name in names), "malignant/2.png")
    cohort = prepare(tmp_path / "source", tmp_path / "out", Options(patient="([0-9]+)"))
    assert cohort.manifest["image"].tolist() == ["benign/1.png", "malignant/2.png"]
    assert set(cohort.quarantine["reason"]) == {"a mask, by its name: no image"}


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P", "RGB", "L"])
def test_gray_in_a_wrapping(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(PIXELS).convert("RGB" if mode == "P" else mode)
    (image.quantize(256) if mode == "P" else image).save(tmp_path / "1.png")
    found = read_gray(tmp_path / "1.png")
    assert np.abs(found / 257 - PIXELS).max() <= (3 if mode == "P" else 0)


def test_alpha_that_hides_something_is_no_gray(tmp_path: Path) -> None:
    image = Image.fromarray(PIXELS).convert("LA")
    image.putalpha(Image.fromarray(PIXELS))
    image.save(tmp_path / "1.png")
    with pytest.raises(Unusable, match=r"not a gray image .*\(mode LA\); save it as gray PNG"):
        read_gray(tmp_path / "1.png")


def test_16_bits_in_several_channels_are_not_read_as_8(tmp_path: Path) -> None:
    """Pillow has no such images: it would keep the upper halves."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + np.repeat(np.arange(4, dtype=">u2") * 1000, 3).tobytes() for _ in range(3))
    header = struct.pack(">IIBBBBB", 4, 3, 16, 2, 0, 0, 0)
    (tmp_path / "1.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    with pytest.raises(Unusable, match=r"16 bits in several channels, which are read as 8: 1\.png; save it as 16-bit"):
        read_gray(tmp_path / "1.png")


def test_what_is_told_of_an_image(dicom: Any, tmp_path: Path) -> None:
    """Twelve bits in sixteen, and a raw image: right as they are, and dark or strange beside others."""
    told: list[str] = []
    Image.fromarray(PIXELS.astype(np.uint16) * 16).save(tmp_path / "1.png")
    read_gray(tmp_path / "1.png", told.append)
    dicom(tmp_path / "1.dcm", PIXELS, PresentationIntentType="FOR PROCESSING")
    read_gray(tmp_path / "1.dcm", told.append)
    assert told == [
        "16 bits of which no value needs more than 12: dark, if others have 16", "raw image, not for presentation",
    ]  # fmt: skip


@pytest.mark.parametrize("groups", ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"])
def test_the_window_of_an_enhanced_object(dicom: Any, tmp_path: Path, groups: str) -> None:
    """Centre 100, width 101: black up to 49.5, white from 149.5."""
    window, group = Dataset(), Dataset()
    window.WindowCenter, window.WindowWidth = "100", "101"
    group.FrameVOILUTSequence = [window]
    dicom(tmp_path / "1.dcm", np.array([[0, 49, 100, 150, 255]], "u1"), **{groups: [group]})
    assert read_gray(tmp_path / "1.dcm").tolist() == [[0, 0, 33095, 65535, 65535]]


def test_look_up_tables_whose_first_value_is_negative_or_whose_entries_are_packed(dicom: Any, tmp_path: Path) -> None:
    """-1024 is written as 64512 where nobody can say that it is signed; 8-bit entries lie two to a word."""
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [2048, 64512, 16], np.arange(2048, dtype="<u2").tobytes()
    tags = {"RescaleSlope": "1", "RescaleIntercept": "-1024", "BitsStored": 11}
    dicom(tmp_path / "1.dcm", np.array([[0, 1000, 2047]], "u2"), VOILUTSequence=[table], **tags)
    assert read_gray(tmp_path / "1.dcm").tolist() == [[0, 32015, 65535]]  # 1000 of 2047
    packed = Dataset()
    packed.LUTDescriptor, packed.LUTData = [4, 0, 8], bytes([10, 20, 30, 40])
    dicom(tmp_path / "2.dcm", np.array([[0, 1, 2, 3]], "u1"), VOILUTSequence=[packed])
    assert read_gray(tmp_path / "2.dcm").tolist() == [[0, 21845, 43690, 65535]]


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        ("image,patient,label,xmin,ymin,xmax,ymax", "column 'xmin' looks like a part of a box; call them left, top"),
        ("image,patient,label,x,y,w,h", "column 'x' looks like a part of a box"),
        ("image,patient,label,Left,Top,Right,Bottom", "column 'Left' differs from 'left' in case alone; rename it"),
        ("image,patient,label,Split,a,b,c", "column 'Split' differs from 'split' in case alone"),
    ],
)
def test_columns_that_would_be_lost_as_attributes(tmp_path: Path, columns: str, line: str) -> None:
    classes(tmp_path, "a.png")
    (tmp_path / "table.csv").write_text(f"{columns}\na.png,1,0,1,1,9,9\n")
    with pytest.raises(InputError, match=line):
        prepare(tmp_path / "table.csv", tmp_path / "out")


def test_patients_that_a_spreadsheet_has_rounded(tmp_path: Path) -> None:
    """Else they were one patient. `12E+05` is a name like any other."""
    classes(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "table.csv").write_text(
        "image,patient,label\na.png,1.23457E+12,0\nb.png,1.23457E+12,1\nc.png,12E+05,1\n"
    )
    cohort = prepare(tmp_path / "table.csv", tmp_path / "out")
    assert cohort.manifest["patient"].tolist() == ["12E+05"]
    assert cohort.quarantine["reason"].str.contains("is a number that a spreadsheet has rounded; export").all()


def test_names_that_another_system_writes_otherwise(tmp_path: Path) -> None:
    """MacOS writes an accent behind its letter; case makes another file."""
    classes(tmp_path, "Mu\u0308ller.png", "scan.png")
    (tmp_path / "table.csv").write_text("image,patient,label\nM\u00fcller.png,1,0\nSCAN.PNG,2,1\n", encoding="utf-8")
    cohort = prepare(tmp_path / "table.csv", tmp_path / "out")
    assert cohort.manifest["patient"].tolist() == ["1"]
    assert cohort.quarantine["reason"].tolist() == ["file is missing: SCAN.PNG; there is scan.png, write it so"]


def test_a_source_that_is_packed_or_a_single_image(dicom: Any, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\3\4")
    dicom(tmp_path / "1.dcm", PIXELS)
    for name, line in (("a.zip", "is packed; unpack it"), ("1.dcm", "is one DICOM file; name its folder")):
        with pytest.raises(InputError, match=line):
            prepare(tmp_path / name, tmp_path / "out")
    assert pydicom.dcmread(tmp_path / "1.dcm").Rows == 20
