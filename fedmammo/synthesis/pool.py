"""A pool: synthetic images with labels, in a folder that is named by what it holds."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedmammo.disk.files import write_bytes
from fedmammo.errors import StudyError

if TYPE_CHECKING:  # whoever looks at images needs no torch
    from torch import Tensor

PATCHES, IMAGES, MANIFEST = "patches.npy", "images.csv", "manifest.json"
CLASSES = ("benign", "malignant")
_NAME_LENGTH = 16  # hexadecimal digits of the digest that name a pool's folder


@dataclass(frozen=True, eq=False)
class Synthetic:
    """Images as a source gives them.

    Attributes:
        patches: (images, side, side), uint16, 0-65535.
        malignant: (images,) bool: what each was asked to show.
        origin: (images,) text: the hospital whose generator made it, or the source's name.
        about: what else the manifest says of them, by name.
    """

    patches: NDArray[np.uint16]
    malignant: NDArray[np.bool_]
    origin: NDArray[np.str_]
    about: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Pool:
    """A pool on disk; nobody's identity is in it.

    Attributes:
        folder: `patches.npy`, `images.csv`, `manifest.json`, and the features that were computed of the images.
        digest: SHA-256 over the SHA-256 of the first two.
        images: one row per image: image (its number), malignant, origin.
        patches: (images, side, side), uint16, 0-65535, memory-mapped read-only.
    """

    folder: Path
    digest: str
    images: pd.DataFrame
    patches: np.memmap

    @classmethod
    def open(cls, root: Path, digest: str) -> "Pool":
        """Open the pool with this digest below `root`.

        Raises StudyError where it is not there, or where its images are not those that the digest names.
        """
        folder = folder_of(root, digest)
        try:
            content = {name: (folder / name).read_bytes() for name in (PATCHES, IMAGES)}
        except OSError as error:
            raise StudyError(f"{folder}: no such pool of synthetic images is here ({error.strerror})") from error
        _verify(content, digest, folder)
        images = pd.read_csv(BytesIO(content[IMAGES]), dtype={"image": str, "malignant": int, "origin": str})
        patches = np.load(folder / PATCHES, mmap_mode="r", allow_pickle=False)
        return cls(folder, digest, images.astype({"malignant": bool}), patches)

    @property
    def tensors(self) -> "dict[str, Tensor]":
        """The pool as it travels: its files, as bytes."""
        import torch

        contents = {name: (self.folder / name).read_bytes() for name in (PATCHES, IMAGES, MANIFEST)}
        return {name: torch.from_numpy(np.frombuffer(content, np.uint8).copy()) for name, content in contents.items()}

    @property
    def manifest(self) -> dict[str, Any]:
        """What `manifest.json` says: images by class and origin, source, guarantee, digests."""
        manifest: dict[str, Any] = json.loads((self.folder / MANIFEST).read_text())
        return manifest


def folder_of(root: Path, digest: str) -> Path:
    """Return the folder of the pool with this digest."""
    return root / digest[:_NAME_LENGTH]


def write_pool(root: Path, synthetic: Synthetic, source: dict[str, Any], guarantee: str | dict[str, Any]) -> Pool:
    """Write images as a pool below `root`; the same images are the same folder.

    `source` says how they were made, `guarantee` what that promises the patients: both stand in the manifest.
    """
    patches, text = BytesIO(), StringIO()
    np.save(patches, np.ascontiguousarray(synthetic.patches, dtype="<u2"), allow_pickle=False)
    malignant, origin = synthetic.malignant.astype(int), synthetic.origin.astype(str)
    names = [f"{number:06d}" for number in range(len(malignant))]
    table = pd.DataFrame({"image": names, "malignant": malignant, "origin": origin})
    table.to_csv(text, index=False)
    content = {PATCHES: patches.getvalue(), IMAGES: text.getvalue().encode()}
    manifest = {
        "images": len(table),
        "side": synthetic.patches.shape[1],
        "counts": [
            {
                "origin": str(where),
                "class": CLASSES[which],
                "images": int(((origin == where) & (malignant == which)).sum()),
            }
            for where in np.unique(origin)
            for which in (0, 1)
        ],
        "source": source,
        "guarantee": guarantee,
        **synthetic.about,
        "sha256": {name: hashlib.sha256(value).hexdigest() for name, value in content.items()},
        "digest": digest_of(content),
    }
    content[MANIFEST] = (json.dumps(manifest, indent=2) + "\n").encode()
    return keep_pool(root, digest_of(content), content)


def keep_pool(root: Path, digest: str, content: Mapping[str, bytes]) -> Pool:
    """Keep a pool that is given as its files, unless it is there.

    Raises StudyError where the files are not those that `digest` names; nothing is kept then.
    """
    folder = folder_of(root, digest)
    _verify(content, digest, folder)
    if not folder.exists():
        root.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".", dir=root))
        try:
            for name in (PATCHES, IMAGES, MANIFEST):
                write_bytes(beside / name, content[name])
            beside.rename(folder)
        except OSError:
            if not folder.exists():  # else another process was first
                raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return Pool.open(root, digest)


def digest_of(content: Mapping[str, bytes]) -> str:
    """SHA-256 over the SHA-256 of patches and table, in hex."""
    parts = (hashlib.sha256(content[name]).hexdigest() for name in (PATCHES, IMAGES))
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def _verify(content: Mapping[str, bytes], digest: str, folder: Path) -> None:
    if digest_of(content) != digest:
        raise StudyError(
            f"{folder}: its images are not those that the server named; remove the folder, and run the command again"
        )
