"""Where a file is that a table names."""

import posixpath
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
    return folder / inside


def printable(path: Path, folder: Path) -> str:
    """The path of a file relative to `folder`, for a table; bytes that are no UTF-8 are written as numbers."""
    return path.relative_to(folder).as_posix().encode(errors="backslashreplace").decode()
