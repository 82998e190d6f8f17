"""What an entry of the corpus is: a bad file that code builds, what reads it, and what has to be said of it."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Place(NamedTuple):
    """Where an entry is built.

    Attributes:
        folder: its own.
        secret: an image outside it, which nothing may read.
        canary: a path at which code in a file would make a file.
    """

    folder: Path
    secret: Path
    canary: Path


Build = Callable[[Place], bytes | None]
"""Gives the file's bytes, or writes files into the folder by itself."""


class Entry(NamedTuple):
    """A file of the corpus.

    Attributes:
        name: what it is.
        read: how it is read: see `tests.fuzz.readers.READERS`.
        says: a regular expression for the reason or the error line; "" where it is read as if nothing were wrong.
        build: makes it.
        file: its name, where it is one file.
    """

    name: str
    read: str
    says: str
    build: Build
    file: str = ""
