"""Folders that are never half-written: filled beside their place and renamed."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedmammo.errors import InputError

_LOCK = ".lock"


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Give an empty folder to fill, which becomes `out` when the block ends; it is its owner's alone to read.

    Where the block raises or is interrupted nothing is left, not even parents of `out` that were made for it.

    Raises InputError where `out` is neither missing nor an empty folder, or cannot be written.
    """
    made: list[Path] = []
    try:
        place = _place(out)
        made = [parent for parent in place.parents if not parent.exists()]
        place.parent.mkdir(parents=True, exist_ok=True)
        made.insert(0, Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent)))
        yield made[0]
        made[0].rename(place)
        made.clear()
    except OSError as error:
        raise _cannot_write(out, error) from error
    finally:
        _remove(made)


@contextmanager
def continued_folder(out: Path) -> Iterator[Path]:
    """Give a folder to fill, `<out>.unfinished`, which becomes `out` when the block ends; its owner's alone to read.

    Where the block is interrupted the folder stays, and the next call gives it again as it was left. Where a first
    call ends with an InputError, what it was given is at fault, and nothing is left. One process at a time has it.

    Raises InputError where `out` is neither missing nor an empty folder, cannot be written, or another process is at
    work on it.
    """
    made: list[Path] = []
    try:
        place = _place(out)
        unfinished = place.with_name(f"{place.name}.unfinished")
        made = [parent for parent in place.parents if not parent.exists()]
        place.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            unfinished.mkdir(mode=0o700)
            made.insert(0, unfinished)
        with (unfinished / _LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"{out}: another process is preparing it; wait for it, or name another folder"
                ) from None
            yield unfinished
            (unfinished / _LOCK).unlink()
            unfinished.rename(place)
            made.clear()
    except InputError:
        _remove(made)
        raise
    except OSError as error:
        for folder in made:
            with contextlib.suppress(OSError):  # it holds what the next call goes on with
                folder.rmdir()
        raise _cannot_write(out, error) from error


def _place(out: Path) -> Path:
    """Where `out` really lies; refuses what cannot become a folder of ours."""
    place = Path(os.path.realpath(out))
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise InputError(f"{out}: exists and is not an empty folder; name an empty or missing folder")
    if place == Path.cwd() or place.is_mount():
        raise InputError(f"{out}: the working folder, or a mount, cannot be replaced; name a folder inside it")
    return place


def _remove(made: list[Path]) -> None:
    """Remove the folder that comes first with all it holds, and the others where they are empty."""
    if made:
        shutil.rmtree(made[0], ignore_errors=True)
    for folder in made[1:]:
        with contextlib.suppress(OSError):  # it was never made, or somebody put something into it meanwhile
            folder.rmdir()


def _cannot_write(out: Path, error: OSError) -> InputError:
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error  # pydicom wraps it in a traceback
    return InputError(f"{out}: cannot write there ({cause.strerror or cause}); name another folder")
