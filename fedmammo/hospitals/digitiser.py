"""Film digitisers: how a hospital's device turns the optical density of a film into gray values.

Assumptions, where the cohort says nothing:

- The gray of a patch falls linearly with the film's optical density, from 0.05 (white) to 3.60 (black): CBIS-DDSM's
  images were brought to optical density and mapped to 16 bit (Lee et al. 2017, Sci. Data 4:170177), and these are the
  bounds of DDSM's own conversion (Heath and Bowyer 2000, `optical_density.h`).
- A patch shows 25 mm of film, whatever its lesion.
- A film was digitised once already: what that lost does not come back, and a patch's own noise stays in it.
"""

import hashlib
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, field_validator, model_validator
from scipy.ndimage import gaussian_filter

from fedmammo.config.schema import Section
from fedmammo.hospitals.descriptions import load_description
from fedmammo.randomness import generator_of

Gray = NDArray[np.uint16]
Real = NDArray[np.float64]

FILM_DENSITIES = (0.05, 3.60)  # optical densities of white and of black
PATCH_MICROMETRES = 25_000.0  # width of film that a patch shows
APERTURE_MICROMETRES = 210.0  # side of the square in which noise is stated, that of DDSM's step wedges
_WHITE = 65535
_DARKEST_LEVEL = 1e-6  # stands for 0 under a logarithm


class Response(Section):
    """The published calibration of a device: its gray level as a function of optical density (OD).

    `linear`: level = intercept + slope x OD. `logarithmic`: log10(level) = intercept + slope x OD, which is a device
    whose level follows the transmitted light (slope -1: in proportion; -1/2.2: as displays encode it).
    """

    scale: Literal["linear", "logarithmic"] = Field(description="What falls linearly with OD: the level, or its log10.")
    intercept: float = Field(description="Level, or its log10, at OD 0.")
    slope: float = Field(lt=0, description="Change of the level, or of its log10, over one unit of OD.")

    def levels(self, density: Real) -> Real:
        """Return gray levels, not yet whole numbers, of optical densities."""
        line = self.intercept + self.slope * density
        return line if self.scale == "linear" else 10**line

    def densities(self, levels: Real) -> Real:
        """Return optical densities of gray levels."""
        line = levels if self.scale == "linear" else np.log10(np.maximum(levels, _DARKEST_LEVEL))
        return (line - self.intercept) / self.slope


class Digitiser(Section):
    """A film digitiser. Two that say the same have the same digest and, for the same noise, give the same image."""

    name: str = Field(description="What the device is called.")
    pixel_micrometres: float = Field(gt=0, le=5000, description="Side of the square of film that gives one gray value.")
    blur_micrometres: float = Field(
        ge=0, le=5000, description="Standard deviation of the device's point spread on the film, a Gaussian."
    )
    density_range: tuple[float, float] = Field(description="Optical densities beyond which the device saturates.")
    response: Response = Field(description="Gray level by optical density.")
    density_noise: float = Field(
        ge=0, le=5, description="Standard deviation of the optical density, in a square of 210 micrometres."
    )
    level_noise: float = Field(
        ge=0, le=65535, description="Standard deviation of the gray level, in a square of 210 micrometres."
    )
    bits: int = Field(ge=1, le=16, description="Levels are whole numbers from 0 to 2^bits - 1; others are clipped.")

    @field_validator("density_range")
    @classmethod
    def _ascends(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] >= value[1]:
            raise ValueError("expected the lower optical density, then the higher one")
        return value

    @model_validator(mode="after")
    def _has_levels(self) -> "Digitiser":
        if self.response.levels(np.array(self.density_range[0])) < 1:
            raise ValueError("response: the brightest film has a gray level below 1; raise the intercept")
        return self

    @property
    def digest(self) -> str:
        """16 hexadecimal characters of all that the description says."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    def apply(self, patch: Gray, generator: np.random.Generator) -> Gray:
        """Show a patch (n, n), 0-65535, as this device digitises it; level 2^bits - 1 becomes 65535.

        Light passes the film and the optics, pixels are sampled, the response turns density into levels, noise comes
        in, levels are rounded. Noise is white: its standard deviation falls with the side of the patch's pixel.
        """
        density = self._sampled(_densities(patch))
        aperture = APERTURE_MICROMETRES / (PATCH_MICROMETRES / len(patch))
        if self.density_noise:
            density = density + self.density_noise * aperture * generator.standard_normal(patch.shape)
        levels = self.response.levels(np.clip(density, *self.density_range))
        if self.level_noise:
            levels = levels + self.level_noise * aperture * generator.standard_normal(patch.shape)
        highest = 2**self.bits - 1
        return np.rint(np.clip(np.rint(levels), 0, highest) * (_WHITE / highest)).astype(np.uint16)

    def show(self, patch: Gray, image: str) -> Gray:
        """Show the patch of the image of this name: `apply`, with noise that depends on device and name alone.

        So the image is the same however often and wherever it is looked at.
        """
        return self.apply(patch, generator_of("digitiser", self.digest, image))

    def undo_response(self, patch: Gray) -> Gray:
        """Bring what `apply` gave back to gray that falls linearly with optical density, by the known response.

        It is the calibration that a hospital could apply: what was blurred, clipped or rounded away stays lost.
        """
        levels = patch.astype(np.float64) * ((2**self.bits - 1) / _WHITE)
        return _gray(np.clip(self.response.densities(levels), *self.density_range))

    def _sampled(self, density: Real) -> Real:
        """Blur, then average over the device's pixels where they are larger than the patch's."""
        pixel = PATCH_MICROMETRES / len(density)
        if self.blur_micrometres:
            density = gaussian_filter(density, self.blur_micrometres / pixel, mode="nearest")
        side = max(1, round(PATCH_MICROMETRES / self.pixel_micrometres))
        if side >= len(density):
            return density
        coarse = Image.fromarray(density.astype(np.float32)).resize((side, side), Image.Resampling.BOX)
        return np.asarray(coarse.resize(density.shape, Image.Resampling.BILINEAR), dtype=np.float64)


def load_digitiser(name_or_path: str) -> Digitiser:
    """Read `sites/digitisers/<name>.yaml`, or the file at a path; raises InputError as `load_description` does."""
    return load_description(Digitiser, name_or_path, "digitisers")


def _densities(patch: Gray) -> Real:
    """Return the optical densities of a film's gray values."""
    white, black = FILM_DENSITIES
    return black - (black - white) / _WHITE * patch.astype(np.float64)


def _gray(density: Real) -> Gray:
    """Return the gray values of a film's optical densities."""
    white, black = FILM_DENSITIES
    return np.rint(np.clip((black - density) / (black - white), 0, 1) * _WHITE).astype(np.uint16)
