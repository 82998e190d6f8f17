"""Varies drawn patches as films, cuts and scanners vary, so that what learns from them finds real patches less strange.

A network that learned from drawn images whose nuisances vary more than in reality takes reality for one more variation
(domain randomisation: Tobin et al. 2017, arXiv 1703.06907). The ranges are round numbers, set by eye beside real
patches; no label has a part in them.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import affine_transform, gaussian_filter

from fedmammo.phantom.points import Reals

ZOOM, ZOOM_SPREAD, STRETCH_SPREAD, SHIFT_SPREAD = -0.15, 0.25, 0.08, 0.09
"""Of the logarithm of the cut's side: mean and spread; of its stretch; of its place, in sides."""
BLURRED, SHARPENED = -1.0, 0.4
"""How much of the detail finer than a pixel or two is taken away, or added."""
GRAIN, GRAIN_SLOPE = 0.012, 1.6
"""Most grain, as a fraction of full scale, and the steepest slope of its amplitude over frequency."""
GAMMA_SPREAD, GAIN_SPREAD, LEVEL_SPREAD = 0.25, 0.3, 0.05
EDGE_RATE, EDGE_WHITE, EDGE_WIDTH = 0.12, 0.7, 1 / 8
"""How often a film's edge is seen on one side, how often that is white, and its greatest width in sides."""


def vary(patch: NDArray[np.uint16], generator: np.random.Generator) -> NDArray[np.uint16]:
    """Return a varied patch (side, side), 0-65535: turned, zoomed, shifted, blurred or sharpened, grainy, exposed."""
    image = _move(patch / 65535, generator)
    fine = image - gaussian_filter(image, 1, mode="mirror")
    image = image + generator.uniform(BLURRED, SHARPENED) * fine
    image = np.clip(image + _grain(len(image), generator), 0, 1) ** np.exp(GAMMA_SPREAD * generator.standard_normal())
    level, gain = image.mean(), np.exp(GAIN_SPREAD * generator.standard_normal())
    image = np.clip((image - level) * gain + level + LEVEL_SPREAD * generator.standard_normal(), 0, 1)
    if generator.random() < EDGE_RATE:
        width = int(generator.integers(1, max(2, int(EDGE_WIDTH * len(image)))))
        side = slice(None, width) if generator.random() < 0.5 else slice(-width, None)
        image[:, side] = float(generator.random() < EDGE_WHITE)
    return np.rint(65535 * image).astype(np.uint16)


def _move(image: Reals, generator: np.random.Generator) -> Reals:
    """Cut the patch anew: turned by any angle, mirrored or not, zoomed, stretched, off the centre."""
    angle, mirrored = generator.uniform(0, 2 * np.pi), generator.choice([-1.0, 1.0])
    side = np.exp(ZOOM + ZOOM_SPREAD * generator.standard_normal())
    stretch = np.exp(STRETCH_SPREAD * generator.standard_normal())
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.diag([side * stretch, mirrored * side / stretch])
    middle = np.full(2, (len(image) - 1) / 2)
    place = middle + SHIFT_SPREAD * len(image) * generator.standard_normal(2)
    return np.asarray(affine_transform(image, matrix, place - matrix @ middle, order=1, mode="mirror"))


def _grain(side: int, generator: np.random.Generator) -> Reals:
    """Noise (side, side) whose power falls with frequency, as that of films and scanners does."""
    frequency = np.hypot(fft.fftfreq(side)[:, None], fft.rfftfreq(side))
    frequency[0, 0] = np.inf
    slope = generator.uniform(0, GRAIN_SLOPE)
    spectrum = fft.rfft2(generator.standard_normal((side, side))) * frequency**-slope
    noise = fft.irfft2(spectrum, (side, side))
    return np.asarray(generator.uniform(0, GRAIN) * noise / noise.std())
