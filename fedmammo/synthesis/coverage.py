"""Whether synthetic images lie where real ones do, and reach all of them: precision, recall, density, coverage."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics.pairwise import euclidean_distances

NEIGHBOURS = 5


class Coverage(NamedTuple):
    """The four shares; all but density lie in 0 to 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def coverage_of(real: ArrayLike, synthetic: ArrayLike, neighbours: int = NEIGHBOURS) -> Coverage:
    """Measure how two sets of images overlap, by balls around images.

    The ball of an image reaches to its k-th nearest neighbour in its own set. Precision: the share of synthetic images
    that lie in some real image's ball. Recall: the share of real images that lie in some synthetic image's ball
    (Kynkäänniemi et al. 2019, arXiv 1904.06991). Density: in how many real balls a synthetic image lies, on average,
    over k; may exceed 1. Coverage: the share of real images whose ball holds a synthetic image (Naeem et al. 2020,
    arXiv 2002.09797). Like them, an image on the edge of a ball is outside.

    Args:
        real: (images, columns), more images than `neighbours`.
        synthetic: (images, columns), more images than `neighbours`.
        neighbours: k.
    """
    real, synthetic = np.asarray(real, dtype=np.float64), np.asarray(synthetic, dtype=np.float64)
    distances = euclidean_distances(real, synthetic)
    in_real_ball = distances < _radii(real, neighbours)[:, None]
    in_synthetic_ball = distances < _radii(synthetic, neighbours)[None, :]
    return Coverage(
        precision=float(in_real_ball.any(axis=0).mean()),
        recall=float(in_synthetic_ball.any(axis=1).mean()),
        density=float(in_real_ball.sum(axis=0).mean() / neighbours),
        coverage=float(in_real_ball.any(axis=1).mean()),
    )


def _radii(features: NDArray[np.float64], neighbours: int) -> NDArray[np.float64]:
    """Distance of each image to its k-th nearest among the others."""
    apart = euclidean_distances(features)  # 0 of each to itself, which is the 0th nearest
    nearest: NDArray[np.float64] = np.partition(apart, neighbours, axis=1)[:, neighbours]
    return nearest
