"""Files that systems and tools leave beside the user's own: no reader lists them."""

import os
from pathlib import Path, PurePath

_NAMES = {".ds_store", "thumbs.db", "desktop.ini", "ehthumbs.db", ".directory", ".localized"}
_FOLDERS = {"__macosx", ".spotlight-v100", ".trashes", ".fseventsd", "@eadir", "$recycle.bin", "#recycle"}
_TOOLS = {".ipynb_checkpoints", ".git", ".thumbnails"}


def is_stray(path: PurePath) -> bool:
    """Whether a file is a system's or a tool's: `._*`, `.DS_Store`, `Thumbs.db`, `.ipynb_checkpoints/` and others."""
    folders = {part.lower() for part in path.parts[:-1]}
    return path.name.startswith("._") or path.name.lower() in _NAMES or bool(folders & (_FOLDERS | _TOOLS))


def files_below(folder: Path) -> list[Path]:
    """List all files below a folder, sorted, but stray ones; folders that are links are entered, each once."""
    found: list[Path] = []
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()  # a link that leads back
            continue
        seen.add(real)
        found += [Path(place, name) for name in names]
    return sorted(path for path in found if not is_stray(path.relative_to(folder)))
