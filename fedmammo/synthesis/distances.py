"""How far two sets of images are apart in what a network reads of them: Fréchet distance and kernel distance.

Both depend on how many images there are, the Fréchet distance strongly: compare only values at equal numbers.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Real = NDArray[np.float64]


def frechet_distance(first: ArrayLike, second: ArrayLike) -> float:
    """Squared Fréchet distance between the Gaussians that have the two sets' means and covariances.

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) (Heusel et al. 2017, arXiv 1706.08500, there on Inception features).
    The trace of the root is the sum of the singular values of A B^T, where A and B hold the centred features over
    root (n - 1): no root of a singular matrix is taken. Biased upwards by small numbers of images.

    Args:
        first: (images, columns), at least two images, finite.
        second: the same columns; its number of images may differ.
    """
    means, spreads = zip(*(_moments(features) for features in (first, second)), strict=True)
    common = np.linalg.svd(spreads[0] @ spreads[1].T, compute_uv=False).sum()
    apart = np.sum((means[0] - means[1]) ** 2)
    return float(apart + np.sum(spreads[0] ** 2) + np.sum(spreads[1] ** 2) - 2 * common)


def _moments(features: ArrayLike) -> tuple[Real, Real]:
    values = np.asarray(features, dtype=np.float64)
    mean = values.mean(axis=0)
    return mean, (values - mean) / np.sqrt(len(values) - 1)


def kernel_distance(first: ArrayLike, second: ArrayLike) -> float:
    """Squared maximum mean discrepancy with the kernel (x.y / columns + 1)^3: "KID" (Binkowski et al. 2018,
    arXiv 1801.01401, there on Inception features).

    Unbiased: near 0, and may be below, where both sets come from one distribution, whatever their size.

    Args:
        first: (images, columns), at least two images, finite.
        second: the same columns; its number of images may differ.
    """
    left, right = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    between = _kernel(left, right).mean()
    return float(_within(left) + _within(right) - 2 * between)


def _kernel(left: Real, right: Real) -> Real:
    kernel: Real = (left @ right.T / left.shape[1] + 1) ** 3
    return kernel


def _within(features: Real) -> float:
    """Mean kernel over pairs of different images."""
    kernel, images = _kernel(features, features), len(features)
    return float((kernel.sum() - np.trace(kernel)) / (images * (images - 1)))
