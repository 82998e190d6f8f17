"""Files that operating systems leave beside the user's own: no reader lists them."""

from pathlib import PurePath

_NAMES = {".ds_store", "thumbs.db", "desktop.ini", "ehthumbs.db", ".directory", ".localized"}
_FOLDERS = {"__macosx", ".spotlight-v100", ".trashes", ".fseventsd", "@eadir", "$recycle.bin"}


def is_stray(path: PurePath) -> bool:
    """Whether a file is an operating system's: macOS's `._*` and `.DS_Store`, Windows's `Thumbs.db`, and the like."""
    folders = {part.lower() for part in path.parts[:-1]}
    return path.name.startswith("._") or path.name.lower() in _NAMES or bool(folders & _FOLDERS)
