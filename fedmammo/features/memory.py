"""What linear heads read, in memory: centred, scaled and along any directions, for as long as it is used."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmammo.features.store import Rows

MOST_BYTES = 2**30  # of all tables of a process

Read = Callable[[Rows], NDArray]


class Table:
    """One file of features as a head reads it: a row for each image, filled in when it is first asked for.

    A row is worked out alone, so that it depends on nothing but its image, whoever asked for which others.

    Args:
        images: number of images.
        width: of what the head reads.
        device: where it lies.
    """

    def __init__(self, images: int, width: int, device: torch.device) -> None:
        self._rows = torch.empty(images, width, device=device)
        self._there = torch.zeros(images, dtype=torch.bool)

    @property
    def bytes(self) -> int:
        """Size in memory, once all rows are there."""
        return self._rows.numel() * self._rows.element_size()

    def read(self, rows: Rows, read: Read, standard: Callable[[Tensor], Tensor]) -> Tensor:
        """Return rows, (rows, width). `read`: gives features of rows; `standard`: what a head makes of one of them."""
        wanted = torch.from_numpy(rows)
        missing = wanted[~self._there[wanted]].unique()
        if len(missing):
            features = torch.from_numpy(read(missing.numpy())).to(self._rows.device)
            with torch.no_grad():
                for row, one in zip(missing.tolist(), features, strict=True):
                    self._rows[row] = standard(one[None])[0]
            self._there[missing] = True
        return self._rows[wanted.to(self._rows.device)]


_tables: OrderedDict[tuple[Path, str, torch.device], Table] = OrderedDict()


def table_of(file: Path, constants: str, images: int, width: int, device: torch.device) -> Table:
    """Return the table of a file of features; those that were not used for longest make room.

    `constants`: names how the head centres, scales and projects.
    """
    key = (file, constants, device)
    if key not in _tables:
        _tables[key] = Table(images, width, device)
        while len(_tables) > 1 and sum(table.bytes for table in _tables.values()) > MOST_BYTES:
            _tables.popitem(last=False)
    _tables.move_to_end(key)
    return _tables[key]


def forget() -> None:
    """Let go of all tables."""
    _tables.clear()
