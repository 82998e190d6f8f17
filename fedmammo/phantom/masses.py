"""Masses: their shapes and margins as BI-RADS names them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_filter

from fedmammo.phantom.points import Floats, Reals, curves, splat
from fedmammo.phantom.rates import MARGINS, MASS_RATES, SHAPES, SUBTLETY_RATES, choose_description

_ANGLES = 720
_ROUGHNESS = {"ROUND": 0.03, "OVAL": 0.03, "LOBULATED": 0.04, "IRREGULAR": 0.12}
"""How far the edge strays from the outline, in radii."""


@dataclass(frozen=True)
class Mass:
    """A mass in the words of CBIS-DDSM.

    Attributes:
        malignant: whether it is cancer.
        shape, margins: one of `SHAPES`, one of `MARGINS`.
        subtlety: 1 (hardly visible) to 5 (obvious).
        contrast: gray level that it adds at its centre, as a fraction of full scale.
        reaction: strength of the strands that radiate from it, 0 to 1; those of a spiculated mass are long and plain.
        radius: in pixels, mean over directions, without spicules.
        distance: from the nipple, as a share of the breast's width.
        seed: of its form, which both views share.
    """

    malignant: bool
    shape: str
    margins: str
    subtlety: int
    contrast: float
    reaction: float
    radius: float
    distance: float
    seed: int

    @property
    def reach(self) -> float:
        """Radius in pixels of the circle that holds the mass, but for its longest spicules."""
        return 1.4 * self.radius

    def draw(self, direction: float, generator: np.random.Generator) -> tuple[Floats, NDArray[np.bool_]]:
        """Draw one view of the mass in the middle of an odd square, 6 radii wide.

        The two views of a mass are stretched a little differently, and their edges fray differently; outline,
        margins and spicules are the same. `direction` (to the nipple) plays no role.

        Returns the gray level that the mass adds, as a fraction of full scale, and the mask of its body; spicules
        reach beyond the mask, as they do beyond a radiologist's contour.
        """
        form = np.random.default_rng(self.seed)
        half = int(3 * self.radius)
        x = np.arange(-half, half + 1, dtype=np.float64)
        stretch = generator.uniform(0.92, 1.08)
        y, x = x[:, None] * stretch, x / stretch
        distance, angle = np.hypot(y, x), np.arctan2(y, x)
        around = ((angle + np.pi) * (_ANGLES / (2 * np.pi))).astype(np.intp) % _ANGLES

        contour = self.radius * self._contour(form)
        softness = self._softness(form)[around]
        spicules = self._spicules(contour, 2 * half + 1, form)
        outline = contour[around] + self.radius * _ROUGHNESS[self.shape] * _rough(2 * half + 1, generator)
        outline = np.clip(outline, 0.45 * self.radius, 1.7 * self.radius)
        softness = np.minimum(softness, outline / 3)  # a blurred edge must not hollow out the middle
        body = 1 / (1 + np.exp(np.clip((distance - outline) / softness, -30, 30)))
        dome = np.sqrt(np.clip(1 - (distance / (outline + softness)) ** 2, 0, 1))
        profile = np.maximum(body * (0.6 + 0.4 * dome), spicules * (1 - body) + body * (0.6 + 0.4 * dome))
        return (self.contrast * np.clip(profile, 0, 1)).astype(np.float32), distance <= outline

    def _contour(self, form: np.random.Generator) -> Reals:
        """Radius per direction (from -pi), in units of the mean radius."""
        around = np.linspace(-np.pi, np.pi, _ANGLES, endpoint=False)

        def waves(orders: range, amplitude: float) -> Reals:
            phases = form.uniform(0, 2 * np.pi, (len(orders), 1))
            sizes = amplitude * form.uniform(0.5, 1.0, (len(orders), 1)) / np.sqrt(len(orders))
            return np.asarray((sizes * np.cos(np.array(orders)[:, None] * around + phases)).sum(axis=0))

        roundness = form.uniform(0.9, 1.0) if self.shape == "ROUND" else form.uniform(0.60, 0.85)
        turned = around - form.uniform(0, np.pi)
        uneven = around + waves(range(1, 4), 0.7)  # lobes differ in width
        contour = np.sqrt(roundness) / np.hypot(roundness * np.cos(turned), np.sin(turned)) + waves(range(2, 5), 0.03)
        if self.shape == "LOBULATED":  # two to four lobes that meet in notches
            lobes = int(form.integers(2, 5))
            contour += 0.40 * np.abs(np.cos(lobes / 2 * uneven + form.uniform(0, np.pi))) - 0.25
        if self.shape == "IRREGULAR":
            contour += waves(range(2, 9), 0.30)
        if self.margins == "MICROLOBULATED":
            bumps = int(form.integers(9, 16))
            contour += 0.13 * np.abs(np.cos(bumps / 2 * uneven + form.uniform(0, np.pi))) - 0.08
        return np.asarray(contour)

    def _softness(self, form: np.random.Generator) -> Reals:
        """Width of the edge per direction, in pixels."""
        around = np.linspace(-np.pi, np.pi, _ANGLES, endpoint=False)
        sharp, blurred = form.uniform(1.0, 1.8), self.radius * form.uniform(0.16, 0.28)
        if self.margins == "OBSCURED":  # tissue lies over a part of the edge
            return sharp + 1.3 * blurred * np.clip(np.cos(around - form.uniform(0, 2 * np.pi)) + 0.3, 0, 1)
        return np.full(_ANGLES, {"ILL_DEFINED": blurred, "SPICULATED": 0.6 * blurred}.get(self.margins, sharp))

    def _spicules(self, contour: Reals, size: int, form: np.random.Generator) -> Floats:
        """Density in [0, 1] of the strands that radiate from the body, (size, size)."""
        if not self.reaction:
            return np.zeros((size, size), np.float32)
        count = int(form.integers(18, 36))
        angle = form.uniform(-np.pi, np.pi, count)
        start = 0.6 * contour[((angle + np.pi) * (_ANGLES / (2 * np.pi))).astype(np.intp) % _ANGLES]
        longest = 1.9 if self.margins == "SPICULATED" else 1.3
        length = np.minimum(self.radius * form.uniform(0.7, longest, count), 2.8 * self.radius - start)
        dy, dx, there = curves(angle, length, 0.5, form)
        taper = there * (1 - np.arange(dy.shape[1]) / length[:, None]).clip(0) ** 0.7
        strength = self.reaction * form.uniform(0.4, 1.0, (count, 1)) * form.uniform(0.6, 1.0)
        middle = size // 2
        y, x = middle + (start * np.sin(angle))[:, None] + dy, middle + (start * np.cos(angle))[:, None] + dx
        width = form.uniform(0.9, 1.5)
        lines = gaussian_filter(splat((size, size), y, x, strength * taper), width) * np.sqrt(2 * np.pi) * width
        return np.asarray(1 - np.exp(-lines))


def _rough(size: int, generator: np.random.Generator) -> Floats:
    """A smooth field of unit variance that frays the outline of a mass: power 1/f^3 between 1/64 and about 1/8."""
    n = fft.next_fast_len(size + 32, real=True)
    f = np.hypot(fft.fftfreq(n)[:, None], fft.rfftfreq(n))
    transfer = np.maximum(f, 1 / 64) ** -1.5 * np.exp(-2 * (np.pi * 2.5 * f) ** 2)
    noise = generator.standard_normal((n, n), dtype=np.float32)
    field = fft.irfft2(fft.rfft2(noise) * transfer.astype(np.float32), (n, n))[:size, :size]
    return np.asarray((field - field.mean()) / field.std())


def choose_mass(malignant: bool, difficulty: float, generator: np.random.Generator) -> Mass:
    """A mass of the given kind, its description chosen at published rates (at difficulty .5).

    What the words do not say, and what fades with difficulty: a malignant mass is denser than a benign one, and the
    tissue around it reacts with faint strands, unless it is circumscribed.
    """
    shape, margins = choose_description(MASS_RATES, SHAPES, MARGINS, malignant, difficulty, generator)
    subtlety = int(generator.choice(5, p=SUBTLETY_RATES)) + 1
    contrast = (0.06 + 0.024 * subtlety) * (1.35 - 0.7 * difficulty)
    reaction = (0.85 - 0.65 * difficulty) * generator.uniform(0.3, 1) * (malignant and margins != "CIRCUMSCRIBED")
    return Mass(
        malignant=malignant,
        shape=shape,
        margins=margins,
        subtlety=subtlety,
        contrast=contrast * (1.6 - 0.6 * difficulty if malignant else 1.0),
        reaction=1.0 if margins == "SPICULATED" else float(reaction),
        radius=float(np.clip(28 * np.exp(0.3 * generator.standard_normal()), 18, 46)),
        distance=float(generator.uniform(0.3, 0.8)),
        seed=int(generator.integers(2**63)),
    )
