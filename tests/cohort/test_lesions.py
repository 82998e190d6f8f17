"""Mask or crop: told by shape and content, also where lossy compression left neither of two values."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedmammo.cohort.lesions import Lesion, choose_mask, read_lesions
from fedmammo.cohort.patch import Box
from fedmammo.cohort.quarantine import Unusable


def write(folder: Path, **pictures: np.ndarray) -> tuple[Path, ...]:
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(folder / f"{name}.jpg", quality=60)
    return tuple(folder / f"{name}.jpg" for name in pictures)


def disc(side: int = 200) -> np.ndarray:
    """A bright disc of a quarter of the side as radius."""
    rows, columns = np.indices((side, side)) - side / 2
    return ((rows**2 + columns**2 < (side / 4) ** 2) * 255).astype(np.uint8)


def tissue(side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (side, side)).astype(np.uint8)


@pytest.mark.parametrize("side", [200, 120])
def test_a_blurred_mask_is_told_from_the_crop(tmp_path: Path, side: int) -> None:
    """Of the image's size, and of another; the edge stays where it was to a pixel."""
    chosen = choose_mask(write(tmp_path, crop=tissue(90), mask=disc(side)), (200, 200))
    assert chosen.shape == (side, side)
    assert np.abs(chosen.any(axis=0).sum() - (disc(side) > 0).any(axis=0).sum()) <= 2


def test_a_mask_that_compression_left_black_is_empty(tmp_path: Path) -> None:
    nearly_black = np.random.default_rng(0).integers(0, 4, (200, 200)).astype(np.uint8)
    lesion = Lesion(*write(tmp_path, image=tissue(200)), candidates=write(tmp_path, mask=nearly_black))
    assert read_lesions([lesion], 64, 0.2)[0].text == "mask is empty"


def test_two_crops_are_no_mask(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="no mask among the files"):
        choose_mask(write(tmp_path, one=tissue(90), two=tissue(80)), (200, 200))


def test_a_mask_of_0_and_1_counts(tmp_path: Path) -> None:
    """Two values of 8 bits, next to each other: no contrast, but exactly two."""
    Image.fromarray(disc() // 255).save(tmp_path / "mask.png")
    assert (choose_mask((tmp_path / "mask.png",), (300, 300)) == (disc() > 0)).all()


def test_a_fault_of_one_lesion_leaves_the_others(tmp_path: Path) -> None:
    (image,) = write(tmp_path, image=tissue(200))
    lesions = [Lesion(image), Lesion(image, box=Box(0, 0, 999, 9)), Lesion(image, box=Box(0, 0, 9, 9))]
    outcomes = read_lesions(lesions, 64, 0.2)
    assert [outcome.patch is None for outcome in outcomes] == [False, True, False]
    image.unlink()
    assert [outcome.text for outcome in read_lesions(lesions, 64, 0.2)] == [
        "file cannot be opened: image.jpg (No such file or directory)"
    ] * 3
