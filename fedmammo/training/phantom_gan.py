"""A GAN's first steps, on drawn patches: what masses and tissue look like, before any patient is looked at."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fedmammo.files import read_tensors, write_tensors
from fedmammo.models.mcgan import PARTS, build_mcgan
from fedmammo.randomness import generator_of
from fedmammo.synthesis.drawn import draw_phantoms
from fedmammo.synthesis.sources import FromGan, FromPhantom
from fedmammo.training.gan import Patients, train_gan

MOST_IMAGES = 4000  # drawn patches, each a patient of its own


def phantom_gan(
    source: FromGan, folder: Path, device: torch.device, report: Callable[[int], None]
) -> dict[str, Tensor]:
    """Train a GAN for `phantom_steps` steps on drawn patches; it is the same for every holder.

    Goes on after the last `local_steps` that were kept in `folder`; `report` is told the number of each such round.
    Returns all tensors of the GAN, by name.
    """
    gan = build_mcgan(source)
    kept: dict[str, Tensor] = {}
    done = 0
    path = folder / "round.safetensors"
    if path.exists():
        kept, about = read_tensors(path)
        done = int(about["steps"])
    gan.load({key.removeprefix("gan/"): tensor for key, tensor in kept.items() if key.startswith("gan/")})
    state = {key.removeprefix("state/"): tensor for key, tensor in kept.items() if key.startswith("state/")}
    if done < source.phantom_steps:
        gan.to(device)
        count = min(MOST_IMAGES, 2 * source.phantom_steps)
        drawn = draw_phantoms(FromPhantom(source="phantom", images=count, seed=source.seed), source.image_size)
        images = torch.from_numpy(drawn.patches.astype(np.float32))[:, None] * (2 / 65535) - 1
        patients = Patients(images, torch.from_numpy(drawn.malignant.astype(np.int64)), list(np.arange(count)[:, None]))
    while done < source.phantom_steps:
        steps = range(done, min(done + source.local_steps, source.phantom_steps))
        stream = generator_of(source.seed, "phantom generator", done)
        _, state = train_gan(gan, ["discriminator", "generator"], patients, source.batch, steps, stream, state)
        done = steps.stop
        kept = {f"gan/{key}": tensor for key, tensor in gan.tensors(*PARTS).items()}
        write_tensors(path, kept | {f"state/{key}": value for key, value in state.items()}, {"steps": str(done)})
        report(-(-done // source.local_steps))
    return gan.tensors(*PARTS)
