"""A class-conditional sum of features, released once: what a generator can be trained from without seeing a patient.

DP-MERF and DP-MEPF (Harder et al. 2021, arXiv 2002.11603, and 2022, arXiv 2205.12900) with patients in place of images.
An image's vector holds a constant and its features, cut in length; a patient's the mean of its images' vectors, each in
the place of its class, so that a patient with both classes is no longer than another. The constants tell how much of
the patients each class is, the features its mean.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

# Lengths of the parts of an image's vector. A wrong share of a class looks like a contrast between classes along what
# they have in common: of 64 features with three times as much in common as in contrast, the error is least near here.
CONSTANT, FEATURES = 0.28, 0.96
LEAST_SHARE = 0.01  # of a class, which nobody may have, or noise may hide


def cut(features: Tensor, length: float) -> Tensor:
    """Bring features, (images, count), to a length of 1 at most: those of typical length have it, longer ones too."""
    features = features / length
    return features / features.norm(dim=1, keepdim=True).clamp(min=1)


def vectors_of_patients(features: Tensor, malignant: Tensor, patient: Tensor, patients: int, norm: float) -> Tensor:
    """Return each patient's vector, of length `norm` at most: (patients, 2, 1 + count), benign before malignant.

    Args:
        features: of the images, (images, count), as `cut` leaves them.
        malignant: (images,) 0 or 1.
        patient: (images,) whose each is, 0 to `patients` - 1.
        patients: how many there are; each has an image.
        norm: length of the vectors.
    """
    constant = features.new_full((len(features), 1), CONSTANT)
    vectors = norm * torch.cat([constant, FEATURES * features], dim=1)
    placed = functional.one_hot(malignant.long(), 2).to(vectors)[:, :, None] * vectors[:, None]
    counts = torch.bincount(patient, minlength=patients).to(vectors)
    sums = placed.new_zeros(patients, *placed.shape[1:]).index_add_(0, patient, placed)
    return sums / counts[:, None, None]


@dataclass(frozen=True, eq=False)
class ClassMeans:
    """What a released mean over patients says of the classes.

    Attributes:
        share: (2,) of all patients' images, benign and malignant, each image as a part of its patient; sums to 1.
        means: (2, count) of the classes' features, as `cut` leaves them.
        noise: length that noise alone gives the difference of the means, in expectation of its square; 0 without noise.
    """

    share: Tensor
    means: Tensor
    noise: float

    @classmethod
    def of(cls, released: Tensor, norm: float, spread: float) -> "ClassMeans":
        """Read a mean over patients of their vectors, (2, 1 + count), with noise.

        Args:
            released: the mean.
            norm: length of a patient's vector.
            spread: standard deviation of the noise on each of its numbers.
        """
        released = released.double()
        malignant = 0.5 + (released[1, 0] - released[0, 0]) / (2 * CONSTANT * norm)
        malignant = malignant.clamp(LEAST_SHARE, 1 - LEAST_SHARE)
        share = torch.stack([1 - malignant, malignant])
        means = released[:, 1:] / (FEATURES * norm * share[:, None])
        variance = (spread / (FEATURES * norm)) ** 2 * (1 / share**2).sum() * means.shape[1]
        return cls(share, means, float(variance.sqrt()))

    @property
    def noise_over_contrast(self) -> float | None:
        """The length that noise gives the difference of the means, over that of what is left when it is taken off.

        None where the difference is not longer than noise alone would make it.
        """
        contrast = float((self.means[1] - self.means[0]).square().sum()) - self.noise**2
        return self.noise / contrast**0.5 if contrast > 0 else None
