import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmammo.cohort.patch import Box, bounding_box, cut_patch, resize, whole_patch
from fedmammo.cohort.quarantine import Unusable


def coordinates(height: int, width: int) -> np.ndarray:
    """Gray values that tell where they came from: 256 row + column."""
    rows, columns = np.indices((height, width))
    return (256 * rows + columns).astype(np.uint16)


def filled(height: int, width: int, *boxes: Box) -> np.ndarray:
    """A mask of rectangles."""
    mask = np.zeros((height, width), bool)
    for box in boxes:
        mask[box.top : box.bottom, box.left : box.right] = True
    return mask


def test_a_small_lesion_gets_128_pixels_around_its_centre() -> None:
    """Rows 100-119, columns 90-99: centre (110, 95); 128 pixels around it begin at row 46, column 31."""
    patch = cut_patch(coordinates(250, 250), Box(90, 100, 100, 120), 128)
    assert patch[0, 0] == 256 * 46 + 31
    assert patch[-1, -1] == 256 * (46 + 127) + (31 + 127)


def test_a_large_lesion_gets_a_margin() -> None:
    """200 wide, 40 high, centre (125, 125). A fifth: side 240, from 5 to 244. None: side 200, from 25 to 224."""
    box = Box(25, 105, 225, 145)
    patch = cut_patch(coordinates(250, 250), box, 240)
    assert patch[0, 0] == 256 * 5 + 5 and patch[-1, -1] == 256 * 244 + 244
    patch = cut_patch(coordinates(250, 250), box, 200, margin=0)
    assert patch[0, 0] == 256 * 25 + 25 and patch[-1, -1] == 256 * 224 + 224


def test_several_contours_are_one_lesion() -> None:
    mask = filled(250, 250, Box(70, 60, 71, 61), Box(129, 159, 130, 160))
    assert bounding_box(mask, (250, 250)) == Box(70, 60, 130, 160)


def test_outside_the_mammogram_is_zero() -> None:
    """Box in the corner, centre (5, 5): the window begins at -59, so 59 rows and columns are padding."""
    patch = cut_patch(np.full((250, 250), 7, np.uint16), Box(0, 0, 10, 10), 128)
    assert (patch[:59] == 0).all() and (patch[:, :59] == 0).all() and (patch[59:, 59:] == 7).all()


def test_a_mask_of_another_size_is_stretched() -> None:
    """Half as high, a quarter as wide: rows 50-59 and columns 20-24 become 100-119 and 80-99."""
    assert bounding_box(filled(125, 60, Box(20, 50, 25, 60)), (250, 240)) == Box(80, 100, 100, 120)


def test_an_empty_mask_is_unusable() -> None:
    with pytest.raises(Unusable, match="mask is empty"):
        bounding_box(np.zeros((200, 200), bool), (200, 200))


@pytest.mark.parametrize("box", [Box(-1, 0, 9, 9), Box(0, 0, 201, 9), Box(0, 90, 9, 101)])
def test_a_box_outside_is_unusable(box: Box) -> None:
    with pytest.raises(Unusable, match=r"box is not inside the image: .* in 200x100"):
        cut_patch(np.zeros((100, 200), np.uint16), box, 128)


@pytest.mark.parametrize("box", [Box(5, 5, 5, 9), Box(9, 5, 5, 9), Box(40, 60, 20, 30)])
def test_a_box_that_is_empty_or_reversed_says_so(box: Box) -> None:
    with pytest.raises(Unusable, match=r"box is empty or reversed: .*; left, top, right, bottom"):
        cut_patch(np.zeros((100, 200), np.uint16), box, 128)


def test_a_whole_image_is_padded_to_a_square() -> None:
    """2 high, 6 wide: two rows of zeros above and below."""
    patch = whole_patch(np.full((2, 6), 9, np.uint16), 6)
    assert patch.tolist() == [[0] * 6] * 2 + [[9] * 6] * 2 + [[0] * 6] * 2


def test_resize_weights_by_the_widened_triangle() -> None:
    """Four columns to two, by hand: the first output's centre lies at 1, the inputs' at .5, 1.5, 2.5, 3.5.

    In output pixels (scale 2) that is .25, .25, .75, 1.25 away: weights .75, .75, .25, 0, normalised 3/7, 3/7, 1/7, 0.
    A line of 0, 7000, 0, 0 becomes 3000 and, mirrored (weights 0, 1/7, 3/7, 3/7), 1000.
    """
    square = np.tile(np.array([0, 7000, 0, 0], np.uint16), (4, 1))
    assert resize(square, 2).tolist() == [[3000, 1000], [3000, 1000]]


def test_resize_does_not_alias() -> None:
    """A checkerboard of black and white is middle gray from afar; picking pixels would give black or white."""
    checkerboard = ((np.indices((256, 256)).sum(axis=0) % 2) * 65535).astype(np.uint16)
    inner = resize(checkerboard, 64)[2:-2, 2:-2].astype(int)
    assert np.abs(inner - 32767).max() < 200


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 199), st.integers(0, 149), st.integers(1, 200), st.integers(1, 150))
def test_any_box_is_cut_as_from_a_padded_mammogram(top: int, left: int, height: int, width: int) -> None:
    """Oracle: pad the mammogram by 200 zeros all round, and slice."""
    bottom, right = min(top + height, 200), min(left + width, 150)
    side = max(128, round(1.2 * max(bottom - top, right - left)))
    padded = np.pad(coordinates(200, 150), 200)
    row, column = 200 + (top + bottom - side) // 2, 200 + (left + right - side) // 2
    patch = cut_patch(coordinates(200, 150), Box(left, top, right, bottom), side)
    np.testing.assert_array_equal(patch, padded[row : row + side, column : column + side])


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 300), st.integers(8, 300), st.integers(0, 2**32 - 1))
def test_resizing_stays_within_the_values_and_commutes_with_transposition(side: int, size: int, seed: int) -> None:
    square = np.random.default_rng(seed).integers(1000, 60000, (side, side), np.uint16)
    resized = resize(square, size)
    assert resized.shape == (size, size) and resized.dtype == np.uint16
    assert square.min() <= resized.min() and resized.max() <= square.max()
    # Pillow works in 32-bit floats, one axis after the other: the order may move a value across a rounding edge
    assert np.abs(resize(square.T, size).T.astype(int) - resized).max() <= 1


def test_a_square_of_gigabytes_is_refused() -> None:
    """A strip of 1 x 20000 pixels would be padded to 400 million, a margin of 10 around 2000 makes 22000."""
    with pytest.raises(Unusable, match="patch is too large: 20000 pixels wide"):
        whole_patch(np.zeros((1, 20_000), np.uint16), 128)
    with pytest.raises(Unusable, match="patch is too large: 22000 pixels wide"):
        cut_patch(np.zeros((2000, 2000), np.uint16), Box(0, 0, 2000, 2000), 128, margin=10)
