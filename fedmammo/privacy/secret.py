"""A hospital's secret, and the noise and the samples of patients that come from it.

Whoever knows how noise was drawn can subtract it, so nothing here comes from the study's published seeds. A stream is
keyed by the hospital's secret and by everything that determines what is released: the same request gives the same
bytes again, which reveal nothing new; any other request gets noise that is independent of it.
"""

import hashlib
import hmac
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from numpy.typing import NDArray

from fedmammo.errors import StudyError

SECRET_BYTES = 32


class Stream:
    """Random numbers from ChaCha20 (RFC 8439) under a key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._stream = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()

    def words(self, count: int) -> NDArray[np.uint64]:
        """Draw words of 64 bits, uint64 (count,); not to be written to."""
        return np.frombuffer(self._stream.update(bytes(8 * count)), dtype="<u8")

    def uniform(self, count: int) -> NDArray[np.float64]:
        """Draw numbers from (0, 1), float64 (count,), on a grid of 2^-53; never 0 and never 1."""
        return ((self.words(count) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52

    def normal(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Draw standard normal numbers, float64 of this shape (Box and Muller 1958)."""
        count = int(np.prod(shape))
        first, second = self.uniform(2 * ((count + 1) // 2)).reshape(2, -1)
        radius, angle = np.sqrt(-2 * np.log(first)), 2 * np.pi * second
        return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count].reshape(shape)


@dataclass(frozen=True)
class Secret:
    """What a hospital tells nobody: 32 bytes. It is not shown where the object is printed.

    Attributes:
        seeded: whether it comes from a number, as in tests, so that nothing is private.
    """

    _key: bytes
    seeded: bool = False

    def __repr__(self) -> str:
        """Hide the key."""
        return "Secret()"

    @classmethod
    def of(cls, folder: Path, seed: int | None) -> "Secret":
        """Read the secret that lies in a hospital's folder; the first call draws it from the operating system.

        `seed` stands in for the operating system in tests; what a run releases under it is not private.

        Raises StudyError where the file was altered.
        """
        if seed is not None:
            return cls(hashlib.sha256(f"not private: {seed} {folder.name}".encode()).digest(), seeded=True)
        path = folder / "secret"
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            beside = folder / f".secret-{os.getpid()}"
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(os.urandom(SECRET_BYTES))
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(beside, path)  # fails where another process was first: its secret stays
            except FileExistsError:
                pass
            finally:
                beside.unlink()
        key = path.read_bytes()
        if len(key) != SECRET_BYTES:
            raise StudyError(
                f"{path}: is not a secret of {SECRET_BYTES} bytes; restore it, or begin a new run, which spends anew"
            )
        return cls(key)

    def digest(self, request: dict[str, Any]) -> str:
        """Name a request: HMAC-SHA256 under the secret, in hex. It tells nobody else what the request was."""
        text = json.dumps(request, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def key(self, purpose: str) -> bytes:
        """Derive a key of 32 bytes for one purpose; it tells nothing of the secret or of another purpose's."""
        return hmac.new(self._key, f"key for {purpose}".encode(), hashlib.sha256).digest()

    def stream(self, request: str, purpose: str, step: int) -> Stream:
        """Open the stream of one step for one purpose (`noise`, `patients`) of the request with this digest."""
        text = f"{request}/{purpose}/{step}"
        return Stream(hmac.new(self._key, text.encode(), hashlib.sha256).digest())
