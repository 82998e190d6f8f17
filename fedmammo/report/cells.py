"""Values in tables, on the screen and on pages alike."""

from typing import Any

import pandas as pd


def cell_text(value: Any) -> str:
    """Show a value: whole numbers whole, others with three digits after the point, missing ones as nothing."""
    if value is None or value is pd.NA or value != value:
        return ""
    if isinstance(value, float):
        return f"{value:.0f}" if value == int(value) else f"{round(value, 3) + 0:.3f}"  # + 0: no -0.000
    return str(value)
