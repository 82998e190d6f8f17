"""A part of a page that the terminal shows."""

from dataclasses import dataclass, field

import pandas as pd


@dataclass
class Part:
    """A title, a table, and lines of text below it."""

    title: str
    lines: list[str] = field(default_factory=list)
    table: pd.DataFrame | None = None
