"""What a section of a study's report is: which tables it draws, and how."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fedmammo.config.arm import ALL
from fedmammo.config.study import StudyConfig
from fedmammo.report.blocks import Block, Cell
from fedmammo.run.results import Run

Parts = list[str | Cell]
SPELLED = {"centralized": "centralised"}  # arms whose names in tables are spelt otherwise


@dataclass(frozen=True)
class Chapter:
    """A section of the report of a run.

    Attributes:
        name: by which links find it.
        title: above it.
        needs: names of tables (attributes of `Run`) without which it is left out.
        blocks: what it shows of a run; nothing, where the tables have nothing for it.
    """

    name: str
    title: str
    needs: tuple[str, ...]
    blocks: Callable[[Run], Sequence[Block]]


def whole(run: Run) -> pd.DataFrame:
    """Return the rows of `results` that speak of all repeats, the study's unit and its primary metric."""
    results, study = run.results, run.study.evaluation
    chosen = (results["seed"] == ALL) & (results["unit"] == study.unit) & (results["metric"] == study.primary.metric)
    return results[chosen]


def differences_of(run: Run) -> pd.DataFrame:
    """Return the rows of `comparisons`, but for those of all patients where these are nowhere together."""
    table = run.comparisons
    return table if run.together == ALL else table[table["tested_at"] != ALL]


def setting_of(run: Run) -> str:
    """Return the setting of the primary comparison."""
    return run.study.evaluation.primary.setting or next(iter(run.study.settings))


def portable(study: StudyConfig) -> dict[str, Any]:
    """Return what determines a study's results, as a page may show it: of files and folders their names alone."""

    def shown(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shown(one) for key, one in value.items()}
        if isinstance(value, list):
            return [shown(one) for one in value]
        return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value

    content: dict[str, Any] = shown(study.without_engine())
    return content


NO_BREAK = "\N{NO-BREAK SPACE}"
HEADINGS = {"ci_low": "from", "ci_high": "to", "p_holm": "p, adjusted", "positives": "malignant"}


def headings(*keys: str) -> dict[str, str]:
    """Return headings of columns of a run's tables."""
    return {key: HEADINGS.get(key, key.replace("_", " ")) for key in keys}


def cells(file: str, frame: pd.DataFrame, key: str) -> list[Cell]:
    """Return a column of some rows of a table, cell by cell."""
    return [Cell(file, int(str(at)), key, value) for at, value in frame[key].items()]


def listed(parts: Iterable[Parts | str | Cell], last: str = " and ") -> Parts:
    """Return parts as `a, b and c`."""
    items: list[Parts] = [list(part) if isinstance(part, list) else [part] for part in parts]
    joined: Parts = []
    for number, item in enumerate(items):
        between = [] if number == 0 else [last if number == len(items) - 1 else ", "]
        joined += [*between, *item]
    return joined


def estimate(file: str, row: pd.Series, value: str = "value") -> list[str | Cell]:
    """Return a row's estimate with its interval, or what is noted in its place."""
    at = int(str(row.name))
    if pd.isna(row[value]):
        return [Cell(file, at, "note", row["note"])]
    first: list[str | Cell] = [Cell(file, at, value, row[value])]
    if pd.isna(row["ci_low"]):
        return first
    low, high = (Cell(file, at, key, row[key]) for key in ("ci_low", "ci_high"))
    return [*first, " (", low, f"{NO_BREAK}to{NO_BREAK}", high, ")"]
