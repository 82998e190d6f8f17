"""Pictures of synthetic images beside real ones."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import FigureBase
from numpy.typing import NDArray

_WHITE = 65535


def draw_side_by_side(figure: FigureBase, kinds: Mapping[str, Sequence[NDArray[np.uint16]]], columns: int) -> None:
    """Draw patches, 0-65535 from black to white: a block for each of `kinds` (title: patches), two blocks in a row."""
    blocks = figure.subfigures((len(kinds) + 1) // 2, 2, squeeze=False)
    for block, (title, patches) in zip(blocks.flat, kinds.items(), strict=False):
        block.suptitle(title, fontsize=10, y=0.985)
        grid = block.subplots(-(-max(len(patches), 1) // columns), columns, squeeze=False)
        block.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.92, wspace=0.03, hspace=0.03)
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, patch in zip(grid.flat, patches, strict=False):
            axes.imshow(patch, cmap="gray", vmin=0, vmax=_WHITE, interpolation="nearest")
