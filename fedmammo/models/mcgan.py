"""The malignancy-conditioned GAN: its two networks, the averaged generator, and what an architecture brings along.

Images are (images, 1, side, side), values -1 to 1; classes (images,) are 1 where malignant.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fedmammo.models import mcgan_default, mcgan_reference
from fedmammo.randomness import seed_of
from fedmammo.synthesis.sources import FromGan

PARTS = ("generator", "discriminator", "average")


@dataclass(frozen=True)
class Architecture:
    """Two networks and the constants with which they train.

    Attributes:
        generator, discriminator: makers that are told side and width.
        bands: turns images into the form in which the discriminator sees them.
        rates: Adam's step sizes of generator and discriminator.
        betas: Adam's decays.
        penalty: weight of the squared gradient at real images (R1, Mescheder et al. 2018, arXiv 1801.04406); 0 is none.
        real_targets: range from which the target of a real image is drawn.
    """

    generator: Callable[[int, int], nn.Module]
    discriminator: Callable[[int, int], nn.Module]
    bands: Callable[[Tensor], Tensor]
    rates: tuple[float, float]
    betas: tuple[float, float]
    penalty: float
    real_targets: tuple[float, float]


ARCHITECTURES = {
    "default": Architecture(
        mcgan_default.Generator,
        mcgan_default.Discriminator,
        mcgan_default.bands,
        (3e-4, 6e-4),
        (0.0, 0.99),
        0.3,
        (1.0, 1.0),
    ),
    "reference": Architecture(
        mcgan_reference.Generator,
        mcgan_reference.Discriminator,
        mcgan_reference.bands,
        (1e-4, 1e-4),
        (0.5, 0.999),
        0.0,
        (0.7, 1.2),
    ),
}


class Mcgan(nn.Module):
    """Generator, discriminator and the running average of the generator that is sampled from.

    Random tensors come from torch's global generator.
    """

    def __init__(self, config: FromGan) -> None:
        super().__init__()
        self.architecture = ARCHITECTURES[config.mcgan]
        self.bands = self.architecture.bands
        self.generator = self.architecture.generator(config.image_size, config.width)
        self.discriminator = self.architecture.discriminator(config.image_size, config.width)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)

    def tensors(self, *parts: str) -> dict[str, Tensor]:
        """Return copies of all tensors of these parts (`generator`, `discriminator`, `average`), by name."""
        return {name: value.cpu().clone() for name, value in of_parts(self.state_dict(), *parts).items()}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take over tensors by name; those that are not named stay."""
        self.load_state_dict({**self.state_dict(), **tensors})


def of_parts(tensors: dict[str, Tensor], *parts: str) -> dict[str, Tensor]:
    """Return those of a GAN's tensors that belong to these parts (`PARTS`)."""
    return {name: tensor for name, tensor in tensors.items() if name.partition(".")[0] in parts}


def build_mcgan(config: FromGan) -> Mcgan:
    """Build the networks as every hospital and the server start them: they depend on the configuration alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(config.seed, "initial generator"))
        return Mcgan(config)


@torch.no_grad()
def sample(gan: Mcgan, malignant: bool, images: int, *stream: str | int) -> Tensor:
    """Draw images of a class from the averaged generator, wherever it is: (images, 1, side, side), 0 to 1, on the CPU.

    Image i depends on the generator, the class, the name of the stream and i alone.
    """
    label = torch.tensor([int(malignant)], device=next(gan.average.parameters()).device)
    # Without a GPU the first notes for each seed, three times, where in the code it was set: milliseconds.
    set_seed = torch.manual_seed if torch.cuda.is_available() else torch.default_generator.manual_seed
    drawn = []
    for number in range(images):
        with torch.random.fork_rng(devices=[]):
            set_seed(seed_of(*stream, int(malignant), number))
            drawn.append(gan.average(label).cpu())
    return (torch.cat(drawn) + 1) / 2
