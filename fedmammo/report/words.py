"""What a verdict says, in one plain sentence that never says more than its interval."""

from typing import Any

import pandas as pd

from fedmammo.config.arm import ALL
from fedmammo.report.blocks import Cell

Parts = list[str | Cell]


def plain(row: dict[str, Any], at: int) -> Parts:
    """Say what row number `at` of verdicts.csv says; numbers are cells of it."""

    def cell(key: str) -> Cell:
        return Cell("verdicts", at, key, row[key])

    everybody = row["tested_at"] == ALL
    joining = (row["arm"], row["against"]) == ("federated", "local")
    who = "joining" if joining else f"{row['arm']} in place of {row['against']}"
    against = " against the mean local model" if everybody and row["against"] == "local" else ""
    where = "Over all hospitals' patients, " if everybody else ""
    metric = f"the {str(row['metric']).upper().replace('_', ' ')} per {row['unit']}"
    if row["verdict"] == "not assessable":
        return [_begin(f"{where}it cannot be told: "), str(row["note"]).removeprefix("no interval: "), "."]
    change: Parts = [cell("difference"), " (", cell("ci_low"), " to ", cell("ci_high"), ")"]
    if row["ci_low"] > 0:
        return [_begin(f"{where}{who} raises {metric}{against} by "), *change, "."]
    if row["ci_high"] < 0:
        loss: Parts = ["; whether by more than ", cell("margin"), " was not shown"] * (row["verdict"] == "inconclusive")
        return [_begin(f"{where}{who} lowers {metric}{against}: "), *change, *loss, "."]
    ruled_out: Parts = ["; a loss of more than ", cell("margin"), " is ruled out"] * (row["verdict"] == "non-inferior")
    more = pd.notna(row["patients_needed"]) and row["patients_needed"] > row["patients"]
    needed: Parts = ["; about ", cell("patients_needed"), " would show a difference of ", cell("margin")] * bool(more)
    said = [_begin(f"{where}no difference can be shown with "), cell("patients"), " patients: ", *change]
    return [*said, *ruled_out, *needed, "."]


def _begin(text: str) -> str:
    return text[0].upper() + text[1:]
