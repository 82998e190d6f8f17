"""A picture of what a generator draws."""

from io import BytesIO

import numpy as np
from PIL import Image

from fedmammo.models.mcgan import Mcgan, sample

IMAGES = 8  # of each class


def grid_of(gan: Mcgan) -> bytes:
    """Draw the same images at any time, benign ones above malignant ones, as PNG: how training goes."""
    rows = [sample(gan, malignant, IMAGES, "grid")[:, 0] for malignant in (False, True)]
    picture = np.concatenate([np.concatenate(list(row.numpy()), axis=1) for row in rows])
    buffer = BytesIO()
    Image.fromarray(np.rint(255 * picture).astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()
