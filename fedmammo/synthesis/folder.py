"""The source `folder`: images that somebody made elsewhere."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fedmammo.cohort.gray import read_gray
from fedmammo.cohort.patch import whole_patch
from fedmammo.cohort.quarantine import Unusable
from fedmammo.disk.stray import files_below
from fedmammo.errors import InputError
from fedmammo.randomness import generator_of
from fedmammo.synthesis.pool import CLASSES, Synthetic
from fedmammo.synthesis.sources import FromFolder

_SUFFIXES = {".png", ".tif", ".tiff", ".jpg", ".jpeg"}


def read_images(source: FromFolder, side: int) -> Synthetic:
    """Read as many benign as malignant images, chosen by the seed, as patches (side, side).

    Raises InputError where the folder has too few, or a file cannot be read.
    """
    files = images_by_class(source)
    origin = Path(source.path).resolve().name
    patches = np.empty((source.images, side, side), np.uint16)
    malignant = np.arange(source.images) % 2 == 1
    for name, chosen in zip(CLASSES, (~malignant, malignant), strict=True):
        order = generator_of(source.seed, "synthesis", "folder", name).permutation(len(files[name]))
        for place, number in zip(np.flatnonzero(chosen), order, strict=False):
            try:
                patches[place] = whole_patch(read_gray(files[name][number]), side)
            except Unusable as reason:
                raise InputError(f"synthesis.path: {reason}; remove or mend {files[name][number]}") from reason
    return Synthetic(patches, malignant, np.full(source.images, origin))


def images_by_class(source: FromFolder) -> dict[str, list[Path]]:
    """List the folder's images by class, sorted.

    Raises InputError where there is no such folder, an image says neither class or both, or a class has too few.
    """
    root = Path(source.path)
    if not root.is_dir():
        raise InputError(f"synthesis.path: {root} is no folder; name one with images")
    found: dict[str, list[Path]] = {name: [] for name in CLASSES}
    for file in _images(root):
        parts = (*file.relative_to(root).parent.parts, file.stem)
        classes = [name for name in CLASSES if any(part.lower().endswith(name) for part in parts)]
        if len(classes) != 1:
            raise InputError(
                f"synthesis.path: {file} is not told benign or malignant by the end of its name, or of its folder's"
            )
        found[classes[0]].append(file)
    for name, files in found.items():
        if len(files) < source.images // 2:
            raise InputError(
                f"synthesis.images: half of {source.images} are {name}, but {root} has {len(files)} such images; set "
                "fewer"
            )
    return found


def digest_of_images(source: FromFolder) -> str:
    """SHA-256 over names and content of the folder's images. Raises InputError as `images_by_class` does."""
    digest, root = hashlib.sha256(), Path(source.path)
    for file in sorted(file for files in images_by_class(source).values() for file in files):
        digest.update(f"{file.relative_to(root).as_posix()}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _images(root: Path) -> Iterator[Path]:
    return (file for file in files_below(root) if file.suffix.lower() in _SUFFIXES)
