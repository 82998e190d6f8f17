"""The networks of the reference study's MCGAN (arXiv 2407.12669): 128 pixels, transposed convolutions.

Its images lie between -1 and 1 on both sides, which mends the study's range and the wrap of negative values in 8 bits.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

LATENT = 100
CLASS_LENGTH = 50
SLOPE = 0.1


class Generator(nn.Module):
    """Class and latent → image. `width` is the channels of the last hidden layer, 64 in the study."""

    def __init__(self, side: int, width: int) -> None:
        super().__init__()
        self.classes = nn.Sequential(
            nn.Embedding(2, CLASS_LENGTH), nn.Linear(CLASS_LENGTH, LATENT), nn.LeakyReLU(SLOPE)
        )
        channels = [16 * width, 8 * width, 4 * width, 2 * width, width]
        layers: list[nn.Module] = [nn.ConvTranspose2d(2 * LATENT, channels[0], 4), nn.ReLU()]
        for before, after in pairwise(channels):
            layers += [nn.ConvTranspose2d(before, after, 4, 2, 1), nn.InstanceNorm2d(after, affine=True), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(width, 1, 4, 2, 1), nn.Tanh())

    def forward(self, malignant: Tensor) -> Tensor:
        """Draw an image for every class in (images,), from torch's global generator: (images, 1, 128, 128)."""
        latent = torch.randn(len(malignant), LATENT).to(malignant.device)
        return self.layers(torch.cat([latent, self.classes(malignant)], dim=1)[:, :, None, None]).float()


class Discriminator(nn.Module):
    """Image, and the class as a second channel → one score, high where it looks real."""

    def __init__(self, side: int, width: int) -> None:
        super().__init__()
        self.classes = nn.Sequential(nn.Embedding(2, CLASS_LENGTH), nn.Linear(CLASS_LENGTH, side * side))
        channels = [2, width, 2 * width, 4 * width, 8 * width, 16 * width]
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            norm = [nn.InstanceNorm2d(after, affine=True)] if before > 2 else []
            layers += [nn.Conv2d(before, after, 6, 2, 2), *norm, nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels[-1], 1, 6, 1, 1))

    def forward(self, bands: Tensor, malignant: Tensor) -> Tensor:
        """Score images with their classes: (images,)."""
        place = self.classes(malignant).view(-1, 1, *bands.shape[2:])
        return self.layers(torch.cat([bands, place.to(bands.dtype)], dim=1)).flatten().float()


def bands(images: Tensor) -> Tensor:
    """Return the images: this network sees gray values alone."""
    return images
