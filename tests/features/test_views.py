"""The fixed views of an image: flips and crops, by number."""

import numpy as np
import pytest
import torch

from fedmammo.config.sections import AugmentationConfig
from fedmammo.features.views import View, views_of

PATCH = (10 * np.arange(8)[:, None] + np.arange(8)).astype(np.uint16)  # row r, column c: 10 r + c


def corners(view: View, patch: np.ndarray = PATCH) -> list[int]:
    """Top left, top right, bottom left, bottom right."""
    shown = (view.of(patch)[0, 0].double() * 65535).round().int()
    return [int(shown[row, column]) for row in (0, -1) for column in (0, -1)]


def test_flips() -> None:
    """The corners of the patch are 0 and 7 above, 70 and 77 below."""
    assert corners(View()) == [0, 7, 70, 77]
    assert corners(View(left_right=True)) == [7, 0, 77, 70]
    assert corners(View(top_bottom=True)) == [70, 77, 0, 7]
    assert corners(View(left_right=True, top_bottom=True)) == [77, 70, 7, 0]
    assert corners(View(transposed=True)) == [0, 70, 7, 77]
    assert corners(View(left_right=True, transposed=True)) == [70, 0, 77, 7]


@pytest.mark.parametrize(
    ("crop", "expected"),
    [
        (1, [0, 6, 60, 66]),  # top left
        (2, [1, 7, 61, 67]),  # top right
        (3, [10, 16, 70, 76]),  # bottom left
        (4, [11, 17, 71, 77]),  # bottom right
        (5, [0, 6, 60, 66]),  # the centre, half a pixel off, rounded to even
    ],
)
def test_crops_have_seven_eighths_of_the_side(crop: int, expected: list[int]) -> None:
    """7 of 8 pixels: rows and columns 0-6 or 1-7; a flip mirrors the crop, not its place."""
    assert View(crop=crop).of(PATCH).shape == (1, 1, 7, 7)
    assert corners(View(crop=crop)) == expected
    left_above, right_above, left_below, right_below = expected
    assert corners(View(True, False, crop)) == [right_above, left_above, right_below, left_below]


def test_the_centre_crop_of_128_pixels() -> None:
    """112 of 128 pixels begin at 8: corner pixels are 8 x 200 + 8, ... 119 x 200 + 119."""
    patch = (200 * np.arange(128)[:, None] + np.arange(128)).astype(np.uint16)
    assert corners(View(crop=5), patch) == [1608, 1719, 23808, 23919]


def test_values_are_from_0_to_1() -> None:
    shown = View().of(np.array([[0, 13107], [52428, 65535]], np.uint16))
    assert shown.dtype == torch.float32
    assert torch.allclose(shown, torch.tensor([[0, 0.2], [0.8, 1]]))


def test_the_views_of_a_study_in_their_order() -> None:
    """Whole patches come first: scoring takes those; names are those of the files."""
    names = [view.name for view in views_of(AugmentationConfig(flips="both", crops=1))]
    assert names == [
        "whole", "whole-lr", "whole-tb", "whole-lr-tb",
        "crop1", "crop1-lr", "crop1-tb", "crop1-lr-tb",
    ]  # fmt: skip


@pytest.mark.parametrize(("flips", "of_each"), [("none", 1), ("horizontal", 2), ("both", 4), ("dihedral", 8)])
@pytest.mark.parametrize("crops", range(6))
def test_all_views_differ(flips: str, of_each: int, crops: int) -> None:
    views = views_of(AugmentationConfig.model_validate({"flips": flips, "crops": crops}))
    assert len({view.name for view in views}) == len(set(views)) == of_each * (1 + crops)
    fewer = views_of(AugmentationConfig.model_validate({"flips": flips, "crops": 0}))
    assert views[:of_each] == fewer, "more crops leave the numbers of the others as they are"
