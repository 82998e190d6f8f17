"""The breast as a whole: its outline, thickness, skin, nipple, pectoral muscle, and where glandular tissue lies.

Everything is a function of coordinates, so that a patch is drawn like the mammogram that it could be cut from. The
chest wall is the left edge (x = 0); right breasts are turned when all is drawn.
"""

from dataclasses import dataclass

import numpy as np

from fedmammo.phantom.points import Reals

MAMMOGRAM_SHAPE = (1024, 704)
"""Rows and columns; with a breast 10 cm deep a pixel is about 0.2 mm."""
RIM = 70.0
"""Pixels from the skin over which a compressed breast reaches its full thickness."""
NIPPLE_RADIUS = 15.0
_GLAND_EXTENT = {1: 0.30, 2: 0.38, 3: 0.48, 4: 0.62}
"""Per density class: half width of the glandular disc, as a share of the breast's."""


@dataclass(frozen=True)
class Anatomy:
    """One breast in one view (CC or MLO). Lengths in pixels.

    Attributes:
        density: class 1 (fatty) to 4 (dense).
        middle: row of the nipple.
        height: half the breast's extent along the chest wall.
        width: from the chest wall to the skin at the nipple.
        muscle: rows and columns that the pectoral muscle covers in the upper corner, (0, 0) where it is not seen.
        muscle_level: gray level that the muscle adds, as a fraction of full scale.
    """

    density: int
    middle: float
    height: float
    width: float
    muscle: tuple[float, float]
    muscle_level: float

    def depth(self, y: Reals, x: Reals) -> Reals:
        """Distance to the skin in pixels, positive inside the breast; good near the skin, about right elsewhere."""
        across, along = x / self.width, (y - self.middle) / self.height
        breast = (1 - np.hypot(across, along)) * self.height
        return np.maximum(breast, NIPPLE_RADIUS - np.hypot(y - self.middle, x - self.width + 7))

    def thickness(self, y: Reals, x: Reals) -> Reals:
        """Thickness as a fraction of the compressed breast's, in [0, 1]: its rim is round."""
        return np.sqrt(1 - (1 - np.clip(self.depth(y, x) / RIM, 0, 1)) ** 2)

    def surface(self, y: Reals, x: Reals) -> Reals:
        """Gray level that skin line and pectoral muscle add, as a fraction of full scale."""
        skin = 0.05 * np.exp(-(((self.depth(y, x) - 5) / 2.5) ** 2))
        rows, columns = self.muscle
        if not rows:
            return skin
        # A slightly convex edge; softer than a pixel nowhere, because fat lies over it.
        inside = columns * (1 - np.clip(y / rows, 0, 1) ** 1.3) - x
        return skin + self.muscle_level / (1 + np.exp(np.clip(-inside / 3, -30, 30))) * (y < rows)

    def gland(self, y: Reals, x: Reals) -> Reals:
        """Share of the place that glandular tissue may hold, in [0, 1]: a disc behind the nipple."""
        extent = _GLAND_EXTENT[self.density]
        across = (x / self.width - 0.52) / (1.15 * extent)
        along = (y - self.middle) / (extent * 1.35 * self.height)
        return np.exp(-((across**2 + along**2) ** 1.5)) * (self.depth(y, x) > 0)

    def towards_nipple(self, y: Reals, x: Reals) -> Reals:
        """Angle in radians, from the x axis towards y, in which ducts and ligaments run."""
        return np.arctan2(self.middle - y, 1.1 * self.width - x)

    def find_place(
        self, distance: float, reach: float, others: list[tuple[int, int, float]], generator: np.random.Generator
    ) -> tuple[int, int]:
        """Row and column of a lesion.

        Args:
            distance: from the nipple, as a share of the breast's width; the same in both views of a lesion.
            reach: radius of the lesion.
            others: rows, columns and reaches of lesions that it must not touch.
            generator: chooses among the places.

        Raises:
            ValueError: the breast has no room for it.
        """
        for _ in range(300):
            angle = generator.uniform(-1.2, 1.2)
            y = self.middle - distance * self.width * np.sin(angle)
            x = self.width * (1 - distance * np.cos(angle))
            free = all(np.hypot(y - row, x - column) > reach + space for row, column, space in others)
            if free and x > 0.7 * reach and self.depth(y, x) > 0.8 * reach + 10:
                return round(y), round(x)
        raise ValueError(f"no room for a lesion of radius {reach:.0f}: draw fewer or smaller ones")


def draw_anatomy(density: int, view: str, generator: np.random.Generator) -> Anatomy:
    """A breast of the given density class, as it looks in the view; it fits `MAMMOGRAM_SHAPE`."""
    rows, columns = MAMMOGRAM_SHAPE
    oblique = view == "MLO"
    return Anatomy(
        density=density,
        middle=rows * (generator.uniform(0.53, 0.58) if oblique else generator.uniform(0.46, 0.52)),
        height=rows * generator.uniform(0.38, 0.43),
        width=columns * generator.uniform(0.66, 0.92),
        muscle=(rows * generator.uniform(0.45, 0.65), columns * generator.uniform(0.28, 0.45)) if oblique else (0, 0),
        muscle_level=generator.uniform(0.08, 0.18),
    )
