"""Stopping a hospital's part at once: its people write it down, and whatever runs is interrupted."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from fedmammo.disk.files import write_text
from fedmammo.privacy.reasons import RefusalError

STOPPED = "stopped"  # a file in the folder of state: while it is there, no job is done
SERVING = "serving.json"  # there too: which process does the hospital's jobs


def check_runs(folder: Path) -> None:
    """Raise RefusalError where a hospital's people have stopped its part. `folder`: of its state."""
    if (folder / STOPPED).exists():
        raise RefusalError("refused: stopped by fedmammo site stop; fedmammo site start goes on", "stopped")


def stop(folder: Path) -> bool:
    """Stop a hospital's part: no job is done from now on, and one that runs ends at once.

    Returns whether there is a process that does jobs, which was told.
    """
    write_text(folder / STOPPED, "")
    process = process_of(folder)
    with suppress(OSError):
        if process is not None:
            os.kill(process, signal.SIGUSR1)
            return True
    return False


def process_of(folder: Path) -> int | None:
    """Return the process that does a hospital's jobs; none where none runs."""
    try:
        process = int(json.loads((folder / SERVING).read_text())["process"])
        os.kill(process, 0)
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None
    return process


def start(folder: Path) -> None:
    """Let a hospital do jobs again."""
    (folder / STOPPED).unlink(missing_ok=True)


@contextmanager
def may_be_stopped(folder: Path) -> Iterator[None]:
    """Let `stop` interrupt what runs in the block, which is to be the main thread's, by RefusalError."""

    def interrupt(_: int, __: FrameType | None) -> None:
        check_runs(folder)

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


@contextmanager
def serving(folder: Path) -> Iterator[None]:
    """Note that this process does a hospital's jobs; between them, being told to stop has no effect."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    write_text(folder / SERVING, json.dumps({"process": os.getpid()}) + "\n")
    try:
        yield
    finally:
        (folder / SERVING).unlink(missing_ok=True)
