"""The GAN's training loop: a holder's steps of one round, in both networks or in one of them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fedmammo.models.mcgan import Mcgan
from fedmammo.synthesis.sources import FromGan
from fedmammo.training.augmentation import augment, mirror
from fedmammo.training.optimizer import restore, state_of
from fedmammo.training.state import join_kinds, of_kind

AVERAGE = 0.998  # decay of the running average of the generator
WARM_UP = 0.05  # the average's decay is at most 1 - 1 / (1 + this x steps), so that it forgets its first steps
PENALTY_EVERY = 4  # steps between penalties, each of which counts as many times (Karras 2020, arXiv 1912.04958)


TRAVELS = {
    "pool": ("average",),
    "discriminator": ("discriminator",),
    "average": ("generator", "discriminator", "average"),
}
"""Which parts of a GAN a hospital sends, by `synthesis.combine`; the rest stays at home with Adam's moments."""


def steps_of(source: FromGan, number: int) -> range:
    """Return the steps of a round (1 is the first) by number, counted from the first on drawn patches."""
    start = source.phantom_steps + (number - 1) * source.local_steps
    return range(start, start + source.local_steps)


@dataclass(frozen=True, eq=False)
class Patients:
    """What a hospital trains its GAN on.

    Attributes:
        images: (images, 1, side, side), -1 to 1.
        malignant: (images,) 0 or 1, as recorded.
        images_of: for each patient, the positions of its images.
    """

    images: Tensor
    malignant: Tensor
    images_of: Sequence[np.ndarray]

    def draw(self, count: int, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Draw patients with replacement and one image of each, mirrored left-right at random."""
        patients = generator.integers(len(self.images_of), size=count)
        chosen = [generator.choice(self.images_of[patient]) for patient in patients]
        return mirror(self.images[chosen]), self.malignant[chosen]


def patients_from(images: Tensor, malignant: Tensor, counts: Sequence[int]) -> Patients:
    """Return patients whose images stand one after the other; `counts`: how many each has."""
    starts = np.cumsum([0, *counts])
    return Patients(images, malignant, [np.arange(start, stop) for start, stop in pairwise(starts)])


def adversarial_loss(gan: Mcgan, malignant: Tensor) -> Tensor:
    """Return the generator's loss against the discriminator, non-saturating; `malignant`: which images to draw."""
    with half_precision(malignant.device):
        scores = gan.discriminator(gan.bands(augment(gan.generator(malignant))), malignant)
    return functional.softplus(-scores).mean()


def train_gan(
    gan: Mcgan,
    parts: Sequence[str],
    patients: Patients | None,
    batch: int,
    steps: Iterable[int],
    generator: np.random.Generator,
    state: dict[str, Tensor],
    generator_loss: Callable[[Mcgan, Tensor], Tensor] = adversarial_loss,
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Take steps in the discriminator, the generator, or both in turn; changes `gan`.

    The loss is the logistic one of Goodfellow et al. 2014 (arXiv 1406.2661), in the generator's step the
    non-saturating form. Real and synthetic images are changed alike before the discriminator sees them (Zhao et al.
    2020, arXiv 2006.10738).

    Args:
        gan: the networks.
        parts: which of `discriminator` and `generator` step.
        patients: the holder's; none where the server trains the generator, with as many images of each class.
        batch: images in a step.
        steps: the steps by number, counted over all rounds.
        generator: draws everything that is drawn.
        state: Adam's moments as the previous round left them; empty at first.
        generator_loss: what the generator makes small, given the classes of the images to draw.

    Returns:
        numbers: `loss` (the discriminator's) and `generator_loss`, means over the steps, and `images` (read); the
        new state.
    """
    device = next(gan.parameters()).device
    optimizers = {part: adam_of(gan, part, of_kind(state, part)) for part in parts}
    losses: dict[str, list[float]] = {part: [] for part in parts}
    images = 0

    with torch.random.fork_rng():
        torch.manual_seed(int(generator.integers(2**63)))
        for step in steps:
            if "discriminator" in parts and patients is not None:
                real, malignant = patients.draw(batch, generator)
                images += batch
                loss = _discriminator_loss(gan, real.to(device), malignant.to(device), step % PENALTY_EVERY == 0)
                losses["discriminator"].append(_step(optimizers["discriminator"], loss))
            if "generator" in parts:
                if patients is None:
                    malignant = torch.arange(batch) % 2
                loss = generator_loss(gan, malignant.to(device))
                losses["generator"].append(_step(optimizers["generator"], loss))
                _average(gan, step)

    numbers = {"loss": losses.get("discriminator", []), "generator_loss": losses.get("generator", [])}
    new_state = join_kinds(**{part: moments_of(gan, part, optimizers[part]) for part in parts})
    return {name: float(np.mean(found)) for name, found in numbers.items() if found} | {"images": images}, new_state


def adam_of(gan: Mcgan, part: str, state: dict[str, Tensor]) -> torch.optim.Adam:
    """Make the optimiser of one of the networks, with moments that `moments_of` returned; none at first."""
    rates = dict(zip(("generator", "discriminator"), gan.architecture.rates, strict=True))
    parameters = dict(getattr(gan, part).named_parameters())
    optimizer = torch.optim.Adam(parameters.values(), lr=rates[part], betas=gan.architecture.betas)
    restore(optimizer, parameters, state)
    return optimizer


def moments_of(gan: Mcgan, part: str, optimizer: torch.optim.Adam) -> dict[str, Tensor]:
    """Return Adam's moments of one of the networks, by name."""
    return state_of(optimizer, dict(getattr(gan, part).named_parameters()))


def scores_of_synthetic(gan: Mcgan, malignant: Tensor) -> Tensor:
    """Let the discriminator score new images of these classes, through which no gradient passes: (images,)."""
    with torch.no_grad():
        synthetic = gan.bands(augment(gan.generator(malignant)))
    return gan.discriminator(synthetic, malignant)


def _discriminator_loss(gan: Mcgan, real: Tensor, malignant: Tensor, penalised: bool) -> Tensor:
    """Return the mean over images; the penalty belongs to one image at a time."""
    low, high = gan.architecture.real_targets
    target = torch.empty(len(real)).uniform_(low, high).to(real.device)
    with half_precision(real.device):
        of_synthetic = scores_of_synthetic(gan, malignant)
        seen = gan.bands(augment(real)).requires_grad_(penalised)
        of_real = gan.discriminator(seen, malignant)
    loss = functional.binary_cross_entropy_with_logits(of_real, target) + functional.softplus(of_synthetic).mean()
    if penalised and gan.architecture.penalty:
        (gradient,) = torch.autograd.grad(of_real.sum(), seen, create_graph=True)
        weight = PENALTY_EVERY * gan.architecture.penalty / 2
        loss = loss + weight * gradient.square().sum(dim=(1, 2, 3)).mean()
    return loss


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> float:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def _average(gan: Mcgan, step: int) -> None:
    decay = min(AVERAGE, 1 - 1 / (1 + WARM_UP * step))
    for average, current in zip(gan.average.parameters(), gan.generator.parameters(), strict=True):
        average.lerp_(current, 1 - decay)


def half_precision(device: torch.device) -> torch.autocast:
    """Compute in bfloat16 where the processor or GPU has it."""
    if device.type == "cuda":
        has = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=has)
