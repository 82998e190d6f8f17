"""The reference study's GAN, batches of 8 at 128 pixels, against a plain loop of torch in float32.

Peer: the usual loop over the same networks: a step of the discriminator on real and drawn images, a step of the
generator, Adam. Ours draws patients, changes images before the discriminator sees them, and averages the generator.
Bars: 1.2 times the images a second in float32; 2 times in bfloat16 where the processor has AMX.
"""

import time
from contextlib import nullcontext

import numpy as np
import torch
from common import tell
from torch.nn import functional

from fedmammo.models.mcgan import Mcgan, build_mcgan
from fedmammo.synthesis.sources import FromGan
from fedmammo.training import gan as training

BATCH, STEPS, REPEATS = 8, 4, 5
CONFIG = FromGan.model_validate({"source": "gan", "mcgan": "reference", "image_size": 128, "width": 64, "batch": BATCH})
IMAGES, MALIGNANT = torch.rand(64, 1, 128, 128) * 2 - 1, torch.arange(64) % 2


def peer(gan: Mcgan, optimizers: list[torch.optim.Adam]) -> float:
    """Take steps plainly; returns the last loss."""
    for _ in range(STEPS):
        chosen = torch.randint(len(IMAGES), (BATCH,))
        real, malignant = IMAGES[chosen], MALIGNANT[chosen]
        synthetic = gan.generator(malignant)
        optimizers[1].zero_grad()
        loss = functional.softplus(-gan.discriminator(real, malignant)).mean()
        loss = loss + functional.softplus(gan.discriminator(synthetic.detach(), malignant)).mean()
        loss.backward()
        optimizers[1].step()
        optimizers[0].zero_grad()
        functional.softplus(-gan.discriminator(gan.generator(malignant), malignant)).mean().backward()
        optimizers[0].step()
    return loss.item()


def ours(gan: Mcgan) -> float:
    """Take a hospital's steps of a round; returns their loss."""
    patients = training.patients_from(IMAGES, MALIGNANT, [2] * 32)
    parts = ("discriminator", "generator")
    numbers, _ = training.train_gan(gan, parts, patients, BATCH, range(STEPS), np.random.default_rng(0), {})
    return numbers["loss"]


def main() -> None:
    """Measure in float32, and in bfloat16 where the processor has instructions for it."""
    torch.set_num_threads(1)
    plain, own = build_mcgan(CONFIG), build_mcgan(CONFIG)
    optimizers = [torch.optim.Adam(part.parameters(), lr=1e-4) for part in (plain.generator, plain.discriminator)]
    half = training.half_precision
    sides = {"float32": lambda _: nullcontext(), "bfloat16": half}
    times: dict[str, list[float]] = {"peer": [], **{name: [] for name in sides}}
    for number in range(REPEATS + 1):
        for name in times:
            training.half_precision = sides.get(name, half)
            began = time.perf_counter()
            loss = peer(plain, optimizers) if name == "peer" else ours(own)
            if number:  # the first does not count
                times[name].append(time.perf_counter() - began)
            assert np.isfinite(loss)
    for name, bar in (("float32", 1.2), ("bfloat16", 2)):
        amx = torch.cpu._is_amx_tile_supported()
        tell(f"gan-{name}", {"ours": times[name], "peer": times["peer"]}, bar=bar, amx=amx)


if __name__ == "__main__":
    main()
