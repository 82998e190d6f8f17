"""The source `phantom`: masses drawn by rule."""

import numpy as np

from fedmammo.phantom.images import draw_patch
from fedmammo.phantom.masses import choose_mass
from fedmammo.phantom.rates import DENSITIES, DENSITY_RATES
from fedmammo.randomness import generator_of
from fedmammo.synthesis.pool import Synthetic
from fedmammo.synthesis.sources import FromPhantom


def draw_phantoms(source: FromPhantom, side: int) -> Synthetic:
    """Draw benign and malignant masses in turn, as patches (side, side).

    Image i depends on seed, difficulty, side and i only, so that a larger pool begins with the same images.
    """
    patches = np.empty((source.images, side, side), np.uint16)
    malignant = np.arange(source.images) % 2 == 1
    for number, patch in enumerate(patches):
        generator = generator_of(source.seed, "synthesis", "phantom", number)
        mass = choose_mass(bool(malignant[number]), source.difficulty, generator)
        density = int(generator.choice(DENSITIES, p=DENSITY_RATES))
        patch[:] = draw_patch(mass, density, source.difficulty, generator, side)
    return Synthetic(patches, malignant, np.full(source.images, "phantom"))
