"""Whether images are copies of training images: how much nearer they are to one patient than to any other."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist


class Nearest(NamedTuple):
    """For each image: what it is nearest to in training.

    Attributes:
        own: row of the nearest training image.
        other: row of the nearest training image of any other patient.
        ratio: distance to the first over distance to the second, 0 to 1; NaN where there is no other patient, or where
            both distances are 0.
    """

    own: NDArray[np.int64]
    other: NDArray[np.int64]
    ratio: NDArray[np.float64]


def nearest_patients(images: ArrayLike, training: ArrayLike, patient: ArrayLike) -> Nearest:
    """Find each image's nearest training image, and the nearest of another patient.

    A ratio near 1: the image is no nearer to one patient than to others. Near 0: it is a copy of one patient's image.
    Several images of one patient do not hide a copy, as they would from a ratio of the two nearest images. Finds
    copies only: that there is none says nothing about what a model gives away otherwise (arXiv 2505.01524).

    Args:
        images: (images, columns), features.
        training: (training images, columns), features.
        patient: (training images,) each training image's patient.
    """
    distances = cdist(np.asarray(images, dtype=np.float64), np.asarray(training, dtype=np.float64))
    patient = np.asarray(patient, dtype=str)
    rows, own = np.arange(len(distances)), distances.argmin(axis=1)
    others = np.where(patient[None, :] == patient[own][:, None], np.inf, distances)
    other = others.argmin(axis=1)
    near, far = distances[rows, own], others[rows, other]
    ratio = np.divide(near, far, out=np.full(len(near), np.nan), where=np.isfinite(far) & (far > 0))
    return Nearest(own, other, ratio)
