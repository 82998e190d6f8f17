"""Draws the pictures of docs/phantoms.md, and prints how far phantom patches are from those of a real cohort.

python docs/images/phantoms.py COHORT docs/images
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft, ndimage

from fedmammo.cohort.store import Cohort
from fedmammo.phantom.calcifications import Calcifications
from fedmammo.phantom.images import Lesion, draw_mammogram, draw_patch
from fedmammo.phantom.masses import Mass, choose_mass
from fedmammo.phantom.patches import draw_patches
from fedmammo.phantom.rates import DISTRIBUTIONS, MARGINS, SHAPES, TYPES

SIDE, GAP = 4, 12
COMPARED = 1000
"""Patches of each kind whose numbers are compared."""

Images = NDArray[np.float64]
Grays = NDArray[np.uint16]


def spectrum(images: Images) -> Images:
    """Radially averaged power spectrum, (side / 2,), of images (n, side, side) under a Hann window."""
    side = images.shape[1]
    window = np.hanning(side)[:, None] * np.hanning(side)
    centred = (images - images.mean(axis=(1, 2), keepdims=True)) * window
    power = (np.abs(fft.fft2(centred)) ** 2).mean(axis=0)
    frequency = np.hypot(fft.fftfreq(side)[:, None], fft.fftfreq(side)) * side
    return ndimage.mean(power, np.rint(frequency), np.arange(side // 2))


def numbers(images: Images) -> dict[str, float]:
    """What is compared, of images (n, side, side) with values in [0, 1]."""
    side = images.shape[1]
    power = spectrum(images)
    low, high = np.arange(3, side // 8), np.arange(side // 8, side // 2)
    means, within = images.mean(axis=(1, 2)), images.std(axis=(1, 2))
    edges = np.hypot(*np.gradient(images, axis=(1, 2))).mean(axis=(1, 2))
    third = side // 3
    middle = images[:, third:-third, third:-third].mean(axis=(1, 2))
    corners = np.stack([images[:, y, x].mean(axis=(1, 2)) for y in _ends(side) for x in _ends(side)])
    return {
        "gray level, mean over patches": means.mean(),
        "gray level, spread over patches": means.std(),
        "spread within a patch, mean over patches": within.mean(),
        "spread within a patch, spread over patches": within.std(),
        "middle third above corners": (middle - corners.mean(axis=0)).mean(),
        "spread of the four corners": corners.std(axis=0).mean(),
        "spectral slope, 3 to 16 cycles": np.polyfit(np.log(low), np.log(power[low]), 1)[0],
        "spectral slope, 16 to 64 cycles": np.polyfit(np.log(high), np.log(power[high]), 1)[0],
        "edge content (mean gradient per pixel)": edges.mean(),
    }


def _ends(side: int) -> tuple[slice, slice]:
    return slice(0, side // 8), slice(-side // 8, None)


def grid(images: Grays, columns: int) -> Grays:
    """Patches (n, side, side) in rows of so many columns."""
    side = images.shape[1]
    rows = len(images) // columns
    return images.reshape(rows, columns, side, side).swapaxes(1, 2).reshape(rows * side, columns * side)


def save(image: Grays, path: Path) -> None:
    """Write an image as 8 bit PNG."""
    Image.fromarray((image >> 8).astype(np.uint8)).save(path, optimize=True)


def lesions() -> list[Lesion]:
    """Every shape (rows) with every margin (columns); a row of distributions and one of types of calcifications."""
    masses = [
        Mass(False, shape, margins, 5, 0.2, float(margins == "SPICULATED"), 28.0, 0.5, 7)
        for shape in SHAPES
        for margins in MARGINS
    ]
    spread = [Calcifications(True, "PLEOMORPHIC", name, 5, 0.4, 48.0, 0.5, 3) for name in DISTRIBUTIONS[:5]]
    types = [Calcifications(True, name, "CLUSTERED", 5, 0.4, 30.0, 0.5, 3) for name in TYPES[1:6]]
    return [*masses, *spread, *types]


def mammogram(density: int, side: str, view: str) -> Grays:
    """A breast with a mass, at half size."""
    generator = np.random.default_rng(density)
    mass = choose_mass(density % 2 == 1, 0.5, generator)
    image, _ = draw_mammogram([mass], density, side, view, 0.5, generator)
    rows, columns = (n // 2 for n in image.shape)
    return image.reshape(rows, 2, columns, 2).mean(axis=(1, 3)).astype(np.uint16)


def main(folder: Path, out: Path) -> None:
    """Write phantoms beside real patches (right), lesions by their names, and mammograms; print the numbers."""
    cohort = Cohort.open(folder)
    rows = np.random.default_rng(0).permutation(len(cohort.patches))
    real, drawn = np.asarray(cohort.patches)[rows[:COMPARED]], draw_patches(COMPARED, seed=0)[0]
    wall = np.full((SIDE * real.shape[1], GAP), 65535, np.uint16)
    save(np.hstack([grid(drawn[: SIDE**2], SIDE), wall, grid(real[: SIDE**2], SIDE)]), out / "phantoms_and_real.png")
    patches = [draw_patch(lesion, 1, 0.0, np.random.default_rng(5)) for lesion in lesions()]
    save(grid(np.stack(patches), len(MARGINS)), out / "phantom_lesions.png")
    views = ((1, "LEFT", "CC"), (2, "LEFT", "MLO"), (3, "RIGHT", "CC"), (4, "RIGHT", "MLO"))
    save(np.hstack([mammogram(*view) for view in views]), out / "phantom_mammograms.png")
    ours, theirs = numbers(drawn / 65535), numbers(real / 65535)
    print("| | phantoms | real |\n|---|---|---|")
    for name, value in ours.items():
        print(f"| {name} | {value:.3f} | {theirs[name]:.3f} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
