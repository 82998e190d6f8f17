"""Pictures of synthetic images: blocks side by side, every patch in full range."""

import numpy as np
from matplotlib.figure import Figure

from fedmammo.report.synthesis_figures import draw_side_by_side


def test_blocks_stand_side_by_side_and_hold_their_patches() -> None:
    kinds = {
        f"kind {k}": [np.full((4, 4), 10 * k + i, np.uint16) for i in range(count)] for k, count in enumerate([3, 1, 0])
    }
    figure = Figure()
    draw_side_by_side(figure, kinds, columns=2)
    blocks = figure.subfigs
    assert [block.get_suptitle() for block in blocks] == ["kind 0", "kind 1", "kind 2", ""]
    shown = [[axes.get_images()[0] for axes in block.axes if axes.get_images()] for block in blocks]
    assert [[int(image.get_array()[0, 0]) for image in block] for block in shown] == [[0, 1, 2], [10], [], []]
    assert {image.get_clim() for block in shown for image in block} == {(0, 65535)}
    first, second, third = (blocks[i].bbox for i in range(3))
    assert first.x0 < second.x0 and first.y0 == second.y0
    assert third.x0 == first.x0 and third.y0 < first.y0
