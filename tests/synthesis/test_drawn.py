"""The source `phantom`."""

import numpy as np

from fedmammo.synthesis.drawn import draw_phantoms
from fedmammo.synthesis.sources import FromPhantom


def source(**keys: float) -> FromPhantom:
    return FromPhantom.model_validate({"source": "phantom", **keys})


def test_half_are_malignant_and_more_begin_with_the_same() -> None:
    few, more = (draw_phantoms(source(images=count), side=64) for count in (4, 6))
    assert few.malignant.tolist() == [False, True, False, True]
    assert set(few.origin) == {"phantom"}
    assert few.patches.shape == (4, 64, 64) and few.patches.dtype == np.uint16
    assert np.array_equal(more.patches[:4], few.patches)
    assert len({patch.tobytes() for patch in more.patches}) == 6


def test_seed_and_difficulty_matter() -> None:
    plain = draw_phantoms(source(images=2), side=64).patches
    for other in (source(images=2, seed=1), source(images=2, difficulty=0.1)):
        assert not np.array_equal(draw_phantoms(other, side=64).patches, plain)
