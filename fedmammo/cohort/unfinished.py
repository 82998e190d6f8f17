"""A preparation under way: patches and a journal, so that the next call goes on where this one stopped."""

import errno
import hmac
import json
import os
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedmammo.cohort.lesions import Outcome
from fedmammo.cohort.store import KEY, PATCHES, write_header, write_key
from fedmammo.errors import InputError

_JOURNAL, _PREPARATION = "journal.jsonl", "preparation"


class Unfinished:
    """What was read so far, row after row of a plan.

    The journal has one line per row, `[CRC of the patch, note]` or `[null, reason]`, written after the patch. It counts
    as far as its lines are whole and the patches bear them out: what a kill tore off is read again.

    Attributes:
        preparation: HMAC-SHA256 under the cohort's key of what is prepared and how, in hex.
        texts: of each row that was read: whether it has a patch, and its note or reason.
    """

    def __init__(self, folder: Path, description: bytes, size: int) -> None:
        """Go on in `folder`, or begin where it is empty.

        Args:
            folder: this process's alone.
            description: of source, tables and options; a preparation of others is not continued.
            size: side of a patch in pixels.

        Raises:
            InputError: the folder holds the beginning of another preparation.
        """
        self.texts: list[tuple[bool, str | None]] = []
        self._folder = folder
        self._size, self._bytes = size, 2 * size * size
        for name in (PATCHES, _JOURNAL, _PREPARATION):
            (folder / name).touch()
        mark = folder / _PREPARATION
        if not mark.read_text():
            write_key(folder)
        self.preparation = preparation(folder, description)
        self._patches = (folder / PATCHES).open("r+b", buffering=0)
        self._journal = (folder / _JOURNAL).open("r+b", buffering=0)
        self._start = write_header(self._patches, 0, size)
        journaled = self._journal.read().splitlines(keepends=True)
        if journaled and mark.read_text() != self.preparation:
            raise InputError(
                f"{folder}: holds the beginning of another preparation (other files, tables or options); "
                "give the same again to finish it, or delete that folder"
            )
        whole = sum(len(line) for line in journaled[: self._go_on(journaled)])
        patches = sum(has_patch for has_patch, _ in self.texts)
        for file, end in ((self._journal, whole), (self._patches, self._start + patches * self._bytes)):
            file.truncate(end)
            file.seek(end)
        mark.write_text(self.preparation)

    def _go_on(self, journaled: list[bytes]) -> int:
        """Take over what the journal says, as far as it holds; returns the number of its lines that do."""
        for number, line in enumerate(journaled):
            if not line.endswith(b"\n"):
                return number
            try:
                crc, text = json.loads(line)
            except ValueError:  # a power cut may leave anything
                return number
            if crc is not None and zlib.crc32(self._patches.read(self._bytes)) != crc:
                return number
            self.texts.append((crc is not None, text))
        return len(journaled)

    def add(self, outcome: Outcome) -> None:
        """Keep what became of the next row."""
        crc = None
        if outcome.patch is not None:
            patch = outcome.patch.astype("<u2").tobytes()
            if self._patches.write(patch) < len(patch):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            crc = zlib.crc32(patch)
        self._journal.write(json.dumps([crc, outcome.text]).encode() + b"\n")
        self.texts.append((crc is not None, outcome.text))

    def patches(self) -> NDArray[np.uint16]:
        """What was kept so far, (images, size, size), from the disk."""
        count = sum(has_patch for has_patch, _ in self.texts)
        if not count:
            return np.zeros((0, self._size, self._size), np.uint16)
        shape = (count, self._size, self._size)
        return np.memmap(self._folder / PATCHES, "<u2", "r", self._start, shape)

    def end(self) -> None:
        """Take away what a finished cohort does not have."""
        self._patches.close()
        self._journal.close()
        for name in (_JOURNAL, _PREPARATION):
            (self._folder / name).unlink()


def preparation(folder: Path, description: bytes) -> str:
    """What a cohort's folder calls the preparation of this description."""
    return hmac.new(bytes.fromhex((folder / KEY).read_text()), description, "sha256").hexdigest()
