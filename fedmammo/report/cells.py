"""Values in tables, on the screen and on pages alike."""

import math
from typing import Any

import pandas as pd


def cell_text(value: Any) -> str:
    """Show a value: whole numbers whole, others with three digits after the point, missing ones as nothing.

    Of a number below .0005 the first two digits that count are shown.
    """
    if value is None or value is pd.NA or value != value:
        return ""
    if not isinstance(value, float):
        return str(value)
    if math.isinf(value) or abs(value) >= 0.0005:
        return f"{value:.0f}" if value.is_integer() else f"{value:.3f}"
    return f"{value:.2g}"
