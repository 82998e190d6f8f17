from pathlib import Path

import numpy as np
import pytest

from fedmammo.cohort.dicom import read_gray
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


def test_what_is_no_gray_image_is_unusable(dicom, tmp_path: Path) -> None:
    path = tmp_path / "1-1.dcm"
    dicom(path, np.zeros((4, 4), "i2"))
    with pytest.raises(Unusable, match=r"not a gray image.*1-1.dcm.*signed"):
        read_gray(path)
    tags = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    dicom(path, np.zeros((4, 4, 3), "u1"), **tags)
    with pytest.raises(Unusable, match=r"not a gray image.*RGB, 3 axes"):
        read_gray(path)
    dicom(path, np.zeros((2, 4), "u2"), Rows=1, NumberOfFrames=2)
    with pytest.raises(Unusable, match="not a gray image"):
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
    with pytest.raises(Unusable, match="unreadable DICOM: none"):
        read_gray(tmp_path / "none.dcm")
