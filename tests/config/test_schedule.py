"""Who takes part in which rounds, by hand."""

from typing import Any

import pytest
from pydantic import ValidationError

from fedmammo.config.schedule import Attendance


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7, 8]),
        ({"joins": 6}, [6, 7, 8]),
        ({"leaves": 3}, [1, 2]),
        ({"away": "3..5"}, [1, 2, 6, 7, 8]),
        ({"every": 3}, [1, 4, 7]),
        ({"joins": 2, "every": 3, "away": [5], "leaves": 8}, [2]),
    ],
)
def test_rounds_in_which_a_hospital_takes_part(keys: dict[str, Any], expected: list[int]) -> None:
    one = Attendance.model_validate({"hospital": "A", **keys})
    assert [number for number in range(1, 9) if one.present(number)] == expected


def test_nobody_leaves_before_joining() -> None:
    with pytest.raises(ValidationError, match="A: leaves in a round after the one in which it joins"):
        Attendance(hospital="A", joins=4, leaves=4)
