"""Our networks of the MCGAN, for about a thousand gray patches of 32, 64 or 128 pixels.

A patch is nearly all brightness; what tells lesions apart, texture and margins, is a twentieth of its range. So the
discriminator sees a patch in bands of frequency, each brought to about unit spread, and the generator adds what it
draws at each resolution to the coarser picture. Nothing keeps statistics of a batch.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

BANDS = (3.0, 60.0, 40.0)  # bring gray values, the finest band and the next to about unit spread
SHARES = (1.0, 0.5, 0.3, 0.15, 0.08, 0.04)  # what the generator draws at 4, 8, ... 128 pixels counts this much
MOST_CHANNELS = 256
LATENT = 64
SLOPE = 0.2  # of leaky rectifiers


def _channels(side: int, width: int) -> list[int]:
    """Channels at 4, 8, ... `side` pixels: `width` at full resolution, twice as many at every coarser one."""
    doublings = int(math.log2(side)) - 2
    return [min(MOST_CHANNELS, width * 2 ** (doublings - step)) for step in range(doublings + 1)]


class ConditionalNorm(nn.Module):
    """Group normalisation whose scale and shift come from a condition (Dumoulin et al. 2017, arXiv 1610.07629)."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.groups = min(8, channels // 4)
        self.scale_and_shift = nn.Linear(condition, 2 * channels)
        nn.init.normal_(self.scale_and_shift.weight, std=0.05)
        nn.init.zeros_(self.scale_and_shift.bias)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """(images, channels, rows, columns) under (images, length) → the same shape, float32."""
        images, channels, rows, columns = features.shape
        scale, shift = self.scale_and_shift(condition).float().chunk(2, dim=1)
        # As one image of many groups: the scale of each image becomes part of one call.
        flat = features.float().reshape(1, images * channels, rows, columns)
        normal = functional.group_norm(flat, images * self.groups, (1 + scale).reshape(-1), shift.reshape(-1))
        return normal.view(images, channels, rows, columns)


class Generator(nn.Module):
    """Class, latent and noise → image; what it draws at 4, 8, ... `side` pixels adds up (arXiv 1912.04958).

    Latent and class enter at every resolution; noise at every one but the first gives tissue its grain.
    """

    def __init__(self, side: int, width: int) -> None:
        super().__init__()
        channels = _channels(side, width)
        self.classes = nn.Embedding(2, LATENT)
        self.first = nn.Linear(2 * LATENT, channels[0] * 16)
        pairs = pairwise(channels)
        self.convolutions = nn.ModuleList(nn.Conv2d(before, after, 3, padding=1) for before, after in pairs)
        self.norms = nn.ModuleList(ConditionalNorm(count, 2 * LATENT) for count in channels)
        self.noise = nn.ParameterList(nn.Parameter(torch.full((1, count, 1, 1), 0.03)) for count in channels[1:])
        self.gray = nn.ModuleList(nn.Conv2d(count, 1, 3, padding=1) for count in channels)
        for name, value in self.convolutions.named_parameters():
            if name.endswith("weight"):
                nn.init.orthogonal_(value, gain=math.sqrt(2))

    def forward(self, malignant: Tensor) -> Tensor:
        """Draw an image for every class in (images,), from torch's global generator: (images, 1, side, side)."""
        images, device = len(malignant), malignant.device
        condition = torch.cat([torch.randn(images, LATENT).to(device), self.classes(malignant)], dim=1)
        features = self.norms[0](self.first(condition).view(images, -1, 4, 4), condition)
        features = functional.leaky_relu(features, SLOPE)
        picture = self.gray[0](features).float()
        stages = zip(self.convolutions, self.norms[1:], self.noise, self.gray[1:], SHARES[1:], strict=False)
        for convolution, norm, noise, gray, share in stages:
            features = norm(convolution(_double(features.contiguous(memory_format=torch.channels_last))), condition)
            grain = torch.randn(images, 1, *features.shape[2:]).to(device)
            features = functional.leaky_relu(features + noise * grain, SLOPE)
            picture = _double(picture) + share * gray(features.contiguous(memory_format=torch.channels_last)).float()
        return torch.tanh(picture)


class Discriminator(nn.Module):
    """Image and class → one score, high where it looks real; a projection discriminator (Miyato 2018, 1802.05637)."""

    def __init__(self, side: int, width: int) -> None:
        super().__init__()
        channels = [len(BANDS), *reversed(_channels(side // 2, 2 * width))]
        pairs = pairwise(channels)
        self.convolutions = nn.ModuleList(nn.Conv2d(before, after, 4, 2, 1) for before, after in pairs)
        self.last = nn.Conv2d(channels[-1], channels[-1], 3, padding=1)
        self.score = nn.Linear(16 * channels[-1], 1)
        self.classes = nn.Embedding(2, 16 * channels[-1])

    def forward(self, bands: Tensor, malignant: Tensor) -> Tensor:
        """Score images, given as `bands`, with their classes: (images,)."""
        features = bands
        for convolution in self.convolutions:
            features = functional.leaky_relu(convolution(features), SLOPE)
        flat = functional.leaky_relu(self.last(features), SLOPE).flatten(1)
        return (self.score(flat).squeeze(1) + (self.classes(malignant) * flat).sum(1)).float()


def bands(images: Tensor) -> Tensor:
    """Split images into gray values, the finest band and the next one, each of about unit spread; channels last."""
    half = functional.avg_pool2d(images, 2)
    quarter = functional.avg_pool2d(half, 2)
    finest, next_one = images - _double(half), _double(half - _double(quarter))
    split = torch.cat([band * gain for band, gain in zip((images, finest, next_one), BANDS, strict=True)], dim=1)
    return split.contiguous(memory_format=torch.channels_last)  # convolutions hand it on


def _double(images: Tensor) -> Tensor:
    return functional.interpolate(images, scale_factor=2, mode="bilinear")
