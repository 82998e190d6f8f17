"""Draws patches alone: what pretraining and the scaling of features read, without any file."""

import numpy as np
from numpy.typing import NDArray

from fedmammo.phantom.images import draw_patch
from fedmammo.phantom.masses import Mass, choose_mass
from fedmammo.phantom.rates import DENSITIES, DENSITY_RATES, DIFFICULTY, MALIGNANT_RATE
from fedmammo.phantom.variation import vary


def draw_patches(
    count: int, seed: int, size: int = 128, difficulty: float = DIFFICULTY, varied: bool = False
) -> tuple[NDArray[np.uint16], list[Mass]]:
    """Draw `count` patches, (count, size, size), 16 bit, and the mass in each: kind, shape, margins.

    About `MALIGNANT_RATE` of them are malignant. Patch i depends on i and the arguments but for `count`, so that more
    patches begin with the same ones. `varied`: as `vary` varies them.
    """
    patches = np.empty((count, size, size), np.uint16)
    masses = []
    for i in range(count):
        generator = np.random.default_rng([seed, i])
        mass = choose_mass(bool(generator.random() < MALIGNANT_RATE), difficulty, generator)
        density = int(generator.choice(DENSITIES, p=DENSITY_RATES))
        patch = draw_patch(mass, density, difficulty, generator, size)
        patches[i] = vary(patch, generator) if varied else patch
        masses.append(mass)
    return patches, masses
