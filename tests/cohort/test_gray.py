"""Pictures that are not DICOM: 8 and 16 bits, PNG, TIFF and JPEG; and what is none of them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedmammo.cohort.gray import read_gray
from fedmammo.cohort.quarantine import Unusable

PIXELS = np.array([[0, 1, 128, 255], [2, 3, 4, 5]])


@pytest.mark.parametrize("name", ["1.png", "1.tif", "1.tiff", "wrongly-named.jpg"])
def test_8_bits_are_spread_over_16_and_16_are_kept(tmp_path: Path, name: str) -> None:
    """255 becomes 65535, so 1 becomes 257. The format is told by the content, not by the name."""
    for kind, factor in (("u1", 257), ("u2", 1)):
        image = Image.fromarray((PIXELS * (257 if kind == "u2" else 1)).astype(kind))
        image.save(tmp_path / name, format="PNG" if "wrong" in name else None)
        assert read_gray(tmp_path / name).tolist() == (PIXELS * 257).tolist(), factor


def test_one_bit_is_black_or_white(tmp_path: Path) -> None:
    Image.fromarray(PIXELS > 100).save(tmp_path / "1.png")
    assert read_gray(tmp_path / "1.png").tolist() == [[0, 0, 65535, 65535], [0, 0, 0, 0]]


def test_jpeg_is_near_and_gray_saved_as_colour_is_gray(tmp_path: Path) -> None:
    pixels = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))
    Image.fromarray(pixels).save(tmp_path / "1.jpg", quality=95)
    assert np.abs(read_gray(tmp_path / "1.jpg").astype(int) - 257 * pixels.astype(int)).max() <= 4 * 257
    Image.fromarray(np.dstack([pixels] * 3)).save(tmp_path / "1.png")
    assert read_gray(tmp_path / "1.png").tolist() == (257 * pixels.astype(int)).tolist()


def test_what_cannot_be_a_patch_is_one_line(tmp_path: Path) -> None:
    colour = np.zeros((4, 4, 3), np.uint8)
    colour[0, 0, 1] = 9
    Image.fromarray(colour).save(tmp_path / "colour.png")
    Image.fromarray(PIXELS.astype("f4")).save(tmp_path / "float.tif")
    Image.fromarray(PIXELS.astype("u1")).save(
        tmp_path / "frames.tif", save_all=True, append_images=[Image.fromarray(PIXELS.astype("u1"))]
    )
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "whole.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "whole.png").read_bytes()[:50])
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").write_bytes(b"")
    for name, reason in {
        "colour.png": "not a gray image of 8 or 16 bits: colour.png (mode RGB)",
        "float.tif": "not an image of whole numbers from 0 on: float.tif",
        "frames.tif": "not one image: frames.tif (2 frames)",
        "torn.png": "unreadable image: torn.png",
        "text.png": "neither DICOM, PNG, TIFF nor JPEG: text.png",
        "empty.png": "neither DICOM, PNG, TIFF nor JPEG: empty.png",
        "missing.png": "file cannot be opened: missing.png (No such file or directory)",
        ".": "file cannot be opened",
    }.items():
        with pytest.raises(Unusable) as caught:
            read_gray(tmp_path / name)
        assert str(caught.value).startswith(reason) and "\n" not in str(caught.value)


@pytest.mark.parametrize("side", [10_001, 60_000])
def test_a_picture_that_declares_more_than_is_read(tmp_path: Path, side: int) -> None:
    """Some kilobytes of zeros that would become 100 million pixels and more."""
    Image.new("1", (10, 10)).save(tmp_path / "1.tif")
    image = Image.open(tmp_path / "1.tif")
    tags = image.tag_v2
    tags[256], tags[257] = side, side  # ImageWidth, ImageLength (TIFF 6.0)
    with (tmp_path / "bomb.tif").open("wb") as file:
        file.write(b"II*\0\x08\0\0\0" + tags.tobytes(8))
    with pytest.raises(Unusable, match="image is too large"):
        read_gray(tmp_path / "bomb.tif")
