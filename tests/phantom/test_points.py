import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmammo.phantom.points import curves, splat


def test_a_point_is_shared_among_its_four_pixels_by_hand():
    """At (1.25, 2.5) with weight 8: rows 1 and 2 get .75 and .25, columns 2 and 3 a half each."""
    grid = splat((4, 5), np.array([1.25]), np.array([2.5]), np.array(8.0))
    assert grid[1:3, 2:4].tolist() == [[3, 3], [1, 1]]
    assert grid.sum() == 8


def test_the_grid_is_periodic():
    """(-0.5, 4.5) on 4 x 5 lies between rows 3 and 0, and between columns 4 and 0."""
    grid = splat((4, 5), np.array([-0.5]), np.array([4.5]), np.array(4.0))
    assert [grid[y, x] for y in (3, 0) for x in (4, 0)] == [1, 1, 1, 1]


@settings(max_examples=50, deadline=None)
@given(count=st.integers(0, 40), rows=st.integers(1, 9), columns=st.integers(1, 9), seed=st.integers(0, 10**6))
def test_no_weight_is_lost(count, rows, columns, seed):
    generator = np.random.default_rng(seed)
    y, x, weight = generator.uniform(-20, 20, (3, count))
    assert splat((rows, columns), y, x, weight).sum() == pytest.approx(weight.sum(), abs=1e-4)


def test_a_curve_that_does_not_bend_is_a_line():
    """Down and to the right at 30 degrees: y grows by sin = .5 a step, x by cos = .866."""
    y, x, there = curves(np.array([np.pi / 6]), np.array([3.0]), 0.0, np.random.default_rng(0))
    assert y == pytest.approx(np.array([[0.5, 1.0, 1.5]]))
    assert x == pytest.approx(np.array([[0.8660, 1.7321, 2.5981]]), abs=1e-4)
    assert there.tolist() == [[True, True, True]]


def test_curves_have_their_lengths_and_go_a_pixel_a_step():
    y, x, there = curves(np.zeros(2), np.array([4.0, 9.0]), 1.0, np.random.default_rng(0))
    assert there.sum(axis=1).tolist() == [4, 9]
    assert np.hypot(np.diff(y), np.diff(x)) == pytest.approx(np.ones((2, 8)))
    assert y.any()
