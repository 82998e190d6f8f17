"""Radiomic features and their distance: by hand, and as the package that defines them says."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fedmammo.synthesis.radiomics import is_installed, radiomic_features, radiomics_distance

with_extra = pytest.mark.skipif(not is_installed(), reason="the extra frd is not installed: pip install -e '.[frd]'")


def blobs(images: int, side: int, seed: int) -> NDArray[np.uint16]:
    """Noise upon noise of four times the grain."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 40000, (images, side // 4, side // 4)).repeat(4, axis=1).repeat(4, axis=2)
    return (coarse + generator.integers(0, 20000, (images, side, side))).astype(np.uint16)


def quiet(text: str) -> None:
    """Take no notice of progress."""


def test_distance_by_hand() -> None:
    """The reference 0, 2 has mean 1 and standard deviation 1: -1, 1 against 2, 6; means 0 and 4, variances 2 and 8.

    4^2 + 2 + 8 - 2 root(16) = 18. The reference's second column is constant, and is left out.
    """
    assert radiomics_distance(np.array([[0.0, 7], [2, 7]]), np.array([[3.0, 1], [7, 2]])) == pytest.approx(np.log(18))


@with_extra
def test_it_is_the_distance_of_frd_score(tmp_path_factory: pytest.TempPathFactory) -> None:
    from frd_score import compute_frd

    sets, files = [blobs(7, 16, seed=1), blobs(6, 16, seed=2) // 2], []
    for patches in sets:
        folder = tmp_path_factory.mktemp("set")
        for number, patch in enumerate(patches):
            Image.fromarray(patch).save(folder / f"{number}.png")
        files.append([str(file) for file in sorted(folder.iterdir())])
    features = [radiomic_features(patches, 1, quiet) for patches in sets]
    assert features[0].shape[0] == 7
    assert radiomics_distance(*features) == pytest.approx(compute_frd(files, num_workers=1), abs=1e-3)


@with_extra
def test_an_image_of_one_gray_value_has_no_features() -> None:
    patches = blobs(3, 16, seed=3)
    patches[1] = 700
    features = radiomic_features(patches, 1, quiet)
    assert np.array_equal(features, radiomic_features(patches[[0, 2]], 1, quiet))
    assert radiomic_features(patches[1:2], 1, quiet).shape[0] == 0


@with_extra
@pytest.mark.long
def test_processes_do_not_matter() -> None:
    from fedmammo.synthesis import radiomics

    patches = blobs(4, 16, seed=4)
    alone = radiomic_features(patches, 1, quiet)
    radiomics._known.clear()
    assert np.array_equal(radiomic_features(patches, 2, quiet), alone)
