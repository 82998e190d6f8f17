"""What the trained part of a network reads: stored outputs of the frozen prefix, or images where nothing is frozen."""

import hashlib
import json
import os
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from fedmammo.cohort.store import Cohort
from fedmammo.config import DiagnosisConfig
from fedmammo.features.views import View, views_of
from fedmammo.files import digest_of_sources, read_tensors, write_tensors
from fedmammo.models.classifier import build_classifier
from fedmammo.phantom.draw import draw_patches

STAND_INS = 64  # phantom patches whose features centre and scale what the head reads: public, so they cost no privacy


class Inputs:
    """A classifier and its inputs for the images of a cohort.

    The prefix's outputs lie in the cohort's own folder, `features/<key>/<view>.npy`, one row per image of the
    manifest, beside a byte per row that says whether it was computed. Each image goes through the prefix alone, so
    that a row depends on nothing but its image: any process may fill in any row, and a second writes the same bytes.
    The key covers weights, configuration of the prefix, cohort and library versions.
    """

    def __init__(self, cohort: Cohort, config: DiagnosisConfig, device: torch.device) -> None:
        self.cohort = cohort
        self.device = device
        self.views = views_of(config.augmentation)
        self.classifier = build_classifier(config).to(device)
        prefix = {
            "backbone": self.classifier.digest(),
            "network": config.network,  # the same weights may come with another normalisation
            "read": self.classifier.read,
            "depth": self.classifier.depth,
            "frozen": self.classifier.frozen if self.classifier.has_prefix else None,
            "image_size": config.image_size,
            "precision": config.precision,
            "device": device.type,
            "cohort": cohort.digest,
            "code": digest_of_sources("models", "features/views.py"),
            "libraries": [version(name) for name in ("torch", "timm")],
        }
        key = hashlib.sha256(json.dumps(prefix, sort_keys=True).encode()).hexdigest()[:16]
        self.folder = cohort.folder / "features" / key
        self._standardize()

    def _standardize(self) -> None:
        """Centre and scale what the head reads by the statistics of phantom patches, drawn by a fixed seed."""
        patches, _ = draw_patches(STAND_INS, seed=0)
        path = self.folder / f"standardization-{hashlib.sha256(patches.tobytes()).hexdigest()[:16]}.safetensors"
        if not path.exists():
            with torch.no_grad():
                readouts = [self.classifier.readout(self._encode(View().of(patch))) for patch in patches]
            self.classifier.standardize(torch.cat(readouts))
            write_tensors(path, {"center": self.classifier.center, "scale": self.classifier.scale})
        tensors, _ = read_tensors(path)
        self.classifier.center.copy_(tensors["center"])
        self.classifier.scale.copy_(tensors["scale"])

    def _encode(self, image: Tensor) -> Tensor:
        image = image.to(self.device)
        return self.classifier.prefix(image) if self.classifier.has_prefix else image

    def missing(self, rows: np.ndarray) -> np.ndarray:
        """Return those of the manifest's rows whose features are still to be computed for some view."""
        if not self.classifier.has_prefix:
            return rows[:0]
        known = np.ones(len(rows), dtype=bool)
        for view in self.views:
            _, done = self._files(view)
            known &= done[rows] == 1
        return rows[~known]

    def compute(self, rows: np.ndarray) -> None:
        """Compute and store the features of these rows in every view; nothing is done twice."""
        if not self.classifier.has_prefix:
            return
        for view in self.views:
            features, done = self._files(view)
            self.classifier.train(False)  # a training that raised may have left it on
            for row in rows[done[rows] == 0]:
                _put(features, row, self._encode(view.of(self.cohort.patches[row]))[0].cpu().numpy())
                _put(done, row, np.uint8(1))

    def read(self, rows: np.ndarray, views: np.ndarray) -> Tensor:
        """Return the inputs of image `rows[i]` in view `views[i]`: (len(rows), length), or images.

        Without a frozen prefix: float32 images (len(rows), 1, side, side), crops resized to the network's input.
        Raises KeyError for a row whose features were never computed.
        """
        if not self.classifier.has_prefix:
            images = [self.views[view].of(self.cohort.patches[row]) for row, view in zip(rows, views, strict=True)]
            return torch.cat([self._resized(image) for image in images]).to(self.device)
        files = [self._files(view) for view in self.views]
        if not all(files[view][1][row] for row, view in zip(rows, views, strict=True)):
            raise KeyError(f"features in {self.folder} are incomplete")
        return torch.from_numpy(np.stack([files[view][0][row] for row, view in zip(rows, views, strict=True)])).to(
            self.device
        )

    def _resized(self, image: Tensor) -> Tensor:
        side = self.classifier.image_size
        if image.shape[-1] == side:
            return image
        return torch.nn.functional.interpolate(image, size=(side, side), mode="bicubic", antialias=True).clamp(0, 1)

    @lru_cache(maxsize=64)  # noqa: B019  (an Inputs lives as long as its process)
    def _files(self, view: View) -> tuple[np.memmap, np.memmap]:
        """Open the view's file and its marks for reading and writing, making them where they are missing."""
        images = len(self.cohort.manifest)
        features = self.folder / f"{view.name}.npy"
        done = self.folder / f"{view.name}.done.npy"
        if not done.exists():
            length = self._encode(View().of(self.cohort.patches[0])).shape[1]
            _make_array(features, (images, length), np.float32)
            _make_array(done, (images,), np.uint8)
        return np.load(features, mmap_mode="r"), np.load(done, mmap_mode="r")


def _put(array: np.memmap, row: int, values: np.ndarray | np.generic) -> None:
    """Write one row, and nothing of its neighbours, which another process or machine may be writing."""
    with Path(str(array.filename)).open("r+b") as file:
        file.seek(array.offset + int(row) * values.nbytes)
        file.write(values.tobytes())


def _make_array(path: Path, shape: tuple[int, ...], dtype: type) -> None:
    """Make a file of zeros, unless another process was first."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    open_memmap(beside, mode="w+", shape=shape, dtype=dtype).flush()
    try:
        os.link(beside, path)  # refuses to replace
    except FileExistsError:
        pass
    finally:
        beside.unlink()
