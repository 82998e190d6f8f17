"""published.csv: what others published, for a report to show beside a study's own scores."""

from importlib.resources import files

import pandas as pd


def published() -> pd.DataFrame:
    """Return the published values that stand with the package."""
    with (files("fedmammo.run") / "published.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)
