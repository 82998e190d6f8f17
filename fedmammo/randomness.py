"""Ordinary randomness: every stream is named by what it is for, never by call order, process or clock."""

import hashlib

import numpy as np


def seed_of(*name: str | int) -> int:
    """Return the 63-bit seed of a named stream, such as (study seed, arm, setting, stage, round, hospital)."""
    digest = hashlib.sha256("/".join(str(part) for part in name).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator_of(*name: str | int) -> np.random.Generator:
    """Return numpy's generator for the stream with this name."""
    return np.random.default_rng(seed_of(*name))
