"""Files that are never half-written: written beside and renamed."""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from fedmammo.errors import InputError

if TYPE_CHECKING:  # what reads tables alone need not import it
    from torch import Tensor


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let one process at a time make files in a folder; the others wait. Raises OSError where it cannot be made."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def write_bytes(path: Path, content: bytes, flush: bool = True) -> None:
    """Write a file beside its place, flush it to the disk and rename it; folders are made.

    Without `flush` it survives the end of the process, but perhaps no power cut.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(content)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(path)
        if flush:
            sync_folder(path.parent)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Flush a folder to the disk, so that what was renamed into it survives a power cut."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def write_text(path: Path, content: str) -> None:
    """Write a UTF-8 text file beside its place and rename it."""
    write_bytes(path, content.encode())


def write_tensors(
    path: Path, tensors: "dict[str, Tensor]", metadata: dict[str, str] | None = None, flush: bool = True
) -> None:
    """Write named tensors as safetensors, beside and renamed; the same tensors give the same bytes.

    With more than one entry of `metadata` they may not: safetensors writes those in any order. A tensor may appear
    under several names: each gets a copy, because safetensors refuses tensors that share memory.
    """
    from safetensors.torch import save

    copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    write_bytes(path, save(copies, metadata), flush)


def read_tensors(path: Path) -> "tuple[dict[str, Tensor], dict[str, str]]":
    """Read named tensors and the file's metadata from safetensors.

    Raises InputError where the file is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (OSError, MemoryError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read as safetensors ({error}); restore the file") from error


def digest_of_sources(*parts: str) -> str:
    """SHA-256 over this package's sources, or over some of its folders and files, in order of their paths."""
    root = Path(__file__).parents[1]
    found = [root / part for part in parts] or [root]
    sources = [source for path in found for source in ([path] if path.is_file() else path.rglob("*.py"))]
    digest = hashlib.sha256()
    for source in sorted(sources):
        digest.update(str(source.relative_to(root)).encode())
        digest.update(source.read_bytes())
    return digest.hexdigest()


def digest_of_content(content: dict[str, Any]) -> str:
    """SHA-256 of what can be written as JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
