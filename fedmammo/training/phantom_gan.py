"""A GAN's first steps, on drawn patches: what masses and tissue look like, before any patient is looked at."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fedmammo.models.mcgan import PARTS, build_mcgan
from fedmammo.randomness import generator_of
from fedmammo.synthesis.drawn import draw_phantoms
from fedmammo.synthesis.sources import FromGan, FromPhantom
from fedmammo.training.gan import Patients, train_gan
from fedmammo.training.state import commit_state, join_kinds, load_state, of_kind

MOST_IMAGES = 4000  # drawn patches


def phantom_gan(
    source: FromGan, folder: Path, device: torch.device, report: Callable[[int], None]
) -> dict[str, Tensor]:
    """Train a GAN for `phantom_steps` steps on drawn patches; it is the same for every holder.

    Goes on after the last `local_steps` that were kept in `folder`; `report` is told the number of each such round.
    Returns all tensors of the GAN, by name.
    """
    rounds = -(-source.phantom_steps // source.local_steps)
    kept = load_state(folder, before=rounds + 1)
    gan, state = build_mcgan(source), of_kind(kept, "state")
    gan.load(of_kind(kept, "gan"))
    done = int(kept.get("rounds", 0))
    if done < rounds:
        gan.to(device)
        patients = _drawn_patients(source)
    for number in range(done + 1, rounds + 1):
        start = (number - 1) * source.local_steps
        steps = range(start, min(start + source.local_steps, source.phantom_steps))
        stream = generator_of(source.seed, "phantom generator", start)
        _, state = train_gan(gan, ["discriminator", "generator"], patients, source.batch, steps, stream, state)
        kept = join_kinds(gan=gan.tensors(*PARTS), state=state)
        commit_state(folder, number, {**kept, "rounds": torch.tensor(number)})
        report(number)
    return gan.tensors(*PARTS)


def _drawn_patients(source: FromGan) -> Patients:
    """Draw two patches for each step, at most `MOST_IMAGES`; each is a patient of its own."""
    count = min(MOST_IMAGES, 2 * source.phantom_steps)
    drawn = draw_phantoms(FromPhantom(source="phantom", images=count, seed=source.seed), source.image_size)
    images = torch.from_numpy(drawn.patches.astype(np.float32))[:, None] * (2 / 65535) - 1
    return Patients(images, torch.from_numpy(drawn.malignant.astype(np.int64)), list(np.arange(count)[:, None]))
