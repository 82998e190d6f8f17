"""Where a file is that a table names."""

import os
import posixpath
import unicodedata
from pathlib import Path, PureWindowsPath

from fedmammo.cohort.quarantine import Unusable


def below(folder: Path, text: str) -> Path:
    """The file at a path, as any system writes it, that lies below `folder`.

    Raises:
        Unusable: the path is absolute, leads out of the folder, or is none.
    """
    path = PureWindowsPath(text.strip())  # which reads / and \ alike
    inside = posixpath.normpath("/".join(path.parts)) if path.parts and not (path.drive or path.root) else ".."
    if inside in (".", "..") or inside.startswith("../") or "\0" in text:
        raise Unusable(f"path does not stay below the source: {text.strip()!r}")
    file = folder / inside
    return file if os.path.lexists(file) else _as_written(file)


def _as_written(file: Path) -> Path:
    """Find a missing file by a name that people read alike: other systems write accents in other ways.

    Raises:
        Unusable: there is one whose name differs in case alone.
    """

    def alike(name: str) -> str:
        return unicodedata.normalize("NFC", name)

    try:
        names = [path.name for path in file.parent.iterdir()]
    except OSError:
        return file
    for name in sorted(names):
        if alike(name) == alike(file.name):
            return file.with_name(name)
    for name in sorted(names):
        if alike(name).casefold() == alike(file.name).casefold():
            raise Unusable(f"file is missing: {file.name}; there is {name}, write it so")
    return file


def printable(path: Path, folder: Path) -> str:
    """The path of a file relative to `folder`, for a table; bytes that are no UTF-8 are written as numbers."""
    return path.relative_to(folder).as_posix().encode(errors="backslashreplace").decode()
