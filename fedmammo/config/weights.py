"""Weights of networks by what they hold: a study names a file, a deployment the file's digest."""

import hashlib
from functools import lru_cache
from pathlib import Path

from fedmammo.errors import InputError

NO_FILE = ("hub", "none")


def name_of_weights(weights: str) -> str:
    """Return `hub` and `none` as they are, and the SHA-256 of a file. Raises InputError where it cannot be read."""
    if weights in NO_FILE:
        return weights
    try:
        path = Path(weights).resolve()
        return _digest(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise InputError(
            f"diagnosis.weights: {weights} cannot be read ({error.strerror}); give a safetensors file, hub or none"
        ) from error


@lru_cache(maxsize=16)
def _digest(path: Path, _: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
