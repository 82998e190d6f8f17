"""Folders that are never half-written: filled beside their place and renamed."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedmammo.errors import InputError


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Give an empty folder to fill, which becomes `out` when the block ends; it is its owner's alone to read.

    Where the block raises or is interrupted nothing is left, not even parents of `out` that were made for it.

    Raises InputError where `out` is neither missing nor an empty folder, or cannot be written.
    """
    made: list[Path] = []
    try:
        place = Path(os.path.realpath(out))
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise InputError(f"{out}: exists and is not an empty folder; name an empty or missing folder")
        if place == Path.cwd() or place.is_mount():
            raise InputError(f"{out}: the working folder, or a mount, cannot be replaced; name a folder inside it")
        made = [parent for parent in place.parents if not parent.exists()]
        place.parent.mkdir(parents=True, exist_ok=True)
        made.insert(0, Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent)))
        yield made[0]
        made[0].rename(place)
        made.clear()
    except OSError as error:
        cause = error.__cause__ if isinstance(error.__cause__, OSError) else error  # pydicom wraps it in a traceback
        raise InputError(f"{out}: cannot write there ({cause.strerror or cause}); name another folder") from error
    finally:
        if made:
            shutil.rmtree(made[0], ignore_errors=True)
        for folder in made[1:]:
            with contextlib.suppress(OSError):  # it was never made, or somebody put something into it meanwhile
                folder.rmdir()
