"""Changes of images through which gradients pass, and which leave a generator's images as they are.

Real and synthetic images get the same ones before a discriminator sees them, so that it cannot learn a few real
images by heart (differentiable augmentation: Zhao et al. 2020, arXiv 2006.10738). Images are (images, 1, side, side).
All that is drawn comes from torch's global generator.
"""

import torch
from torch import Tensor
from torch.nn import functional

BRIGHTNESS = 0.075  # added to gray values, at most, where the full range is 2
CONTRAST = 0.15  # by which the distance from an image's mean grows or shrinks, at most
SHIFT = 1 / 8  # of the side, at most; what comes in at the border is mirrored


def augment(images: Tensor) -> Tensor:
    """Change brightness and contrast of each image, and move it."""
    count, side = len(images), images.shape[-1]
    brightness, contrast = (2 * torch.rand(2, count, 1, 1, 1) - 1).to(images.device)
    images = images + BRIGHTNESS * brightness
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = mean + (images - mean) * (1 + CONTRAST * contrast)
    reach = round(SHIFT * side)
    padded = functional.pad(images, [reach] * 4, mode="reflect")
    tops, lefts = torch.randint(0, 2 * reach + 1, (2, count)).tolist()
    moved = [
        image[:, top : top + side, left : left + side] for image, top, left in zip(padded, tops, lefts, strict=True)
    ]
    return torch.stack(moved)


def mirror(images: Tensor) -> Tensor:
    """Mirror each image left-right with probability 1/2."""
    return torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images.flip(3), images)
