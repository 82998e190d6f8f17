"""What a generator makes small when it learns from class means of features in place of images."""

from collections.abc import Callable

import torch
from torch import Tensor

from fedmammo.models.classifier import Classifier
from fedmammo.models.mcgan import Mcgan
from fedmammo.privacy.embedding import cut


def loss_of_means(classifier: Classifier, means: Tensor) -> Callable[[Mcgan, Tensor], Tensor]:
    """Return a loss: the squared distance of the means of a generator's images from these, summed over classes.

    It is estimated from two halves of each class's images, (mean of one - target) x (mean of the other - target), which
    is right in expectation; the distance of one mean would also ask for images that do not differ.

    Args:
        classifier: reads the features, as no patient has changed it.
        means: (2, count), benign and malignant, of features as `fedmammo.privacy.embedding.cut` leaves them.
    """
    classifier.requires_grad_(False)

    def loss(gan: Mcgan, malignant: Tensor) -> Tensor:
        features = cut(classifier.standard_of((gan.generator(malignant) + 1) / 2), classifier.typical_length)
        off = [features[malignant == label] - target for label, target in enumerate(means.to(features))]
        return torch.stack([one[::2].mean(dim=0) @ one[1::2].mean(dim=0) for one in off]).sum()

    return loss
