import numpy as np
import pytest

from fedmammo.cohort.patch import bounding_box, cut_patch
from fedmammo.phantom.breast import MAMMOGRAM_SHAPE
from fedmammo.phantom.calcifications import Calcifications
from fedmammo.phantom.images import draw_mammogram, draw_patch
from fedmammo.phantom.masses import Mass, choose_mass

ROUND = Mass(False, "ROUND", "CIRCUMSCRIBED", 5, 0.25, 0.0, 40.0, 0.5, 3)
STAR = Mass(True, "IRREGULAR", "SPICULATED", 5, 0.25, 1.0, 30.0, 0.6, 4)
GRAINS = Calcifications(True, "COARSE", "CLUSTERED", 5, 0.4, 25.0, 0.45, 5)


@pytest.mark.parametrize("side", ["LEFT", "RIGHT"])
@pytest.mark.parametrize("view", ["CC", "MLO"])
def test_mammogram_shows_its_lesions_where_masks_say(side, view):
    """Subtlety 5 adds .25 of full scale at the middle of a mass, less towards its edge and where the breast is thin."""
    image, masks = draw_mammogram([ROUND, GRAINS], 1, side, view, 0.0, np.random.default_rng(5))
    assert image.dtype == np.uint16 and image.shape == MAMMOGRAM_SHAPE
    assert not (masks[0] & masks[1]).any()
    for mask, least in zip(masks, (0.08, 0.01), strict=True):
        assert mask.shape == image.shape and mask.dtype == np.bool_
        box = bounding_box(mask, image.shape)
        around = np.zeros_like(mask)
        around[box.top - 15 : box.bottom + 15, box.left - 15 : box.right + 15] = True
        assert image[mask].mean() > image[around & ~mask].mean() + least * 65535
    wall, air = (image[:, 0], image[:, -1]) if side == "LEFT" else (image[:, -1], image[:, 0])
    assert wall[480:560].mean() > 5 * air.mean() > 0


def test_mlo_shows_the_muscle_and_cc_does_not():
    """The upper corner at the chest wall, a tenth of the breast below its top, against the lower one."""
    brighter = {}
    for view in ("CC", "MLO"):
        images = [draw_mammogram([], 1, "LEFT", view, 0.0, np.random.default_rng(i))[0] / 65535 for i in range(3)]
        brighter[view] = np.mean([image[280:340, :30].mean() - image[760:820, :30].mean() for image in images])
    assert brighter["MLO"] > 0.04
    assert abs(brighter["CC"]) < 0.04


def test_a_right_breast_is_turned_with_its_masks():
    left, right = (draw_mammogram([STAR], 2, side, "CC", 0.5, np.random.default_rng(1)) for side in ("LEFT", "RIGHT"))
    assert np.array_equal(left[0][:, ::-1], right[0]) and np.array_equal(left[1][0][:, ::-1], right[1][0])


def test_lesions_without_room_are_refused():
    with pytest.raises(ValueError, match="no room for a lesion"):
        draw_mammogram([ROUND] * 30, 2, "LEFT", "CC", 0.5, np.random.default_rng(0))


def test_a_patch_looks_like_one_cut_from_a_mammogram():
    """Mean, spread and edges of 16 of each; patches differ much, so the means agree to some standard errors."""
    drawn, cut = [], []
    for seed in range(16):
        generator = np.random.default_rng([10, seed])
        mass = choose_mass(bool(seed % 2), 0.5, generator)
        drawn.append(draw_patch(mass, 2, 0.5, generator) / 65535)
        image, masks = draw_mammogram([mass], 2, "LEFT", ("CC", "MLO")[seed // 2 % 2], 0.5, generator)
        cut.append(cut_patch(image, bounding_box(masks[0], image.shape), 128) / 65535)
    for measure in (_level, _spread, _edges, _middle):
        ours, theirs = (np.array([measure(patch) for patch in patches]) for patches in (drawn, cut))
        error = np.hypot(ours.std(), theirs.std()) / np.sqrt(16)
        assert abs(ours.mean() - theirs.mean()) < 4 * error


def _level(patch):
    return patch.mean()


def _spread(patch):
    return patch.std()


def _edges(patch):
    return np.hypot(*np.gradient(patch)).mean()


def _middle(patch):
    return patch[44:84, 44:84].mean() - patch.mean()
