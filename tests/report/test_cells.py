"""Values in tables."""

import numpy as np
import pandas as pd
import pytest

from fedmammo.report.cells import cell_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (pd.NA, ""),
        (np.nan, ""),
        (3, "3"),
        (3.0, "3"),
        (0.12345, "0.123"),
        ("a", "a"),
        (-0.5, "-0.500"),
        (-0.0001, "-0.0001"),
        (0.0, "0"),
        (0.00012345, "0.00012"),
        (np.inf, "inf"),
    ],
)
def test_values_are_short(value: object, text: str) -> None:
    assert cell_text(value) == text
