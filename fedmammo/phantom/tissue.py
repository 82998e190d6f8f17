"""Breast tissue: power-law texture, a clustered lumpy background, fibres and vessels, and what looks like a lesion.

All but the texture are points that are convolved with a few kernels, which takes one Fourier transform per kernel
whatever the number of points.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft

from fedmammo.phantom.breast import Anatomy
from fedmammo.phantom.points import Floats, Reals, curves, splat

SPECTRAL_EXPONENT = 3.0
"""Mammographic texture has a power spectrum of 1/f^3: Burgess, Jacobson & Judy 2001, Med. Phys. 28:419."""
LARGEST_STRUCTURE = 200.0
"""Wavelength in pixels above which the spectrum is flat; keeps a large image from drifting."""
ISLAND_SMOOTHNESS = 2.5
"""Pixels over which glandular tissue ends."""

# The clustered lumpy background of Bochud, Abbey & Eckstein 1999, Optics Express 4:33: clusters of lumps, the lumps
# of a cluster turned alike. A lump is exp(-SHARPNESS * (r / L)^POWER), L the radius of an ellipse in r's direction;
# theirs divides r^POWER by L. The numbers were set by eye and spectrum beside real patches.
CLUSTERS_PER_MEGAPIXEL = 900.0
LUMPS_PER_CLUSTER = 12.0
CLUSTER_WIDTHS = (26.0, 9.0)
"""Standard deviation in pixels of a cluster along and across its direction."""
LUMP_RADII = (14.0, 2.0)
SHARPNESS, POWER = 2.1, 0.6
ORIENTATIONS = 6

LINE_WIDTHS = (0.8, 1.6, 2.8)
"""Standard deviations in pixels of the profiles of fibres, ducts and vessels."""
LINES_PER_MEGAPIXEL = (3500.0, 600.0, 50.0)
LINE_LENGTHS = (80.0, 110.0, 200.0)
NODULE_RADIUS = 11.0
NODULES_PER_MEGAPIXEL, STARS_PER_MEGAPIXEL, DOTS_PER_MEGAPIXEL = 60.0, 30.0, 25.0
"""At difficulty 1: soft round densities, fibres that cross in one point, and single bright calcifications."""

# Per density class: gray level of glandular tissue, contrasts of texture, lumps and fibres, share of glandular tissue.
GLAND_LEVEL = {1: 0.05, 2: 0.09, 3: 0.13, 4: 0.15}
TEXTURE_CONTRAST = {1: 0.018, 2: 0.024, 3: 0.030, 4: 0.034}
LUMP_CONTRAST = {1: 0.010, 2: 0.015, 3: 0.019, 4: 0.021}
LINE_CONTRAST = {1: 0.018, 2: 0.023, 3: 0.027, 4: 0.027}
GLAND_BIAS = {1: -1.5, 2: -0.5, 3: 0.5, 4: 1.5}

_PADDING = 48
_STEP = 32


@dataclass(frozen=True)
class Window:
    """A part of the mammogram, in pixels; it may reach beyond the mammogram."""

    top: int
    left: int
    rows: int
    columns: int

    def grid(self) -> tuple[Reals, Reals]:
        """Coordinates of the pixels: y as a column, x as a row."""
        y = np.arange(self.top, self.top + self.rows, dtype=np.float64)[:, None]
        return y, np.arange(self.left, self.left + self.columns, dtype=np.float64)


@dataclass(frozen=True)
class _Kernels:
    """Transfer functions on the half plane of `rfft2`.

    A point becomes a shape of unit height, a line one of unit height across; white noise of unit variance becomes a
    texture of about unit variance.
    """

    texture: Floats
    islands: Floats
    lumps: list[Floats]
    lines: list[Floats]
    nodule: Floats


@lru_cache(maxsize=16)
def _kernels(shape: tuple[int, int]) -> _Kernels:
    """The kernels for a padded grid.

    Texture: the structures smaller than `LARGEST_STRUCTURE` have unit variance together, because the integral of
    f^-3 / (2 pi L) over the plane outside the circle f = 1/L is 1.
    """
    fy, fx = fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])[None]
    f = np.hypot(fy, fx)
    cutoff = 1 / LARGEST_STRUCTURE
    texture = np.sqrt(cutoff / (2 * np.pi)) * np.maximum(f, cutoff) ** (-SPECTRAL_EXPONENT / 2)
    islands = texture * np.exp(-2 * (np.pi * ISLAND_SMOOTHNESS * f) ** 2)

    y, x = np.meshgrid(*(fft.fftfreq(n, 1 / n) for n in shape), indexing="ij")
    distance, angle = np.hypot(y, x), np.arctan2(y, x)
    long, short = LUMP_RADII
    lumps = []
    for k in range(ORIENTATIONS):
        turned = angle - np.pi * k / ORIENTATIONS
        radius = long * short / np.hypot(short * np.cos(turned), long * np.sin(turned))
        # The sum over the grid is real and even, hence its transform is real.
        lumps.append(fft.rfft2(np.exp(-SHARPNESS * (distance / radius) ** POWER)).real.astype(np.float32))

    def line(width: float) -> Floats:
        return (np.sqrt(2 * np.pi) * width * np.exp(-2 * (np.pi * width * f) ** 2)).astype(np.float32)

    disc = 1 / (1 + np.exp(np.clip((distance - NODULE_RADIUS) / 2.5, -30, 30)))
    return _Kernels(
        texture.astype(np.float32),
        islands.astype(np.float32),
        lumps,
        [line(width) for width in LINE_WIDTHS],
        fft.rfft2(disc).real.astype(np.float32),
    )


def draw_tissue(window: Window, anatomy: Anatomy, difficulty: float, generator: np.random.Generator) -> Floats:
    """Tissue in the window, (rows, columns): gray level above fat, as a fraction of full scale.

    The density class raises level and contrast; lumps and fibres point roughly to the nipple. `difficulty` (0 to 1)
    is the share of the distractors that are drawn.
    """
    # Periodic fields: padding is drawn and cut off, so that opposite edges have nothing in common.
    rows, columns = (-(-(n + _PADDING) // _STEP) * _STEP for n in (window.rows, window.columns))
    shape = rows, columns
    kernels = _kernels(shape)
    density = anatomy.density

    def scatter(per_megapixel: float) -> tuple[Reals, Reals, Reals, Reals]:
        """Random points: coordinates in the padded window, glandular share, direction to the nipple."""
        count = generator.poisson(per_megapixel * rows * columns / 1e6)
        y, x = generator.uniform(0, rows, count), generator.uniform(0, columns, count)
        place = y + window.top - _PADDING / 2, x + window.left - _PADDING / 2
        return y, x, anatomy.gland(*place), anatomy.towards_nipple(*place)

    spectrum = np.zeros((rows, columns // 2 + 1), np.complex64)

    def add(points: Floats, kernel: Floats) -> None:
        nonlocal spectrum
        spectrum += fft.rfft2(points) * kernel

    y, x, gland, direction = scatter(CLUSTERS_PER_MEGAPIXEL)
    direction = direction + 0.6 * generator.standard_normal(len(y))
    weight = LUMP_CONTRAST[density] * (0.25 + gland) * generator.exponential(1, len(y))
    lumps = generator.poisson(LUMPS_PER_CLUSTER, len(y))
    along, across = (width * generator.standard_normal(lumps.sum()) for width in CLUSTER_WIDTHS)
    y, x, weight, direction = (np.repeat(values, lumps) for values in (y, x, weight, direction))
    y = y + along * np.sin(direction) + across * np.cos(direction)
    x = x + along * np.cos(direction) - across * np.sin(direction)
    orientation = np.rint(direction * ORIENTATIONS / np.pi).astype(np.intp) % ORIENTATIONS
    for k in range(ORIENTATIONS):
        which = orientation == k
        add(splat(shape, y[which], x[which], weight[which]), kernels.lumps[k])

    for k, kernel in enumerate(kernels.lines):
        y, x, gland, direction = scatter(LINES_PER_MEGAPIXEL[k])
        height = LINE_CONTRAST[density] * generator.uniform(0.2, 1.6, len(y)) * (0.35 + 0.65 * gland)
        angle = direction + 0.45 * generator.standard_normal(len(y))
        lines = _lines(shape, y, x, angle, LINE_LENGTHS[k], height, generator)
        if k == 0:
            y, x, _, _ = scatter(difficulty * STARS_PER_MEGAPIXEL)
            y, x = (np.repeat(values, 6) for values in (y, x))
            angle = generator.uniform(0, 2 * np.pi, len(y))
            lines += _lines(shape, y, x, angle, 55.0, np.full(len(y), 0.03), generator)
            y, x, _, _ = scatter(difficulty * DOTS_PER_MEGAPIXEL)
            lines += splat(shape, y, x, generator.uniform(0.1, 0.5, len(y)))
        add(lines, kernel)

    y, x, _, _ = scatter(difficulty * NODULES_PER_MEGAPIXEL)
    add(splat(shape, y, x, generator.uniform(0.02, 0.08, len(y))), kernels.nodule)

    inner = tuple(slice(_PADDING // 2, _PADDING // 2 + n) for n in (window.rows, window.columns))
    white = fft.rfft2(generator.standard_normal(shape, dtype=np.float32))
    texture = fft.irfft2(white * kernels.texture, shape)[inner]
    islands = fft.irfft2(white * kernels.islands, shape)[inner]
    structures = fft.irfft2(spectrum, shape)[inner]
    share = anatomy.gland(*window.grid()).astype(np.float32) / (1 + np.exp(-3.5 * islands - GLAND_BIAS[density]))
    return GLAND_LEVEL[density] * share + TEXTURE_CONTRAST[density] * (0.5 + share) * texture + structures


def _lines(
    shape: tuple[int, int],
    y: Reals,
    x: Reals,
    angle: Reals,
    length: float,
    height: Reals,
    generator: np.random.Generator,
) -> Floats:
    """Curves through (y, x) that fade towards their ends, as points whose weight is the height of the line."""
    lengths = length * generator.uniform(0.4, 1.6, len(y))
    dy, dx, there = curves(angle, lengths, 0.3, generator)
    steps = np.arange(dy.shape[1])
    taper = np.sin(np.pi * np.minimum((steps + 0.5) / lengths[:, None], 1)) * there * height[:, None]
    start_y, start_x = y - lengths / 2 * np.sin(angle), x - lengths / 2 * np.cos(angle)
    return splat(shape, start_y[:, None] + dy, start_x[:, None] + dx, taper)
