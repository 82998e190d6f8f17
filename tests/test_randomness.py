"""Streams are named: the same name gives the same numbers, in every process and version."""

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedmammo.randomness import generator_of, seed_of

parts = st.lists(st.text(st.characters(exclude_characters="/"), min_size=1) | st.integers(), min_size=1, max_size=5)


def test_a_seed_is_the_top_63_bits_of_a_digest() -> None:
    """SHA-256 of the published test vector "abc" starts ba7816bf 8f01cfea (FIPS 180-4, appendix): halved, 63 bits.

    0xba7816bf8f01cfea // 2 = 0x5d3c0b5fc780e7f5.
    """
    assert seed_of("abc") == 0x5D3C0B5FC780E7F5


def test_parts_of_a_name_are_joined_by_slashes() -> None:
    assert seed_of(0, "local", 3) == int(hashlib.sha256(b"0/local/3").hexdigest()[:16], 16) // 2


@given(name=parts, other=parts)
def test_other_names_are_other_streams(name: list[str | int], other: list[str | int]) -> None:
    same = [str(part) for part in name] == [str(part) for part in other]
    assert (seed_of(*name) == seed_of(*other)) == same
    assert 0 <= seed_of(*name) < 2**63


def test_a_generator_depends_on_its_name_alone() -> None:
    first = generator_of(1, "round", 2).random(3)
    np.random.default_rng().random(5)
    generator_of(1, "round", 3).random(7)
    assert np.array_equal(generator_of(1, "round", 2).random(3), first)
    assert not np.array_equal(generator_of(1, "round", 3).random(3), first)
