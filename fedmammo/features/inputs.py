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
from numpy.typing import NDArray
from torch import Tensor

from fedmammo.cohort.store import Cohort
from fedmammo.config import DiagnosisConfig
from fedmammo.features.harmonisation import harmonise
from fedmammo.features.views import View, views_of
from fedmammo.files import digest_of_sources, read_tensors, write_tensors
from fedmammo.hospitals.records import Records
from fedmammo.models.classifier import build_classifier
from fedmammo.phantom.patches import draw_patches

APPEARANCE = ("features/views.py", "features/harmonisation.py", "hospitals/digitiser.py", "randomness.py")
STAND_INS = 64  # phantom patches whose features centre and scale what the head reads: public, so they cost no privacy


class Inputs:
    """A classifier and its inputs for the images of a cohort, as its hospitals have them on record.

    The prefix's outputs lie in the cohort's own folder, `features/<key>/<digitiser>-<view>.npy`, one row per image of
    the manifest, beside a byte per row that says whether it was computed. Each image goes through the prefix alone, so
    that a row depends on nothing but its image: any process may fill in any row, and a second writes the same bytes.
    The key covers weights, configuration of the prefix, cohort and library versions; who holds which patients does
    not matter, but for the digitiser.
    """

    def __init__(self, cohort: Cohort, config: DiagnosisConfig, device: torch.device, records: Records) -> None:
        self.cohort = cohort
        self.records = records
        self.device = device
        self.harmonisation = config.harmonisation
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
            "harmonisation": config.harmonisation,
            "device": device.type,
            "cohort": cohort.digest,
            "code": digest_of_sources("models", *APPEARANCE),
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
                shown = [harmonise(patch, self.harmonisation, None) for patch in patches]
                readouts = [self.classifier.readout(self._encode(View().of(patch))) for patch in shown]
            self.classifier.standardize(torch.cat(readouts))
            write_tensors(path, {"center": self.classifier.center, "scale": self.classifier.scale})
        tensors, _ = read_tensors(path)
        self.classifier.center.copy_(tensors["center"])
        self.classifier.scale.copy_(tensors["scale"])

    def _encode(self, image: Tensor) -> Tensor:
        image = image.to(self.device)
        return self.classifier.prefix(image) if self.classifier.has_prefix else image

    def patch(self, row: int) -> NDArray[np.uint16]:
        """Show the patch of a manifest row, (side, side), as its digitiser and the harmonisation leave it."""
        patch, digitiser = self.cohort.patches[row], self.records.digitisers[row]
        if digitiser is not None:
            patch = digitiser.show(patch, str(self.cohort.manifest["image"].iat[row]))
        return harmonise(patch, self.harmonisation, digitiser)

    def missing(self, rows: np.ndarray) -> np.ndarray:
        """Return those of the manifest's rows whose features are still to be computed for some view."""
        if not self.classifier.has_prefix:
            return rows[:0]
        return np.array([row for row in rows if not all(self._is_done(row, view) for view in self.views)], rows.dtype)

    def compute(self, rows: np.ndarray) -> None:
        """Compute and store the features of these rows in every view; nothing is done twice."""
        if not self.classifier.has_prefix:
            return
        self.classifier.train(False)  # a training that raised may have left it on
        for row in self.missing(rows):
            patch = self.patch(row)
            for view in self.views:
                features, done = self._files(row, view)
                if not done[row]:
                    _put(features, row, self._encode(view.of(patch))[0].cpu().numpy())
                    _put(done, row, np.uint8(1))

    def read(self, rows: np.ndarray, views: np.ndarray) -> Tensor:
        """Return the inputs of image `rows[i]` in view `views[i]`: (len(rows), length), or images.

        Without a frozen prefix: float32 images (len(rows), 1, side, side), crops resized to the network's input.
        Raises KeyError for a row whose features were never computed.
        """
        looks = [(row, self.views[view]) for row, view in zip(rows, views, strict=True)]
        if not self.classifier.has_prefix:
            return torch.cat([self._resized(view.of(self.patch(row))) for row, view in looks]).to(self.device)
        if not all(self._is_done(row, view) for row, view in looks):
            raise KeyError(f"features in {self.folder} are incomplete")
        return torch.from_numpy(np.stack([self._files(row, view)[0][row] for row, view in looks])).to(self.device)

    def _is_done(self, row: int, view: View) -> bool:
        return bool(self._files(row, view)[1][row])

    def _files(self, row: int, view: View) -> tuple[np.memmap, np.memmap]:
        digitiser = self.records.digitisers[row]
        return self._open(f"{digitiser.digest}-{view.name}" if digitiser else view.name)

    def _resized(self, image: Tensor) -> Tensor:
        side = self.classifier.image_size
        if image.shape[-1] == side:
            return image
        return torch.nn.functional.interpolate(image, size=(side, side), mode="bicubic", antialias=True).clamp(0, 1)

    @lru_cache(maxsize=256)  # noqa: B019  (an Inputs lives as long as its process)
    def _open(self, name: str) -> tuple[np.memmap, np.memmap]:
        """Open a file of features and its marks for reading, making them where they are missing."""
        images = len(self.cohort.manifest)
        features = self.folder / f"{name}.npy"
        done = self.folder / f"{name}.done.npy"
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
