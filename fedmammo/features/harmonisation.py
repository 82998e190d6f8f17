"""What a study does to images of different digitisers before a network sees them."""

import numpy as np
from numpy.typing import NDArray

from fedmammo.hospitals.digitiser import Digitiser

MEAN, SPREAD = 0.5, 0.2  # of the gray values that every image gets, as fractions of full scale
WINDOW = (1, 99)  # percentiles of an image's gray values that become black and white


def harmonise(patch: NDArray[np.uint16], how: str, digitiser: Digitiser | None) -> NDArray[np.uint16]:
    """Return a patch (side, side), 0-65535, in the form that all hospitals share.

    `none` leaves it. `calibration` undoes the response curve of the hospital's digitiser, as published for it; what
    the digitiser blurred, clipped or buried in noise stays lost. `window` stretches each image's own gray values, from
    the 1st to the 99th percentile, over the full scale, as viewers do: it undoes brightness and contrast, but no curve.
    `histogram` gives every image the same, normal
    distribution of gray values by rank, so that no rising response curve, known or not, makes a difference, nor does
    the image's own contrast (histogram specification: Gonzalez and Woods, Digital Image Processing, section 3.3).
    """
    if how == "calibration" and digitiser is not None:
        return digitiser.undo_response(patch)
    if how == "window":
        black, white = np.percentile(patch, WINDOW)
        gray = np.clip((patch - black) / max(white - black, 1), 0, 1)
        return np.rint(65535 * gray).astype(np.uint16)
    if how == "histogram":
        from scipy.stats import norm, rankdata

        quantiles = (rankdata(patch) - 0.5) / patch.size
        gray = np.clip(MEAN + SPREAD * norm.ppf(quantiles), 0, 1)
        return np.rint(65535 * gray).astype(np.uint16).reshape(patch.shape)
    return patch
