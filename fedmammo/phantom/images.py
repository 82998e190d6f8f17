"""Puts a breast's tissue and lesions together, as a whole mammogram or as a patch of one.

Gray values are fractions of full scale until the last step, which makes them 16 bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmammo.cohort.patch import MARGIN, MINIMUM_SIDE, resize
from fedmammo.phantom.breast import MAMMOGRAM_SHAPE, Anatomy, draw_anatomy
from fedmammo.phantom.calcifications import Calcifications
from fedmammo.phantom.masses import Mass
from fedmammo.phantom.points import Floats
from fedmammo.phantom.tissue import Window, draw_tissue

Lesion = Mass | Calcifications
Bools = NDArray[np.bool_]

FAT_LEVEL, LEVEL_SPREAD = 0.41, 0.11
"""Gray level of fat, and its spread over images, as exposure and film differ."""
GAIN_SPREAD = 0.6
"""Spread of the logarithm of the film's contrast over images, at difficulty 1; at 0 all films are alike."""
AIR_LEVEL = 0.02
NOISE = 0.005


@dataclass(frozen=True)
class Placed:
    """A lesion in a mammogram: the square that it adds, the mask of its body, and the square's top left pixel."""

    added: Floats
    body: Bools
    top: int
    left: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Bounding box of the body in the mammogram: top, bottom, left, right; bottom and right exclusive."""
        rows, columns = np.flatnonzero(self.body.any(axis=1)), np.flatnonzero(self.body.any(axis=0))
        return self.top + rows[0], self.top + rows[-1] + 1, self.left + columns[0], self.left + columns[-1] + 1


def place(lesions: Sequence[Lesion], anatomy: Anatomy, generator: np.random.Generator) -> list[Placed]:
    """Draw each lesion at a place of its own. Raises ValueError where one finds no room."""
    taken: list[tuple[int, int, float]] = []
    placed = []
    for lesion in lesions:
        y, x = anatomy.find_place(lesion.distance, lesion.reach, taken, generator)
        taken.append((y, x, lesion.reach))
        added, body = lesion.draw(float(anatomy.towards_nipple(np.array(y), np.array(x))), generator)
        placed.append(Placed(added, body, y - len(added) // 2, x - len(added) // 2))
    return placed


def _draw(
    window: Window, anatomy: Anatomy, lesions: Sequence[Placed], difficulty: float, generator: np.random.Generator
) -> NDArray[np.uint16]:
    """The window of a mammogram, 16 bit; 0 beyond the mammogram's edge."""
    y, x = window.grid()
    added = draw_tissue(window, anatomy, difficulty, generator) + anatomy.surface(y, x)
    for lesion in lesions:
        target, source = _overlap(lesion, window)
        added[target] += lesion.added[source]
    fat = generator.normal(FAT_LEVEL, LEVEL_SPREAD)
    gain = np.exp(difficulty * GAIN_SPREAD * generator.standard_normal())
    gray = AIR_LEVEL + anatomy.thickness(y, x) * (fat + gain * added)
    gray += NOISE * generator.standard_normal(gray.shape, dtype=np.float32)
    rows, columns = MAMMOGRAM_SHAPE
    gray *= (y >= 0) & (y < rows) & (x >= 0) & (x < columns)
    return (np.clip(gray, 0, 1) * 65535).astype(np.uint16)


def _overlap(lesion: Placed, window: Window) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where the lesion's square and the window meet: slices of the window, slices of the square."""
    target, source = [], []
    for start, first, length in ((lesion.top, window.top, window.rows), (lesion.left, window.left, window.columns)):
        low, high = max(start, first), max(min(start + len(lesion.added), first + length), start, first)
        target.append(slice(low - first, high - first))
        source.append(slice(low - start, high - start))
    return (target[0], target[1]), (source[0], source[1])


def draw_mammogram(
    lesions: Sequence[Lesion], density: int, side: str, view: str, difficulty: float, generator: np.random.Generator
) -> tuple[NDArray[np.uint16], list[NDArray[np.bool_]]]:
    """Draw one breast with its lesions, which do not touch each other.

    The chest wall is the left edge of the image for side LEFT and the right edge for RIGHT. View MLO shows the
    pectoral muscle in the upper corner, CC does not. Returns the image (`MAMMOGRAM_SHAPE`, 16 bit) and each lesion's
    mask, of the same shape. Raises ValueError where the lesions find no room.
    """
    anatomy = draw_anatomy(density, view, generator)
    placed = place(lesions, anatomy, generator)
    window = Window(0, 0, *MAMMOGRAM_SHAPE)
    image = _draw(window, anatomy, placed, difficulty, generator)
    masks = []
    for lesion in placed:
        mask = np.zeros(MAMMOGRAM_SHAPE, np.bool_)
        target, source = _overlap(lesion, window)
        mask[target] = lesion.body[source]
        masks.append(mask)
    if side == "RIGHT":
        image, masks = np.ascontiguousarray(image[:, ::-1]), [np.ascontiguousarray(mask[:, ::-1]) for mask in masks]
    return image, masks


def draw_patch(
    lesion: Lesion, density: int, difficulty: float, generator: np.random.Generator, size: int = 128
) -> NDArray[np.uint16]:
    """Draw the patch that would be cut around the lesion, (size, size), 16 bit, and nothing else of the mammogram.

    As in a prepared cohort the square is a fifth wider than the lesion's box, at least 128 pixels of the mammogram.
    """
    anatomy = draw_anatomy(density, str(generator.choice(["CC", "MLO"])), generator)
    placed = place([lesion], anatomy, generator)
    top, bottom, left, right = placed[0].box
    side = max(MINIMUM_SIDE, round((1 + MARGIN) * max(bottom - top, right - left)))
    window = Window((top + bottom - side) // 2, (left + right - side) // 2, side, side)
    image = _draw(window, anatomy, placed, difficulty, generator)
    return resize(image[:, ::-1] if generator.random() < 0.5 else image, size)
