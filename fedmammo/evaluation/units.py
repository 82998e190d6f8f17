"""Of what a metric is: images, or lesions, breasts and patients, whose images' scores are averaged."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from fedmammo.config.evaluation import Pooling
from fedmammo.evaluation.tested import Floats, Integers

NEAREST = 1e-6  # to 0 and 1: a score has log odds


class Grouping(NamedTuple):
    """Which unit each image belongs to.

    Attributes:
        of_image: (images,) position of its unit.
        at: (units,) position of each unit's first image.
    """

    of_image: Integers
    at: Integers

    @classmethod
    def of(cls, names: np.ndarray) -> "Grouping":
        """Group images, (images,), by the name of their unit, in the order in which units appear."""
        of_image, units = pd.factorize(names)
        at = np.full(len(units), len(names), dtype=np.int64)
        np.minimum.at(at, of_image, np.arange(len(names)))
        return cls(of_image.astype(np.int64), at)

    def mean(self, score: Floats, pooling: Pooling = "probability") -> Floats:
        """Average over images, (images,): the score of a lesion is the mean of its views', or of their log odds.

        Not the highest: with one more image noise alone would score higher.
        """
        if pooling == "log_odds":
            return expit(self.mean(logit(np.clip(score, NEAREST, 1 - NEAREST))))
        counts = np.bincount(self.of_image, minlength=len(self.at))
        found: Floats = np.bincount(self.of_image, score, len(self.at)) / counts
        return found

    def label(self, label: Integers) -> Integers:
        """Call a unit malignant where any of its images is, (images,) 0 or 1."""
        found = np.zeros(len(self.at), dtype=np.int64)
        np.maximum.at(found, self.of_image, label)
        return found

    def first(self, values: np.ndarray) -> np.ndarray:
        """Take what is the same for all images of a unit, (images,)."""
        return values[self.at]
