"""Files that operating systems leave behind, which no reader lists."""

from pathlib import PurePath

_NAMES = {".ds_store", "thumbs.db", "desktop.ini"}
_FOLDER = "__macosx"


def is_stray(path: PurePath) -> bool:
    """Whether a file is a system's own: of macOS (`._*`, `.DS_Store`, `__MACOSX/`) or of Windows."""
    name = path.name.lower()
    return name.startswith("._") or name in _NAMES or _FOLDER in (part.lower() for part in path.parts)
