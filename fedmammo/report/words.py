"""What a verdict says, in one plain sentence that never says more than its interval."""

from typing import Any

import pandas as pd

from fedmammo.config.arm import ALL, MEAN, Arm
from fedmammo.report.blocks import Cell
from fedmammo.report.chapter import Parts, cells, listed

LABELS = {
    "superior": "better: ",
    "non-inferior": "not worse: ",
    "inferior": "worse: ",
    "inconclusive": "open: ",
    "not assessable": "",
}  # of verdicts
MANY = 8  # hospitals, from which on the most frequent answer names none
DONE = {False: "simulated", True: "done at real hospitals"}  # whether a study is one at real hospitals
CAUTION = "few patients: read with caution"
CHANCE = 80  # per cent, with which patients that are needed would show the margin


def lead(verdicts: pd.DataFrame) -> Parts:
    """Say at which hospitals joining helps, does harm, or neither was shown, by the rows of verdicts.csv.

    Where no hospital can be told of, it is said of all patients together.
    """
    own = verdicts[~verdicts["tested_at"].isin([ALL, MEAN])]
    if own["ci_low"].isna().all():
        return plain(dict(verdicts.iloc[0]), 0)
    subject, metric, none = _subject(dict(own.iloc[0]))
    groups = {
        f"{subject} raises {metric}": own["ci_low"] > 0,
        f"{subject} lowers {metric}": own["ci_high"] < 0,
        none: (own["ci_low"] <= 0) & (own["ci_high"] >= 0),
        "it cannot be told": own["ci_low"].isna(),
    }
    largest = max(groups, key=lambda name: int(groups[name].sum()))
    unnamed = largest if len(own) > MANY else ""
    cautious = own["note"].str.contains("cautious", regex=False)
    few = cells("verdicts", own[cautious], "tested_at")
    caution: Parts = [f"; {CAUTION} at ", *listed(few)] if few else []
    said: Parts = []
    for name, chosen in sorted(groups.items(), key=lambda group: group[0] == unnamed):
        if chosen.all():
            everywhere = f"{name} at {'every' if name.startswith(subject) else 'any'} hospital"
            return [_begin(everywhere), *caution, "."]
        if chosen.any():
            names = cells("verdicts", own[chosen], "tested_at")
            said += ["; ", name, " at ", *(["the other hospitals"] if name == unnamed else listed(names))]
    return [_begin(str(said[1])), *said[2:], *caution, "."]


def _subject(row: dict[Any, Any]) -> tuple[str, str, str]:
    """Return what is asked about, the metric's name, and how it is said that nothing was shown."""
    arm, against = row["arm"], row["against"]
    who, none = f"{arm} in place of {against}", f"no difference between {arm} and {against} can be shown"
    if against == "local" and Arm.of(arm).joins:
        who, none = "joining" if arm == "federated" else f"joining ({arm})", "no difference can be shown"
    return who, f"the {str(row['metric']).upper().replace('_', ' ')} per {row['unit']}", none


def plain(row: dict[str, Any], at: int) -> Parts:
    """Say what row number `at` of verdicts.csv says; numbers are cells of it."""

    def cell(key: str) -> Cell:
        return Cell("verdicts", at, key, row[key])

    everybody = row["tested_at"] == ALL
    who, metric, none = _subject(row)
    against = " against the mean local model" if everybody and row["against"] == "local" else ""
    where = "Over all hospitals' patients, " if everybody else ""
    if row["tested_at"] == MEAN:
        where = "On average over hospitals, "
    if row["verdict"] == "not assessable":
        return [_begin(f"{where}it cannot be told: "), str(row["note"]).removeprefix("no interval: "), "."]
    change: Parts = [cell("difference"), " (", cell("ci_low"), " to ", cell("ci_high"), ")"]
    caution: Parts = [f"; {row['note'].partition(';')[0]}"] if row["tested_at"] == MEAN else []
    caution += [f"; {CAUTION}"] if "cautious" in str(row["note"]) else []
    if row["ci_low"] > 0:
        return [_begin(f"{where}{who} raises {metric}{against} by "), *change, *caution, "."]
    if row["ci_high"] < 0:
        loss: Parts = ["; whether by more than ", cell("margin"), " was not shown"] * (row["verdict"] == "inconclusive")
        return [_begin(f"{where}{who} lowers {metric}{against}: "), *change, *loss, *caution, "."]
    ruled_out: Parts = ["; a loss of more than ", cell("margin"), " is ruled out"] * (row["verdict"] == "non-inferior")
    more = pd.notna(row["patients_needed"]) and row["patients_needed"] > row["patients"]
    needed: Parts = ["; about ", cell("patients_needed"), " would show ", cell("margin"), f" ({CHANCE} % sure)"]
    said = [_begin(f"{where}{none} with "), cell("patients"), " patients: ", *change]
    return [*said, *ruled_out, *(needed if more else []), *caution, "."]


def _begin(text: str) -> str:
    return text[0].upper() + text[1:]
