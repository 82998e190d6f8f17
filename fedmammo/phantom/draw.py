"""Draws breasts and masses as arrays: what a phantom patient looks like, without any file.

Gray values are fractions of full scale until the last step, which makes them 16-bit. One pixel has the same
size everywhere, so that a patch cut from a mammogram looks like one drawn by `draw_patch`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import find_objects

Floats = NDArray[np.float32]
Box = tuple[slice, slice]

DENSITIES = (1, 2, 3, 4)
DENSITY_RATES = (0.18, 0.44, 0.28, 0.10)
"""How frequent the density classes are among patients."""

SPECTRAL_EXPONENT = 3.0
"""Mammographic texture has a power spectrum of 1/f^3: Burgess, Jacobson & Judy 2001, Med. Phys. 28:419."""
LARGEST_STRUCTURE = 160.0
"""Wavelength in pixels above which the spectrum is flat; keeps a large image from drifting."""
LUMP_WIDTH = 9.0
"""Standard deviation in pixels of a lump of the lumpy background (Rolland & Barrett 1992, JOSA A 9:649)."""
LUMPS_PER_MEGAPIXEL = 900.0
FIBRE_SMOOTHNESS = 6.0
"""Pixels over which a fibre keeps its direction."""

# Per density class: the gray level that the glandular tissue adds, and the contrasts of its three ingredients.
GLANDULAR_LEVEL = {1: 0.00, 2: 0.02, 3: 0.05, 4: 0.08}
TEXTURE_CONTRAST = {1: 0.020, 2: 0.030, 3: 0.042, 4: 0.052}
LUMP_CONTRAST = {1: 0.006, 2: 0.012, 3: 0.022, 4: 0.030}
FIBRE_CONTRAST = {1: 0.030, 2: 0.040, 3: 0.050, 4: 0.045}

SHAPES = ("ROUND", "OVAL", "LOBULATED", "IRREGULAR")
MARGINS = ("CIRCUMSCRIBED", "OBSCURED", "MICROLOBULATED", "ILL_DEFINED", "SPICULATED")
# How often a mass of either kind has which shape and which margins. The kinds overlap, but less than in
# CBIS-DDSM (where .41 of the malignant training masses are SPICULATED): set, with the extra contrast of malignant
# masses, so that a simple classifier of a hundred patients reaches an AUROC of .8 to .9. Not a measurement.
SHAPE_RATES = {False: (0.19, 0.44, 0.32, 0.05), True: (0.04, 0.08, 0.14, 0.74)}
MARGIN_RATES = {False: (0.58, 0.26, 0.05, 0.10, 0.01), True: (0.04, 0.03, 0.09, 0.22, 0.62)}
SUBTLETY_RATES = (0.03, 0.08, 0.19, 0.28, 0.42)

MALIGNANT_RATE = 0.45
MAMMOGRAM_SHAPE = (640, 448)
MEAN_LEVEL, LEVEL_SPREAD = 0.46, 0.11
"""Gray level of fat, and its spread over images, as exposure and film differ."""
NOISE = 0.006
_ANGLES = 1024
_ROUGHNESS = {"ROUND": 0.03, "OVAL": 0.03, "LOBULATED": 0.05, "IRREGULAR": 0.22}
"""How far the body's edge strays from its outline, in radii."""


@dataclass(frozen=True)
class Lesion:
    """A mass in the words of CBIS-DDSM.

    `shape` is one of `SHAPES`, `margins` one of `MARGINS`, `radius` is in pixels (mean over directions, without
    spicules), `subtlety` goes from 1 (hardly visible) to 5 (obvious).
    """

    malignant: bool
    shape: str
    margins: str
    radius: float
    subtlety: int

    @property
    def contrast(self) -> float:
        """Gray level, as a fraction of full scale, that the mass adds at its centre; a malignant one is denser."""
        return (0.05 + 0.026 * self.subtlety) * (1.2 if self.malignant else 1.0)


def choose_lesion(malignant: bool, generator: np.random.Generator) -> Lesion:
    """A mass of the given kind, with shape, margins, radius (18 to 46 pixels) and subtlety chosen at random."""
    return Lesion(
        malignant=malignant,
        shape=str(generator.choice(SHAPES, p=SHAPE_RATES[malignant])),
        margins=str(generator.choice(MARGINS, p=MARGIN_RATES[malignant])),
        radius=float(np.clip(27 * np.exp(0.25 * generator.standard_normal()), 18, 46)),
        subtlety=int(generator.choice(5, p=SUBTLETY_RATES)) + 1,
    )


def draw_lesion(lesion: Lesion, size: int, generator: np.random.Generator) -> tuple[Floats, NDArray[np.bool_]]:
    """Draw a mass in the middle of a square of `size` pixels.

    Returns the profile in [0, 1] (the density that the mass adds, as a fraction of its contrast) and the mask of
    its body; spicules reach beyond the mask, as they do beyond a radiologist's contour.
    """
    x = np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)
    y = x[:, None]
    distance, angle = np.hypot(y, x), np.arctan2(y, x)
    direction = ((angle + np.pi) * (_ANGLES / (2 * np.pi))).astype(np.intp) % _ANGLES

    outline = (lesion.radius * _outline(lesion, generator))[direction]
    softness = _softness(lesion, generator)[direction]
    outline += lesion.radius * _ROUGHNESS[lesion.shape] * _rough(size, generator)
    outline = np.clip(outline, 0.45 * lesion.radius, 1.7 * lesion.radius)
    softness = np.minimum(softness, outline / 4)  # a blurred edge must not hollow out the middle
    depth = (outline - distance) / softness
    body = 1 / (1 + np.exp(np.clip(-depth, -30, 30)))
    dome = np.sqrt(np.clip(1 - (distance / (outline + softness)) ** 2, 0, 1))
    profile = body * (0.55 + 0.45 * dome)
    profile = 1 - (1 - profile) * (1 - _spicules(lesion, distance, angle, outline, generator))
    return np.clip(profile, 0, 1).astype(np.float32), distance <= outline


def _outline(lesion: Lesion, generator: np.random.Generator) -> Floats:
    """The body's radius per direction, in units of the mean radius."""
    around = np.linspace(0, 2 * np.pi, _ANGLES, endpoint=False, dtype=np.float32)

    def waves(orders: range, amplitude: float) -> Floats:
        phases = generator.uniform(0, 2 * np.pi, len(orders))
        sizes = amplitude * generator.uniform(0.5, 1.0, len(orders)) / np.sqrt(len(orders))
        return sum((a * np.cos(k * around + p) for k, a, p in zip(orders, sizes, phases, strict=True)), 0 * around)

    roundness = generator.uniform(0.9, 1.0) if lesion.shape == "ROUND" else generator.uniform(0.62, 0.88)
    turned = around - generator.uniform(0, np.pi)
    ellipse = np.sqrt(roundness) / np.hypot(roundness * np.cos(turned), np.sin(turned))
    outline = ellipse + waves(range(2, 5), 0.04)
    if lesion.shape == "LOBULATED":
        outline += waves(range(3, 6), 0.20)
    if lesion.shape == "IRREGULAR":
        outline += waves(range(2, 7), 0.20)
    if lesion.margins == "MICROLOBULATED":
        outline += waves(range(8, 15), 0.09)
    return outline.astype(np.float32)


def _rough(size: int, generator: np.random.Generator) -> Floats:
    """A smooth power-law field, about unit variance, that frays the outline of a mass."""
    n = fft.next_fast_len(size + 32, real=True)
    noise = generator.standard_normal((n, n), dtype=np.float32)
    field = fft.irfft2(fft.rfft2(noise) * _filters((n, n))[2], (n, n))[:size, :size]
    return field - field.mean()


def _softness(lesion: Lesion, generator: np.random.Generator) -> Floats:
    """Width of the body's edge per direction, in pixels."""
    around = np.linspace(0, 2 * np.pi, _ANGLES, endpoint=False, dtype=np.float32)
    sharp, blurred = generator.uniform(1.2, 2.5), lesion.radius * generator.uniform(0.14, 0.26)
    if lesion.margins == "OBSCURED":  # tissue lies over one side
        hidden = np.clip(np.cos(around - generator.uniform(0, 2 * np.pi)) + 0.2, 0, 1)
        return (sharp + blurred * hidden).astype(np.float32)
    width = {"ILL_DEFINED": blurred, "SPICULATED": 0.7 * blurred}.get(lesion.margins, sharp)
    return np.full_like(around, width)


def _spicules(
    lesion: Lesion, distance: Floats, angle: Floats, outline: Floats, generator: np.random.Generator
) -> Floats:
    """Density in [0, 1) of the strands that radiate from the body; faint ones wherever a mass is malignant."""
    if lesion.margins == "SPICULATED":
        count, strength = int(generator.integers(14, 30)), generator.uniform(0.35, 0.85)
    elif lesion.malignant and lesion.margins != "CIRCUMSCRIBED":
        count, strength = int(generator.integers(8, 18)), generator.uniform(0.10, 0.50)
    else:
        return np.zeros_like(distance)
    reach = (distance - outline) / lesion.radius
    inside = np.clip(1 + 1.5 * np.minimum(reach, 0), 0, 1)
    clear = np.ones_like(distance)
    for _ in range(count):
        bend = np.float32(generator.normal(0, 0.15))
        length, width = generator.uniform(0.35, 1.25), generator.uniform(0.9, 2.0)
        taper = np.clip(1 - reach / np.float32(length), 0, 1) * inside
        away = angle - np.float32(generator.uniform(-np.pi, np.pi)) - bend * reach
        away -= np.float32(2 * np.pi) * np.round(away / np.float32(2 * np.pi))
        across = distance * away / np.float32(width)
        clear *= 1 - np.float32(strength * generator.uniform(0.5, 1.0)) * taper * np.exp(-(across**2))
    return 1 - clear


@lru_cache(maxsize=8)
def _filters(shape: tuple[int, int]) -> tuple[Floats, Floats, Floats]:
    """Transfer functions on the half plane of `rfft2`: texture, lumps, fibres.

    The texture filter turns white noise of unit variance into a field with power spectrum 1/f^3, scaled so that
    the structures smaller than `LARGEST_STRUCTURE` have unit variance together: the integral of
    f^-3 / (2 pi L) over the plane outside the circle f = 1/L is 1. The size of the image plays no role.
    """
    f = np.hypot(fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])[None])
    cutoff = 1 / LARGEST_STRUCTURE
    texture = np.sqrt(cutoff / (2 * np.pi)) * np.maximum(f, cutoff) ** (-SPECTRAL_EXPONENT / 2)
    lumps = 2 * np.pi * LUMP_WIDTH**2 * np.exp(-2 * (np.pi * LUMP_WIDTH * f) ** 2)  # a point becomes unit height
    fibres = texture * np.exp(-2 * (np.pi * FIBRE_SMOOTHNESS * f) ** 2)
    return texture.astype(np.float32), lumps.astype(np.float32), fibres.astype(np.float32)


def draw_tissue(shape: tuple[int, int], density: int, generator: np.random.Generator) -> Floats:
    """Breast tissue of the given shape (rows, columns): gray level above fat, as a fraction of full scale.

    Power-law texture, lumps and fibres; the density class, 1 (fatty) to 4 (dense), raises their level and
    contrast. Fibres lie where a smooth random field crosses zero, which gives long branching strands.
    """
    # Periodic fields: a margin is drawn and cut off, so that opposite edges have nothing in common.
    rows, columns = (fft.next_fast_len(n + 48, real=True) for n in shape)
    texture, lumps, fibres = _filters((rows, columns))
    seeds = np.zeros((rows, columns), np.float32)
    count = generator.poisson(LUMPS_PER_MEGAPIXEL * rows * columns / 1e6)
    np.add.at(seeds, (generator.integers(0, rows, count), generator.integers(0, columns, count)), 1)

    def filtered(noise: Floats, transfer: Floats) -> Floats:
        return fft.irfft2(fft.rfft2(noise) * transfer, (rows, columns))[: shape[0], : shape[1]]

    def white() -> Floats:
        return generator.standard_normal((rows, columns), dtype=np.float32)

    cloud = TEXTURE_CONTRAST[density] * filtered(white(), texture)
    cloud += LUMP_CONTRAST[density] * filtered(seeds, lumps)
    strands = np.exp(-((filtered(white(), fibres) / 0.15) ** 2))
    strands += np.exp(-((filtered(white(), fibres) / 0.08) ** 2))
    where = 1 / (1 + np.exp(-cloud / TEXTURE_CONTRAST[density]))  # glandular tissue holds more of them
    return GLANDULAR_LEVEL[density] + cloud + FIBRE_CONTRAST[density] * strands * where


def draw_mammogram(
    lesions: Sequence[Lesion],
    density: int,
    side: str,
    view: str,
    generator: np.random.Generator,
) -> tuple[NDArray[np.uint16], list[NDArray[np.uint8]], list[Box]]:
    """Draw one breast with its masses, which do not touch each other.

    The breast is half an ellipse on a dark ground; the chest wall is the left edge of the image for side LEFT and
    the right edge for RIGHT. View MLO shows the pectoral muscle in the upper corner, CC does not. Returns the
    image (`MAMMOGRAM_SHAPE`), and for each lesion its mask (0 or 255, of the image's shape) and the bounding box of
    that mask (half-open row and column slices). Raises ValueError where the masses find no room.
    """
    rows, columns = MAMMOGRAM_SHAPE
    # Drawn with the chest wall at the left, turned at the end.
    y = np.arange(rows, dtype=np.float32)[:, None]
    x = np.arange(columns, dtype=np.float32)
    middle = rows * generator.uniform(0.46, 0.50) if view == "CC" else rows * generator.uniform(0.50, 0.56)
    height, width = rows * generator.uniform(0.41, 0.45), columns * generator.uniform(0.74, 0.88)
    inwards = 1 - np.hypot((y - middle) / height, x / width)  # 1 at the chest wall's middle, 0 at the skin
    thickness = 1 - np.exp(-np.maximum(inwards, 0) / 0.07)

    added = draw_tissue(MAMMOGRAM_SHAPE, density, generator)
    if view == "MLO":
        edge = columns * generator.uniform(0.30, 0.42) * (1 - y / (rows * generator.uniform(0.5, 0.62))) - x
        added += generator.uniform(0.08, 0.16) / (1 + np.exp(np.clip(-edge / 4, -30, 30)))
    masks: list[NDArray[np.uint8]] = []
    boxes: list[Box] = []
    occupied = inwards < 0.12
    for lesion in lesions:
        size = 2 * int(3 * lesion.radius) + 1  # the longest spicules end within
        profile, body = draw_lesion(lesion, size, generator)
        place = _find_room(occupied, body, generator)
        added[place] += lesion.contrast * profile
        mask = np.zeros(MAMMOGRAM_SHAPE, np.uint8)
        mask[place][body] = 255
        masks.append(mask)
        box_rows, box_columns = find_objects(mask // 255)[0]
        boxes.append((box_rows, box_columns))
        occupied[place] |= body | (profile > 0.02)
    gray = 0.02 + thickness * (generator.normal(MEAN_LEVEL, LEVEL_SPREAD) + added)
    image = _to_uint16(gray, generator)
    if side == "RIGHT":
        image, masks = np.ascontiguousarray(image[:, ::-1]), [np.ascontiguousarray(m[:, ::-1]) for m in masks]
        boxes = [(b[0], slice(columns - b[1].stop, columns - b[1].start)) for b in boxes]
    return image, masks, boxes


def _find_room(occupied: NDArray[np.bool_], body: NDArray[np.bool_], generator: np.random.Generator) -> Box:
    """A random place, as big as `body`, where the body lies on free pixels only."""
    rows, columns = (n - len(body) for n in occupied.shape)
    for _ in range(500):
        top, left = int(generator.integers(rows + 1)), int(generator.integers(columns + 1))
        place = (slice(top, top + len(body)), slice(left, left + len(body)))
        if not occupied[place][body].any():
            return place
    raise ValueError(f"no room for a mass of {body.sum()} pixels: draw fewer or smaller ones")


def _to_uint16(gray: Floats, generator: np.random.Generator) -> NDArray[np.uint16]:
    """Add the film's grain and quantise [0, 1] to 16 bits."""
    grain = NOISE * generator.standard_normal(gray.shape, dtype=np.float32)
    return (np.clip(gray + grain, 0, 1) * 65535).astype(np.uint16)


def draw_patch(
    malignant: bool, generator: np.random.Generator, size: int = 128, density: int | None = None
) -> NDArray[np.uint16]:
    """Draw tissue with one mass in the middle, (size, size), 16 bit; a density class is chosen where none is given.

    Pixels stay as large as in `draw_mammogram`: a smaller patch shows less tissue around the mass.
    """
    if density is None:
        density = int(generator.choice(DENSITIES, p=DENSITY_RATES))
    lesion = choose_lesion(malignant, generator)
    profile, _ = draw_lesion(lesion, size, generator)
    added = draw_tissue((size, size), density, generator) + lesion.contrast * profile
    # The breast grows thicker away from the skin, which some patches show as a dark corner.
    from_middle = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    direction = generator.uniform(0, 2 * np.pi)
    across = np.cos(direction) * from_middle[:, None] + np.sin(direction) * from_middle
    inwards = np.maximum(across + generator.exponential(1.0) + 0.40, 0)
    gray = (1 - np.exp(-inwards / 0.25)) * (generator.normal(MEAN_LEVEL, LEVEL_SPREAD) + added)
    return _to_uint16(gray, generator)


def draw_patches(count: int, seed: int, size: int = 128) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    """Draw `count` patches, (count, size, size), and whether each is malignant (about `MALIGNANT_RATE` of them).

    Patch i depends on seed and i only, so that more patches begin with the same ones.
    """
    patches = np.empty((count, size, size), np.uint16)
    labels = np.empty(count, np.bool_)
    for i in range(count):
        generator = np.random.default_rng([seed, i])
        labels[i] = generator.random() < MALIGNANT_RATE
        patches[i] = draw_patch(bool(labels[i]), generator, size)
    return patches, labels
