"""Rows of numbers on disk, one per image, that any process may fill in: a file of each, and a byte for each row."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from fedmammo.disk.files import alone

Rows = NDArray[np.int64]


class FeatureStore:
    """Features of a set of images: `<folder>/<look>.npy`, (images, length) float32, beside `<look>.done.npy`.

    A look is what is done to an image before the network: digitiser and view. A row depends on nothing but its image,
    so that a second process that computes it writes the same bytes.

    Args:
        folder: where the files lie.
        images: number of images.
        length: gives the number of features; asked where a file is made.
    """

    def __init__(self, folder: Path, images: int, length: Callable[[], int]) -> None:
        self.folder = folder
        self.images = images
        self._length = length
        self._opened: dict[str, tuple[np.memmap, np.memmap]] = {}

    def done(self, look: str, rows: Rows) -> NDArray[np.bool_]:
        """Say of which rows the features are there, (rows,)."""
        return self.files(look)[1][rows].astype(bool)

    def read(self, look: str, rows: Rows) -> NDArray[np.float32]:
        """Return features, (rows, length). Raises KeyError where some were never computed."""
        features, done = self.files(look)
        if not done[rows].all():
            raise KeyError(f"features in {self.folder} are incomplete")
        return features[rows]

    def put(self, look: str, row: int, features: NDArray[np.float32]) -> None:
        """Write the features of one image, and mark them as done."""
        stored, done = self.files(look)
        _put(stored, row, features)
        _put(done, row, np.uint8(1))

    @contextmanager
    def claim(self, look: str, row: int, wait: bool) -> Iterator[bool]:
        """Be the only process that computes a row for a while; yields whether this one is. `wait`: until it is."""
        self.files(look)
        with (self.folder / f".{look}.lock").open("a") as lock:
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, row)
            except BlockingIOError:
                yield False
                return
            yield True  # closing the file lets go

    def files(self, look: str) -> tuple[np.memmap, np.memmap]:
        """Open a file of features and its marks for reading, making them where they are missing."""
        if look not in self._opened:
            features, marks = self.folder / f"{look}.npy", self.folder / f"{look}.done.npy"
            if not marks.exists():
                self.folder.mkdir(parents=True, exist_ok=True)
                _make_array(features, (self.images, self._length()), np.float32)
                _make_array(marks, (self.images,), np.uint8)
            self._opened[look] = (np.load(features, mmap_mode="r"), np.load(marks, mmap_mode="r"))
        return self._opened[look]


def _put(array: np.memmap, row: int, values: np.ndarray | np.generic) -> None:
    """Write one row, and nothing of its neighbours, which another process or machine may be writing."""
    with Path(str(array.filename)).open("r+b") as file:
        file.seek(array.offset + int(row) * values.nbytes)
        file.write(values.tobytes())


def _make_array(path: Path, shape: tuple[int, ...], dtype: type) -> None:
    """Make a file of zeros, unless another process was first."""
    with alone(path.parent):
        if not path.exists():
            beside = path.with_name(f".{path.name}.{os.getpid()}")
            open_memmap(beside, mode="w+", shape=shape, dtype=dtype).flush()
            beside.replace(path)
