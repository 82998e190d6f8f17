"""How far two sets of images are apart in what a network reads of them: Fréchet distance and kernel distance.

Images of one patient are alike: the kernel distance and the extrapolated Fréchet distance count patients, and neither
falls with their number. The Fréchet distance as it is defined falls with the number of images, by much.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Real = NDArray[np.float64]

SHARES = np.linspace(0.5, 1, 8)  # of the patients, from which the Fréchet distance is extrapolated


def frechet_distance(first: ArrayLike, second: ArrayLike) -> float:
    """Squared Fréchet distance between the Gaussians that have the two sets' means and covariances.

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) (Heusel et al. 2017, arXiv 1706.08500, there on Inception features).
    The trace of the root is the sum of the singular values of A B^T, where S1 = A^T A and S2 = B^T B: no root of a
    singular matrix is taken. Biased upwards by small numbers of images.

    Args:
        first: (images, columns), at least two images, finite.
        second: the same columns; its number of images may differ.
    """
    means, roots = zip(*(_moments(features) for features in (first, second)), strict=True)
    common = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    apart = np.sum((means[0] - means[1]) ** 2)
    return float(apart + np.sum(roots[0] ** 2) + np.sum(roots[1] ** 2) - 2 * common)


def _moments(features: ArrayLike) -> tuple[Real, Real]:
    """Return the mean, and A with A^T A the covariance: of no more rows than there are images or columns."""
    values = np.asarray(features, dtype=np.float64)
    mean = values.mean(axis=0)
    root: Real = np.asarray(np.linalg.qr((values - mean) / np.sqrt(len(values) - 1), mode="r"))
    return mean, root


def extrapolated_frechet_distance(
    first: ArrayLike,
    second: ArrayLike,
    patients_of_first: ArrayLike,
    patients_of_second: ArrayLike,
    generator: np.random.Generator,
) -> float:
    """Squared Fréchet distance as it would be of infinitely many patients: a line's value where 1 / patients is 0.

    The line is fitted to the distances at `SHARES` of the patients of both sets, drawn anew for each share (Chong and
    Forsyth 2020, arXiv 1911.07023: "FID infinity"). Patients are drawn whole: in a share of the images fewer would be
    of one patient, and what that adds to the distance would stay. Near 0, and may be below, where both sets come from
    one distribution. One call draws one subset of each size: average over calls.

    Args:
        first: (images, columns), finite, of at least four times as many patients as columns.
        second: the same columns; the same of its patients.
        patients_of_first: (images,) whose image it is; an image that is nobody's is given a name of its own.
        patients_of_second: the same of the second set.
        generator: draws patients.
    """
    sets = [(np.asarray(first), patients_of_first), (np.asarray(second), patients_of_second)]
    places = [(features, np.unique(patients, return_inverse=True)[1]) for features, patients in sets]
    found = [frechet_distance(*(_share(*one, share, generator) for one in places)) for share in SHARES]
    return float(np.polyfit(1 / SHARES, found, 1)[1])


def _share(features: NDArray, patient: NDArray[np.int64], share: float, generator: np.random.Generator) -> NDArray:
    """Draw a share of the patients (images,), who are numbered from 0; return all their images."""
    patients = patient.max() + 1
    return features[(generator.permutation(patients) < round(share * patients))[patient]]


def kernel_distance(
    first: ArrayLike, second: ArrayLike, patients_of_first: ArrayLike, patients_of_second: ArrayLike
) -> float:
    """Squared maximum mean discrepancy with the kernel (x.y / columns + 1)^3: "KID" (Binkowski et al. 2018,
    arXiv 1801.01401, there on Inception features).

    Pairs of images of one patient do not count, so that it is unbiased over patients: near 0, and may be below, where
    both sets come from one distribution, whatever their size.

    Args:
        first: (images, columns), finite.
        second: the same columns; its number of images may differ.
        patients_of_first: (images,) whose image it is; an image that is nobody's is given a name of its own.
        patients_of_second: the same of the second set; patients may be in both.

    Returns:
        NaN where all images of a set are one patient's.
    """
    left, right = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    own, others = np.asarray(patients_of_first), np.asarray(patients_of_second)
    within = _mean_kernel(left, left, own, own) + _mean_kernel(right, right, others, others)
    return within - 2 * _mean_kernel(left, right, own, others)


def _mean_kernel(left: Real, right: Real, patients_left: NDArray, patients_right: NDArray) -> float:
    """Mean kernel over pairs of images of different patients."""
    apart = patients_left[:, None] != patients_right
    kernel = (left @ right.T / left.shape[1] + 1) ** 3
    return float(kernel[apart].mean()) if apart.any() else np.nan
