"""Rounds, steps, traffic and hours by hand, and as Flower's arrays and a loop of training count them."""

from typing import Any

import pytest
import torch

from fedmammo.config.study import parse
from fedmammo.federation.messages import pack, size
from fedmammo.planning.costs import Member, bytes_of, costs_of, images_per_step


def test_bytes_are_those_that_travel() -> None:
    """A head of 2304 numbers and one: 2 x 128 + 4 x 2305 = 9476 bytes."""
    shapes: dict[str, tuple[int, ...]] = {"head.weight": (1, 2304), "head.bias": (1,), "scale": (), "none": (0, 3)}
    assert bytes_of({name: shapes[name] for name in ("head.weight", "head.bias")}) == 9476
    assert bytes_of(shapes) == size(pack({name: torch.zeros(shape) for name, shape in shapes.items()}))


def test_costs_by_hand(small_study: dict[str, Any]) -> None:
    """2 rounds of 2 steps on half of 60 images, 2 views each: 240 images at 20 a second are 12 s.

    A megabyte up and one down, twice, at 8 megabits a second: 4 s more where it travels.
    """
    small_study["diagnosis"] |= {"patient_fraction": 0.5, "augmentation": {"flips": "both", "views_per_step": 2}}
    config = parse(small_study, "small")
    members = [Member("north", 30, 60, 8.0, 20.0)]
    (federated,) = costs_of(config.deployment("federated", "real"), members, 1_000_000)
    (local,) = costs_of(config.deployment("local", "real"), members, 1_000_000)
    assert federated["simulated_hours"] == pytest.approx(16 / 3600)
    assert (federated["megabytes_up"], federated["megabytes_down"]) == (2.0, 2.0)
    assert local["simulated_hours"] == pytest.approx(12 / 3600) and local["megabytes_up"] == 0.0
    assert (local["rounds"], local["steps"], local["hospital"]) == (2, 4, "north")


@pytest.mark.parametrize(
    ("flips", "crops", "views", "read"),
    [("none", 0, 3, 10), ("horizontal", 1, 3, 30), ("both", 0, 9, 40), ("dihedral", 0, 9, 80)],
)
def test_no_more_views_are_read_than_there_are(
    flips: str, crops: int, views: int, read: int, small_study: dict[str, Any]
) -> None:
    small_study["diagnosis"]["augmentation"] = {"flips": flips, "crops": crops, "views_per_step": views}
    assert images_per_step(10, parse(small_study, "small").deployment("local", "real")) == read
