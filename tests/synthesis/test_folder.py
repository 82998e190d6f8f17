"""The source `folder`: labels from names, a choice by the seed, and what cannot be used in one line."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedmammo.errors import InputError
from fedmammo.synthesis.folder import digest_of_images, images_by_class, read_images
from fedmammo.synthesis.sources import FromFolder

SIDE = 8


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images of one gray value each: benign ones of 0 to 4, malignant ones of 100 to 104, named as the reference's."""
    for number in range(5):
        for name, gray in (("benign", number), ("malignant", 100 + number)):
            picture = Image.fromarray(np.full((SIDE, SIDE), gray, np.uint8))
            picture.save(tmp_path / f"batch_0_{number}_{name}.png")
    return tmp_path


def source(folder: Path, **keys: int) -> FromFolder:
    return FromFolder.model_validate({"source": "folder", "path": str(folder), "images": 6, **keys})


def grays(folder: Path, **keys: int) -> list[int]:
    """Gray values of the images that are read, as 8 bit."""
    return [int(patch[0, 0]) // 257 for patch in read_images(source(folder, **keys), SIDE).patches]


def test_half_are_malignant_and_none_twice(folder: Path) -> None:
    synthetic = read_images(source(folder), SIDE)
    assert synthetic.malignant.tolist() == [False, True] * 3
    assert set(synthetic.origin) == {folder.name}
    read = grays(folder)
    assert all(gray < 5 for gray in read[::2]) and all(100 <= gray < 105 for gray in read[1::2])
    assert len(set(read)) == 6


def test_the_choice_is_the_seeds(folder: Path) -> None:
    assert grays(folder) == grays(folder)
    assert len({tuple(grays(folder, seed=seed)) for seed in range(5)}) > 1
    assert grays(folder, images=10)[:6] == grays(folder), "a larger pool begins with the same images"


def test_images_are_resized(folder: Path) -> None:
    assert read_images(source(folder), 4).patches.shape == (6, 4, 4)


def test_a_folder_may_say_the_class(tmp_path: Path) -> None:
    for name in ("benign", "is_malignant"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(tmp_path / name / "a.png")
    found = images_by_class(source(tmp_path, images=2))
    assert {name: [file.parent.name for file in files] for name, files in found.items()} == {
        "benign": ["benign"],
        "malignant": ["is_malignant"],
    }


def test_what_cannot_be_used_is_one_line(folder: Path) -> None:
    with pytest.raises(InputError, match=r"synthesis\.path: .*nowhere is no folder"):
        read_images(source(folder / "nowhere"), SIDE)
    with pytest.raises(InputError, match=r"synthesis\.images: half of 12 are benign, but .* has 5 such images"):
        read_images(source(folder, images=12), SIDE)
    (folder / "batch_0_0_benign.png").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"synthesis\.path: neither DICOM.*remove or mend .*batch_0_0_benign\.png"):
        read_images(source(folder, images=10), SIDE)
    (folder / "other.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"other\.png is not told benign or malignant"):
        images_by_class(source(folder))


def test_the_digest_is_that_of_names_and_content(folder: Path) -> None:
    before = digest_of_images(source(folder))
    assert digest_of_images(source(folder, seed=1)) == before
    (folder / "notes.txt").write_text("no image")
    assert digest_of_images(source(folder)) == before
    first, second = folder / "batch_0_1_benign.png", folder / "batch_0_2_benign.png"
    first.write_bytes(second.read_bytes())
    altered = digest_of_images(source(folder))
    assert altered != before
    first.rename(folder / "batch_9_1_benign.png")
    assert digest_of_images(source(folder)) not in (before, altered)
