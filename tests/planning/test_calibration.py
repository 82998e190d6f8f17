"""What is timed has the sizes of what is trained."""

from typing import Any

import pytest

from fedmammo.config.study import parse
from fedmammo.models.classifier import initial_model
from fedmammo.planning.calibration import Calibration, calibrate, computing


@pytest.mark.parametrize("train", ["head", "last_blocks:1", "all"])
def test_shapes_are_those_of_the_study(train: str, small_study: dict[str, Any]) -> None:
    small_study["diagnosis"]["train"] = train
    config = parse(small_study, "small")
    found = calibrate(config.diagnosis, 1)
    assert found.shapes == {name: tuple(tensor.shape) for name, tensor in initial_model(config.diagnosis, 0).items()}
    assert found.step_seconds > 0 and (found.feature_seconds > 0) == (train != "all")
    assert found.head == (train == "head") and found.shapes["head.weight"] == (1, found.width)


def test_computing_by_hand(small_study: dict[str, Any]) -> None:
    """Three arms of 2 x 2 steps on 50 views at 1 ms, and features of 80 at 10 ms."""
    found = Calibration({}, 0.001, 0.01, 8, True)
    assert computing(list(parse(small_study, "small").deployments), 50, 80, found) == pytest.approx((0.8, 0.6))
