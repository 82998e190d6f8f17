"""Stopping a hospital's part at once: its people write it down, and whatever runs is interrupted."""

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from fedmammo.disk.files import write_text
from fedmammo.errors import InputError
from fedmammo.privacy.reasons import RefusalError

STOPPED = "stopped"  # a file in the folder of state: while it is there, no job is done
SERVING = "serving"  # there too: the number of the process that does the hospital's jobs, which holds a lock on it


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
    if process is not None:
        os.kill(process, signal.SIGUSR1)
    return process is not None


def process_of(folder: Path) -> int | None:
    """Return the process that does a hospital's jobs; none where none runs."""
    path = folder / SERVING
    if not path.exists():
        return None
    with path.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # whoever serves holds it
            return int(file.read())
    return None


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
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / SERVING).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"{folder}: another process does this hospital's jobs; end it first") from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            signal.signal(signal.SIGUSR1, before)
