"""How far a hospital's images are from the others' in what the classifier's head reads: maximum mean discrepancy."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from sklearn.metrics.pairwise import euclidean_distances

from fedmammo.randomness import generator_of

Real = NDArray[np.float64]

PERMUTATIONS = 999


def kernel_distances(features: ArrayLike, patient_of: ArrayLike, hospital_of: ArrayLike, seed: int) -> pd.DataFrame:
    """Measure each hospital against all others: one row per hospital, sorted by name.

    The squared maximum mean discrepancy (Gretton et al. 2012, JMLR 13:723, eq. 3) with the Gaussian kernel
    exp(-d^2 / 2 s^2), s the median distance between images of different patients. Pairs of images of one patient are
    left out, so that the estimate is unbiased over patients: it is near 0, and may be below, where a hospital's
    images are like the others'; at most 2. p is the share of dealings at random, patients whole and as many at the
    hospital, in which it is as large or larger (999 dealings and the one at hand; Phipson and Smyth 2010).

    Args:
        features: (images, columns), finite; takes 8 bytes for each pair of images, several times.
        patient_of: (images,) each image's patient, who is at one hospital.
        hospital_of: (images,) each image's hospital.
        seed: of the dealings.

    Returns:
        Columns: hospital, feature distance, p; both missing where the hospital or the others have fewer than two
        patients.
    """
    _, first, patient = np.unique(np.asarray(patient_of, dtype=str), return_index=True, return_inverse=True)
    holder = np.asarray(hospital_of, dtype=str)[first]
    kernel, pairs = _between_patients(np.asarray(features, dtype=np.float64), patient)
    rows = []
    for name in sorted(set(holder)):
        own = (holder == name).astype(np.float64)
        distance = p = np.nan
        if 2 <= own.sum() <= len(own) - 2:
            generator = generator_of(seed, "hospitals", "kernel distance", name)
            dealings = generator.permuted(np.tile(own, (PERMUTATIONS, 1)), axis=1)
            distance, *chance = _discrepancies(np.vstack([own, dealings]), kernel, pairs)
            p = (1 + np.sum(np.array(chance) >= distance)) / (1 + PERMUTATIONS)
        rows.append({"hospital": name, "feature distance": float(distance), "p": float(p)})
    return pd.DataFrame(rows)


def _between_patients(features: Real, patient: NDArray[np.int64]) -> tuple[Real, Real]:
    """Sum the kernel over the images of each two patients, and count the pairs: patients x patients, diagonal 0."""
    squared = euclidean_distances(features, squared=True)
    apart = patient[:, None] < patient
    width = np.median(squared[apart]) if apart.any() else 1.0
    kernel = np.exp(-squared / (2 * (width or 1.0)))
    images = csr_array((np.ones(len(patient)), (patient, np.arange(len(patient)))))
    sums, counts = images @ (images @ kernel).T, np.bincount(patient)
    pairs = np.outer(counts, counts).astype(np.float64)
    for table in (sums, pairs):
        np.fill_diagonal(table, 0)
    return sums, pairs


def _discrepancies(own: Real, kernel: Real, pairs: Real) -> Real:
    """Return the squared discrepancy between patients marked 1 and 0, for each row of `own` (dealings x patients)."""
    others = 1 - own

    def mean(left: Real, right: Real) -> Real:
        total: Real = ((left @ kernel) * right).sum(1) / ((left @ pairs) * right).sum(1)
        return total

    return mean(own, own) + mean(others, others) - 2 * mean(own, others)
