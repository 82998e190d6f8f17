"""Points and curves on a grid: what lumps, fibres, vessels, spicules and calcifications are drawn from."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Reals = NDArray[np.float64]


def splat(shape: tuple[int, int], y: Reals, x: Reals, weight: Reals) -> Floats:
    """Add points to an empty periodic grid; each is shared bilinearly among the four pixels around it.

    Args:
        shape: (rows, columns) of the grid.
        y: row coordinates in pixels; those outside the grid come in again at the other side.
        x: column coordinates, of the same shape.
        weight: of that shape, or broadcast to it.
    """
    rows, columns = shape
    y, x, weight = (np.ravel(values) for values in np.broadcast_arrays(y, x, weight))
    top, left = np.floor(y), np.floor(x)
    down, right = y - top, x - left
    above, before = top.astype(np.intp) % rows * columns, left.astype(np.intp) % columns
    below, behind = (top.astype(np.intp) + 1) % rows * columns, (before + 1) % columns
    places = np.concatenate([above + before, above + behind, below + before, below + behind])
    upper, lower = weight * (1 - down), weight * down
    shares = np.concatenate([upper * (1 - right), upper * right, lower * (1 - right), lower * right])
    return np.bincount(places, shares, rows * columns).reshape(shape).astype(np.float32)


def curves(
    angle: Reals, length: Reals, bend: float, generator: np.random.Generator
) -> tuple[Reals, Reals, NDArray[np.bool_]]:
    """Curves from the origin, a point each pixel: y and x, (curves, steps), and which steps a curve has.

    Args:
        angle: direction of each curve at its start, in radians from the x axis towards y.
        length: of each curve, in pixels.
        bend: by about how many radians a curve's direction strays over 100 pixels (standard deviation).
        generator: bends the curves.
    """
    steps = np.arange(max(int(np.max(length, initial=1)), 1))
    turn = bend / 10 * generator.standard_normal((len(angle), len(steps)))
    turn[:, 1:] = 0.95 * turn[:, 1:] + 0.05 * turn[:, :1]
    direction = np.asarray(angle)[:, None] + np.cumsum(turn, axis=1)
    y, x = np.cumsum(np.sin(direction), axis=1), np.cumsum(np.cos(direction), axis=1)
    return y, x, steps < np.asarray(length)[:, None]
