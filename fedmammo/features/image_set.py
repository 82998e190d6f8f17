"""Sets of images with labels, as the frozen prefix sees them: a cohort's, or a synthetic pool's."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedmammo.cohort.store import Cohort
from fedmammo.features.harmonisation import harmonise
from fedmammo.hospitals.digitiser import Digitiser
from fedmammo.hospitals.records import Records
from fedmammo.synthesis.pool import Pool
from fedmammo.synthesis.sources import NONE_NEEDED


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images, by row.

    Attributes:
        features: folder below which features of the images are kept.
        digest: names the images.
        patches: (images, side, side), uint16, 0-65535.
        names: (images,) text; a digitiser's noise depends on it.
        malignant: (images,) bool: the label to learn.
        digitisers: one per image: what shows it, or None for the image as it is.
    """

    features: Path
    digest: str
    patches: np.memmap
    names: NDArray[np.object_]
    malignant: NDArray[np.bool_]
    digitisers: tuple[Digitiser | None, ...]

    def patch(self, row: int, harmonisation: str) -> NDArray[np.uint16]:
        """Show an image, (side, side), as its digitiser and the harmonisation leave it."""
        patch, digitiser = self.patches[row], self.digitisers[row]
        if digitiser is not None:
            patch = digitiser.show(patch, str(self.names[row]))
        return harmonise(patch, harmonisation, digitiser)


def images_of_cohort(cohort: Cohort, records: Records) -> ImageSet:
    """The images of a cohort as its hospitals have them on record."""
    names = cohort.manifest["image"].to_numpy(dtype=object)
    return ImageSet(cohort.features, cohort.digest, cohort.patches, names, records.malignant, records.digitisers)


def images_of_pool(pool: Pool, public: Path | None) -> ImageSet:
    """The images of a pool; no digitiser shows them.

    `public`: where features of drawn images are kept, for every run that draws them; others' go with the pool.
    """
    drawn = pool.manifest["guarantee"] == NONE_NEEDED
    features = public if drawn and public is not None else pool.folder / "features"
    names, malignant = (pool.images[column].to_numpy() for column in ("image", "malignant"))
    return ImageSet(features, pool.digest, pool.patches, names, malignant, (None,) * len(names))
