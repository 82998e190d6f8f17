"""The GAN's training loop: a holder's steps of one round, in both networks or in one of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fedmammo.config import StudyConfig
from fedmammo.models.mcgan import Mcgan
from fedmammo.synthesis.sources import FromGan
from fedmammo.training.augmentation import augment, mirror
from fedmammo.training.optimizer import restore, state_of
from fedmammo.training.state import join_kinds, of_kind
from fedmammo.training.task import Cell

AVERAGE = 0.998  # decay of the running average of the generator
WARM_UP = 0.05  # the average's decay is at most 1 - 1 / (1 + this x steps), so that it forgets its first steps
PENALTY_EVERY = 4  # steps between penalties, each of which counts as many times (Karras 2020, arXiv 1912.04958)


TRAVELS = {
    "pool": ("average",),
    "discriminator": ("discriminator",),
    "average": ("generator", "discriminator", "average"),
}
"""Which parts of a GAN a hospital sends, by `synthesis.combine`; the rest stays at home with Adam's moments."""


def gan_of(config: StudyConfig) -> FromGan:
    """Return the source of a study whose images come from a GAN."""
    if not isinstance(config.synthesis, FromGan):
        raise ValueError("the study's images do not come from a GAN")
    return config.synthesis


def steps_of(source: FromGan, number: int) -> range:
    """Return the steps of a round (1 is the first) by number, counted from the first on drawn patches."""
    start = source.phantom_steps + (number - 1) * source.local_steps
    return range(start, start + source.local_steps)


def gan_name(cell: Cell, config: StudyConfig, pooled: bool, holder: str) -> str:
    """Name a GAN, for files and streams of randomness: `holder` is a hospital that trains alone, or `hospitals`.

    Seeds of the study vary the classifier alone, and a hospital's own GAN is the same in the local and the federated
    arm. Folds are dealt anew for each seed.
    """
    alone = cell.arm == "local" or gan_of(config).combine == "pool"
    who = "centralized" if pooled else f"alone-{holder}" if alone else "federated"
    fold = f"-seed{cell.seed}-fold{cell.fold}" if config.evaluation.folds else ""
    return f"generator-{who}-{config.diagnosis.harmonisation}-draw{cell.draw}{fold}"


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


def train_gan(
    gan: Mcgan,
    parts: Sequence[str],
    patients: Patients | None,
    batch: int,
    steps: Iterable[int],
    generator: np.random.Generator,
    state: dict[str, Tensor],
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

    Returns:
        numbers: `loss` (the discriminator's) and `generator_loss`, means over the steps, and `images` (read); the
        new state.
    """
    architecture, device = gan.architecture, next(gan.parameters()).device
    networks = {part: dict(getattr(gan, part).named_parameters()) for part in parts}
    rates = dict(zip(("generator", "discriminator"), architecture.rates, strict=True))
    optimizers = {}
    for part, parameters in networks.items():
        optimizers[part] = torch.optim.Adam(parameters.values(), lr=rates[part], betas=architecture.betas)
        restore(optimizers[part], parameters, of_kind(state, part))
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
                loss = _generator_loss(gan, malignant.to(device))
                losses["generator"].append(_step(optimizers["generator"], loss))
                _average(gan, step)

    numbers = {"loss": losses.get("discriminator", []), "generator_loss": losses.get("generator", [])}
    new_state = join_kinds(**{part: state_of(optimizers[part], networks[part]) for part in parts})
    return {name: float(np.mean(found)) for name, found in numbers.items() if found} | {"images": images}, new_state


def _discriminator_loss(gan: Mcgan, real: Tensor, malignant: Tensor, penalised: bool) -> Tensor:
    """Return the mean over images; the penalty belongs to one image at a time."""
    low, high = gan.architecture.real_targets
    target = torch.empty(len(real)).uniform_(low, high).to(real.device)
    with half_precision(real.device):
        with torch.no_grad():
            synthetic = gan.bands(augment(gan.generator(malignant)))
        seen = gan.bands(augment(real)).requires_grad_(penalised)
        of_real, of_synthetic = gan.discriminator(seen, malignant), gan.discriminator(synthetic, malignant)
    loss = functional.binary_cross_entropy_with_logits(of_real, target) + functional.softplus(of_synthetic).mean()
    if penalised and gan.architecture.penalty:
        (gradient,) = torch.autograd.grad(of_real.sum(), seen, create_graph=True)
        weight = PENALTY_EVERY * gan.architecture.penalty / 2
        loss = loss + weight * gradient.square().sum(dim=(1, 2, 3)).mean()
    return loss


def _generator_loss(gan: Mcgan, malignant: Tensor) -> Tensor:
    with half_precision(malignant.device):
        scores = gan.discriminator(gan.bands(augment(gan.generator(malignant))), malignant)
    return functional.softplus(-scores).mean()


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
        has = torch.cuda.is_bf16_supported()
    else:
        has = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=has)
