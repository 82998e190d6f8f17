from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from fedmammo.cohort.gray import read_gray
from fedmammo.cohort.quarantine import Unusable


@pytest.mark.parametrize(
    ("kind", "bits", "stored", "expected"),
    [
        # 8 bits: 65535 / 255 = 257; 12 bits: 2048 * 65535 / 4095 = 32775.5, rounded; 10 bits: 1 * 65535 / 1023 = 64.06
        ("u1", 8, [0, 1, 255], [0, 257, 65535]),
        ("u2", 12, [0, 2048, 4095], [0, 32776, 65535]),
        ("u2", 10, [0, 1, 1023], [0, 64, 65535]),
        ("u2", 16, [0, 12345, 65535], [0, 12345, 65535]),
    ],
)
def test_stored_bits_are_scaled_to_16(dicom, tmp_path: Path, kind, bits, stored, expected) -> None:
    """In MONOCHROME1 the same values mean the inverse: 65535 minus them."""
    pixels = np.array([stored, stored], kind)
    dicom(tmp_path / "2.dcm", pixels, BitsStored=bits)
    dicom(tmp_path / "1.dcm", pixels, BitsStored=bits, PhotometricInterpretation="MONOCHROME1")
    assert read_gray(tmp_path / "2.dcm").tolist() == [expected, expected]
    assert read_gray(tmp_path / "1.dcm").tolist() == [[65535 - value for value in expected]] * 2


def test_signed_values_are_shifted(dicom, tmp_path: Path) -> None:
    """16 bits signed: -32768 is black, 32767 white, 0 is 32768 of 65535. 12 bits signed: -2048 to 2047."""
    dicom(tmp_path / "1-1.dcm", np.array([[-32768, 0, 32767]], "i2"))
    assert read_gray(tmp_path / "1-1.dcm").tolist() == [[0, 32768, 65535]]
    dicom(tmp_path / "1-2.dcm", np.array([[-2048, 0, 2047]], "i2"), BitsStored=12)
    assert read_gray(tmp_path / "1-2.dcm").tolist() == [[0, 32776, 65535]]  # 2048 * 65535 / 4095 = 32775.5


def test_slope_and_intercept(dicom, tmp_path: Path) -> None:
    """A line with a rising slope changes nothing, as its lowest and highest value are scaled back; one that falls
    turns dark into bright. 8 bits: 257 v, and 257 (255 - v).
    """
    pixels = np.array([[0, 1, 255]], "u1")
    dicom(tmp_path / "1.dcm", pixels, RescaleSlope="0.5", RescaleIntercept="-1024")
    dicom(tmp_path / "2.dcm", pixels, RescaleSlope="-2", RescaleIntercept="7")
    assert read_gray(tmp_path / "1.dcm").tolist() == [[0, 257, 65535]]
    assert read_gray(tmp_path / "2.dcm").tolist() == [[65535, 257 * 254, 0]]


def test_a_window_is_applied_after_the_slope(dicom, tmp_path: Path) -> None:
    """C.11.2.1.2: window centre c = 100, width w = 101 shows c - .5 - (w - 1) / 2 = 49.5 as black and 149.5 as white.

    With slope 2 the stored 25 is 50, so (50 - 49.5) / 100 * 65535 = 327.7; 50 is 100, so .505 * 65535 = 33095.2.
    """
    tags = {"RescaleSlope": "2", "RescaleIntercept": "0", "WindowCenter": "100", "WindowWidth": "101"}
    dicom(tmp_path / "1.dcm", np.array([[0, 24, 25, 50, 75, 255]], "u1"), **tags)
    assert read_gray(tmp_path / "1.dcm").tolist() == [[0, 0, 328, 33095, 65535, 65535]]


def test_a_look_up_table_is_applied(dicom, tmp_path: Path) -> None:
    """8-bit values below 2 take the table's first entry, those from 4 on its last: 10, 20, 30 become 0, half, all."""
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [3, 2, 16], np.array([10, 20, 30], "<u2").tobytes()
    dicom(tmp_path / "1.dcm", np.array([[0, 2, 3, 4, 255]], "u1"), VOILUTSequence=[table])
    assert read_gray(tmp_path / "1.dcm").tolist() == [[0, 0, 32768, 65535, 65535]]


def test_what_is_no_gray_image_is_unusable(dicom, tmp_path: Path) -> None:
    path = tmp_path / "1-1.dcm"
    tags = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    dicom(path, np.zeros((4, 4, 3), "u1"), **tags)
    with pytest.raises(Unusable, match=r"not a gray image.*RGB"):
        read_gray(path)
    dicom(path, np.zeros((4, 4), "u1"), PhotometricInterpretation="PALETTE COLOR")
    with pytest.raises(Unusable, match=r"not a gray image.*PALETTE"):
        read_gray(path)
    dicom(path, np.zeros((4, 4), "u4"))
    with pytest.raises(Unusable, match=r"not a gray image.*32 bits"):
        read_gray(path)
    dicom(path, np.zeros((2, 4), "u2"), Rows=1, NumberOfFrames=2)
    with pytest.raises(Unusable, match=r"not one image: 1-1.dcm \(2 frames\)"):
        read_gray(path)
    dicom(path, np.zeros((2, 4), "u2"), WindowCenter="99999", WindowWidth="1")
    with pytest.raises(Unusable, match="all values alike"):
        read_gray(path)


def test_bombs_are_not_unpacked(dicom, tmp_path: Path) -> None:
    """Ten kilobytes that declare 65535 x 65535 pixels, a deflated file, and a file of 2 GiB (with holes)."""
    path = tmp_path / "1-1.dcm"
    dicom(path, np.zeros((64, 64), "u2"), Rows=65535, Columns=65535)
    with pytest.raises(Unusable, match="image is too large"):
        read_gray(path)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path)
    with pytest.raises(Unusable, match="deflated"):
        read_gray(path)
    with path.open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(Unusable, match="file is larger than 1024 MiB"):
        read_gray(path)


def test_damage_never_escapes_as_another_error(dicom, tmp_path: Path) -> None:
    """Truncations and flipped bytes: the file reads as an image of 16 bits or is Unusable, in one line."""
    path = tmp_path / "1-1.dcm"
    dicom(path, np.arange(64, dtype=np.uint16).reshape(8, 8))
    whole, generator, unusable = path.read_bytes(), np.random.default_rng(1), 0
    for trial in range(400):
        damaged = bytearray(whole)
        if trial % 2:
            del damaged[generator.integers(len(whole)) :]
        else:
            damaged[generator.integers(132, len(whole) - 128)] = generator.integers(256)
        path.write_bytes(damaged)
        try:
            assert read_gray(path).dtype == np.uint16
        except Unusable as error:
            assert "\n" not in str(error)
            unusable += 1
    assert unusable >= 200  # every truncation loses pixels


def test_missing_file_is_unusable(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="file cannot be opened"):
        read_gray(tmp_path / "none.dcm")
