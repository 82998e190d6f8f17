import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmammo.phantom.breast import MAMMOGRAM_SHAPE, NIPPLE_RADIUS, Anatomy, draw_anatomy

ANATOMY = Anatomy(density=2, middle=500.0, height=400.0, width=600.0, muscle=(500.0, 200.0), muscle_level=0.1)


def at(y: float, x: float) -> tuple[np.ndarray, np.ndarray]:
    return np.array(y), np.array(x)


def test_depth_and_thickness_by_hand():
    """Along the chest wall an ellipse's depth is the distance to its top: at row 135 it is 35, half the rim of 70.

    A round rim: thickness sqrt(1 - .5^2) = .866 there, 0 at the skin, 1 from 70 pixels on.
    """
    assert ANATOMY.depth(*at(135, 0)) == pytest.approx(35)
    assert ANATOMY.thickness(*at(135, 0)) == pytest.approx(0.8660, abs=1e-4)
    assert ANATOMY.thickness(*at(100, 0)) == pytest.approx(0, abs=1e-6)
    assert ANATOMY.thickness(*at(400, 100)) == 1
    assert ANATOMY.thickness(*at(20, 0)) == 0


def test_the_nipple_stands_out():
    """Its centre is 7 pixels inside the skin, at column 593: at 605 its depth is 15 - 12 = 3."""
    assert ANATOMY.depth(*at(500, 605)) == pytest.approx(NIPPLE_RADIUS - 12)
    assert ANATOMY.depth(*at(500, 605)) > 0 > ANATOMY.depth(*at(500, 620))
    assert ANATOMY.depth(*at(540, 605)) < 0


def test_the_muscle_lies_in_the_upper_corner():
    assert ANATOMY.surface(*at(200, 20)) == pytest.approx(0.1, abs=1e-3)
    assert ANATOMY.surface(*at(600, 20)) == pytest.approx(0, abs=1e-3)
    assert ANATOMY.surface(*at(200, 300)) == pytest.approx(0, abs=1e-3)


def test_fibres_point_to_the_nipple():
    """From 100 px above the nipple's row the way goes down, at 45 degrees where it is 100 px away (1.1 x 600 = 660)."""
    assert ANATOMY.towards_nipple(*at(400, 560)) == pytest.approx(np.pi / 4)
    assert ANATOMY.towards_nipple(*at(500, 100)) == 0


def test_dense_breasts_hold_more_glandular_tissue():
    y, x = np.mgrid[0:1024:8, 0:704:8]
    share = [Anatomy(d, 500.0, 400.0, 600.0, (0, 0), 0).gland(y, x).mean() for d in (1, 2, 3, 4)]
    assert share == sorted(share)
    assert share[0] > 0 and share[3] < 1


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.sampled_from(["CC", "MLO"]), st.floats(0.3, 0.8), st.floats(12, 70), st.integers(0, 10**6))
def test_a_lesion_lies_inside_the_breast_at_its_distance(density, view, distance, reach, seed):
    generator = np.random.default_rng(seed)
    anatomy = draw_anatomy(density, view, generator)
    y, x = anatomy.find_place(distance, reach, [], generator)
    assert anatomy.depth(*at(y, x)) > 0.7 * reach
    assert np.hypot(y - anatomy.middle, x - anatomy.width) == pytest.approx(distance * anatomy.width, abs=1.5)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.sampled_from(["CC", "MLO"]), st.integers(0, 10**6))
def test_a_breast_fits_the_mammogram(density, view, seed):
    anatomy = draw_anatomy(density, view, np.random.default_rng(seed))
    rows, columns = MAMMOGRAM_SHAPE
    assert anatomy.middle - anatomy.height > 0 and anatomy.middle + anatomy.height < rows
    assert anatomy.width + NIPPLE_RADIUS < columns
    assert bool(anatomy.muscle[0]) == (view == "MLO")


def test_lesions_keep_apart_or_are_refused():
    generator = np.random.default_rng(0)
    taken: list[tuple[int, int, float]] = []
    with pytest.raises(ValueError, match="no room for a lesion of radius 60"):
        for _ in range(40):
            taken.append((*ANATOMY.find_place(0.5, 60, taken, generator), 60))
    assert len(taken) > 3
    for k, (y, x, _) in enumerate(taken):
        assert all(np.hypot(y - row, x - column) > 120 for row, column, _ in taken[:k])
