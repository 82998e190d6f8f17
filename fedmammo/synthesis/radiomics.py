"""Radiomic features of images and the distance between two sets of them, where the extra `frd` is installed.

Fréchet Radiomics Distance, version 1 (Konz, Osuala et al. 2026, arXiv 2412.01496): features of gray values and texture
of an image and its wavelets, as the package frd-score sets them up. The Laplacians of Gaussian that it asks for too are
computed of volumes only.
"""

import hashlib
import logging
import tempfile
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedmammo.disk.parallel import in_order
from fedmammo.synthesis.distances import frechet_distance

INSTALL = "not installed: pip install 'fedmammo[frd]' (needs a C compiler)"
_known: dict[
    str, list[float] | None
] = {}  # by digest of the image: the same real ones are asked for again by each pool


def is_installed() -> bool:
    """Whether the extra `frd` is there."""
    return find_spec("frd_score") is not None and find_spec("radiomics") is not None


def radiomic_features(
    patches: NDArray[np.uint16], processes: int, report: Callable[[str], None]
) -> NDArray[np.float64]:
    """Extract the radiomic features of images: (images, features), a quarter of a second for each.

    An image without any features, such as one of a single gray value, has no row. Features found before in this
    process are remembered.

    Args:
        patches: (images, side, side).
        processes: that extract; the result does not depend on them.
        report: is told how far this is.
    """
    names = [hashlib.sha256(repr(patch.shape).encode() + patch.tobytes()).hexdigest() for patch in patches]
    missing = {name: patch for name, patch in zip(names, patches, strict=True) if name not in _known}
    found = in_order(_extract, missing.values(), min(processes, max(len(missing), 1)), lambda _: None)
    for done, (name, features) in enumerate(zip(missing, found, strict=True)):
        report(f"radiomic features of image {done + 1} of {len(missing)}")
        _known[name] = features
    return np.array([row for name in names if (row := _known[name]) is not None], dtype=np.float64)


def radiomics_distance(reference: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Logarithm of the Fréchet distance between radiomic features, in units of the reference's standard deviations.

    Columns that are constant in the reference are left out; features are rounded to 32 bits first, as in frd-score,
    whose `compute_frd` gives the same for the same images.

    Args:
        reference: (images, features), at least two images.
        other: (images, the same features), at least two images.
    """
    first, second = (features.astype(np.float32).astype(np.float64) for features in (reference, other))
    usable = np.ptp(first, axis=0) > 0  # the standard deviation of equal values is not exactly 0
    first, second = first[:, usable], second[:, usable]
    mean, spread = first.mean(axis=0), first.std(axis=0)
    return float(np.log(frechet_distance((first - mean) / spread, (second - mean) / spread)))


def _extract(patch: NDArray[np.uint16]) -> list[float] | None:
    """Features of one image; None where it has none."""
    from frd_score.frd import process_image_mask_pair

    if np.ptp(patch) == 0:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.png"
        Image.fromarray(patch).save(path)
        features: list[float] = process_image_mask_pair((path, None), feature_extractor=_extractor())[0]
    return features if np.isfinite(features).all() else None


@lru_cache
def _extractor() -> Any:
    from frd_score.frd import get_feature_extractor

    extractor = get_feature_extractor()
    logging.getLogger("radiomics").setLevel(logging.ERROR)  # not a line on each image that is no volume
    return extractor
