"""Calcifications: their types and distributions as BI-RADS names them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter

from fedmammo.phantom.points import Floats, Reals, curves, splat
from fedmammo.phantom.rates import CALCIFICATION_RATES, DISTRIBUTIONS, SUBTLETY_RATES, TYPES, choose_description

_GRAINS = {
    "CLUSTERED": (6, 25), "LINEAR": (8, 22), "SEGMENTAL": (18, 40),
    "REGIONAL": (25, 60), "DIFFUSELY_SCATTERED": (30, 70), "NA": (1, 4),
}  # fmt: skip
_EXTENT = {"CLUSTERED": 24, "LINEAR": 40, "SEGMENTAL": 55, "REGIONAL": 65, "DIFFUSELY_SCATTERED": 90, "NA": 16}
"""Radius in pixels within which the grains lie."""
_OUTLINE = 7
"""Pixels by which the mask surrounds the grains."""


@dataclass(frozen=True)
class Calcifications:
    """A group of calcifications in the words of CBIS-DDSM.

    Attributes:
        malignant: whether they are a sign of cancer.
        type, distribution: one of `TYPES`, one of `DISTRIBUTIONS`.
        subtlety: 1 (hardly visible) to 5 (obvious).
        contrast: gray level that a typical grain adds, as a fraction of full scale.
        extent: radius in pixels within which the grains lie.
        distance: from the nipple, as a share of the breast's width.
        seed: of the grains, which both views share.
    """

    malignant: bool
    type: str
    distribution: str
    subtlety: int
    contrast: float
    extent: float
    distance: float
    seed: int

    @property
    def reach(self) -> float:
        """Radius in pixels of the circle that must lie inside the breast."""
        return self.extent

    def draw(self, direction: float, generator: np.random.Generator) -> tuple[Floats, NDArray[np.bool_]]:
        """Draw one view of the group in the middle of an odd square.

        The two views have the same grains, seen from another side: across the direction to the nipple (`direction`,
        radians from the x axis towards y) their places are stretched differently.

        Returns the gray level that the grains add, as a fraction of full scale, and the mask that surrounds them; it
        may have several parts.
        """
        form = np.random.default_rng(self.seed)
        half = int(self.extent) + 2 * _OUTLINE + 8
        shape = (2 * half + 1, 2 * half + 1)
        along, across = self._places(form)
        across = across * generator.uniform(0.8, 1.2)
        y, x = (
            half + along * np.sin(direction) + across * np.cos(direction),
            half + along * np.cos(direction) - across * np.sin(direction),
        )
        sharp, soft = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        for row, column in zip(y, x, strict=True):
            dy, dx, weight = self._grain(direction, form)
            layer = soft if self.type == "AMORPHOUS" else sharp
            layer += splat(shape, row + dy, column + dx, weight * form.uniform(0.6, 1.2))
        added = gaussian_filter(sharp, 0.6) + gaussian_filter(soft, 1.8)
        disc = np.hypot(*np.mgrid[-_OUTLINE : _OUTLINE + 1, -_OUTLINE : _OUTLINE + 1]) <= _OUTLINE
        return self.contrast * added, binary_dilation(splat(shape, y, x, np.array(1.0)) > 0, disc)

    def _places(self, form: np.random.Generator) -> tuple[Reals, Reals]:
        """Where the grains lie, in pixels along and across the direction to the nipple."""
        count = int(form.integers(*_GRAINS[self.distribution]))
        if self.distribution == "LINEAR":  # one duct
            along = form.uniform(-1, 1, count)
            across = 0.12 * np.sin(2 * along + form.uniform(0, 6)) + 0.05 * form.standard_normal(count)
        elif self.distribution == "SEGMENTAL":  # a wedge of ducts that ends at the nipple
            along = 1 - 2 * np.sqrt(form.uniform(0, 1, count))
            across = 0.45 * (1 - along) / 2 * form.uniform(-1, 1, count)
        else:
            radius, angle = np.sqrt(form.uniform(0, 1, count)), form.uniform(0, 2 * np.pi, count)
            along, across = radius * np.cos(angle), 0.75 * radius * np.sin(angle)
        return self.extent * along, self.extent * np.clip(across, -0.8, 0.8)

    def _grain(self, direction: float, form: np.random.Generator) -> tuple[Reals, Reals, Reals]:
        """One grain as points: y, x and weight; a weight of 1 is a pixel of the full contrast."""
        if self.type in ("LUCENT_CENTER", "COARSE", "ROUND_AND_REGULAR"):
            radius = form.uniform(*{"LUCENT_CENTER": (2.5, 5), "COARSE": (2.5, 5.5)}.get(self.type, (1.2, 2.2)))
            y, x = (values.ravel().astype(np.float64) for values in np.mgrid[-7:8, -7:8])
            lobes, turn = form.integers(2, 5), form.uniform(0, 2 * np.pi)
            edge = 1 + (0.2 if self.type == "COARSE" else 0.05) * np.cos(lobes * np.arctan2(y, x) + turn)
            distance = np.hypot(y, x) / edge - radius
            hollow = 0.65 * (distance < -1.6) * (self.type == "LUCENT_CENTER")
            return y, x, np.asarray(np.clip(0.5 - distance, 0, 1) - hollow, np.float64)
        if self.type in ("FINE_LINEAR_BRANCHING", "VASCULAR"):
            vessel = self.type == "VASCULAR"
            first, apart = direction + form.normal(0, 0.35), 0.0 if vessel else float(form.choice([-0.7, 0.7]))
            length = np.full(2, form.uniform(14, 30)) if vessel else form.uniform(3, 10, 2)
            y, x, there = curves(np.array([first, first + apart]), length, 0.3, form)
            if vessel:  # the two walls, 5 pixels apart, with gaps
                y[1], x[1] = y[0] + 5 * np.cos(first), x[0] - 5 * np.sin(first)
                there = there & (form.random(there.shape) < 0.75)
            return y.ravel(), x.ravel(), np.where(there, 0.8, 0.0).ravel()
        if self.type == "PLEOMORPHIC":  # a few crumbs side by side
            crumbs = int(form.integers(1, 6))
            return form.normal(0, 1.0, crumbs), form.normal(0, 1.0, crumbs), form.uniform(0.5, 2.5, crumbs)
        return np.zeros(1), np.zeros(1), np.array([5.0 if self.type == "AMORPHOUS" else 2.2])


def choose_calcifications(malignant: bool, difficulty: float, generator: np.random.Generator) -> Calcifications:
    """A group of calcifications of the given kind, its description chosen at published rates (difficulty .5).

    All fade with difficulty.
    """
    kind, distribution = choose_description(CALCIFICATION_RATES, TYPES, DISTRIBUTIONS, malignant, difficulty, generator)
    subtlety = int(generator.choice(5, p=SUBTLETY_RATES)) + 1
    return Calcifications(
        malignant=malignant,
        type=kind,
        distribution=distribution,
        subtlety=subtlety,
        contrast=(0.10 + 0.05 * subtlety) * (1.35 - 0.7 * difficulty),
        extent=float(_EXTENT[distribution] * generator.uniform(0.7, 1.15)),
        distance=float(generator.uniform(0.35, 0.7)),
        seed=int(generator.integers(2**63)),
    )
