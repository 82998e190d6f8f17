"""Quotas by hand, and as a property; a pool of two generators."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedmammo.models.mcgan import build_mcgan
from fedmammo.synthesis.sampling import sample_pool, shares
from fedmammo.synthesis.sources import FromGan


def test_shares_by_hand() -> None:
    """10 among weights 5, 3, 1: exactly 5.56, 3.33, 1.11; floors leave one, which goes to the largest remainder."""
    assert shares(np.array([5.0, 3.0, 1.0]), 10).tolist() == [6, 3, 1]
    assert shares(np.array([0.0, 2.0]), 3).tolist() == [0, 3]
    assert shares(np.array([0.0, 0.0]), 3).tolist() == [0, 0]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.integers(0, 200))
def test_shares_add_up_and_are_within_one_of_exact(weights: list[int], total: int) -> None:
    parts = shares(np.array(weights, dtype=float), total)
    if sum(weights):
        assert parts.sum() == total
        assert np.abs(parts - total * np.array(weights) / sum(weights)).max() < 1
    assert (parts[np.array(weights) == 0] == 0).all()


def test_a_pool_is_half_of_each_class_and_a_class_nobody_has_is_not_there() -> None:
    """Weights 3 and 1 of 4 benign images: 3 and 1. Nobody has a malignant patient: no malignant image."""
    source = FromGan(source="gan", image_size=32, width=4, images=8)
    generator = build_mcgan(source).tensors("average")
    patients = {"north": np.array([3.0, 0.0]), "south": np.array([1.0, 0.0])}
    pool = sample_pool(source, {"north": generator, "south": generator}, patients)
    assert pool.patches.shape == (4, 32, 32) and pool.patches.dtype == np.uint16
    assert pool.origin.tolist() == ["north", "north", "north", "south"]
    assert not pool.malignant.any()
    both = sample_pool(source, {"north": generator}, {"north": np.array([1.0, 1.0])})
    assert both.malignant.tolist() == [False] * 4 + [True] * 4
    assert (both.patches[:3] == pool.patches[:3]).all()  # an image depends on generator, class and number alone
