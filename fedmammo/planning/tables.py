"""plan.csv and power.csv: how sure a study will be of its primary comparison, and of others with more patients."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fedmammo.config.arm import ALL
from fedmammo.evaluation.intervals import FEWEST_PATIENTS, POWER, patients_needed
from fedmammo.planning.auroc import power_of
from fedmammo.planning.precision import Components, Repeats, precision_of, why_no_interval
from fedmammo.planning.tested import Tested

PATIENTS = (20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1000, 1500, 2000, 3000, 5000)
"""Tested patients of which power.csv tells, beside those of the plan."""


class Basis(NamedTuple):
    """Where the numbers for one place come from.

    Attributes:
        name: `assumed`, or `pilot`.
        tested: who is tested there.
        parts: where the squared error comes from, with these patients.
        repeats: of the study.
        note: what was missing in the pilot.
    """

    name: str
    tested: Tested
    parts: Components
    repeats: Repeats
    note: str = ""


def plan_table(bases: Sequence[Basis], margin: float, true_difference: float) -> pd.DataFrame:
    """Return a row for each place and basis; `fedmammo.planning.dictionary` says what each column means.

    Args:
        bases: in the order of rows.
        margin: the largest loss that would not matter, above 0.
        true_difference: that is to be shown as non-inferior, above minus the margin.
    """
    return pd.DataFrame([_row(one, margin, true_difference) for one in bases])


def _row(one: Basis, margin: float, true_difference: float) -> dict[str, Any]:
    found = precision_of(one.parts, one.repeats)
    why = why_no_interval(one.repeats, one.tested.fewest)
    needed = [
        patients_needed(found.error, found.of_repeats, round(one.tested.patients), difference)
        for difference in (margin, true_difference + margin)
    ]
    return {
        "tested_at": one.tested.name,
        "basis": one.name,
        "patients": round(one.tested.patients),
        "positives": round(one.tested.positives),
        "repeats": one.repeats.seeds * one.repeats.draws,
        "half_width": found.half_width,
        "error": found.error,
        "of_repeats": found.of_repeats,
        "detectable": found.detectable,
        "power_superior": power_of(margin, found.error, found.freedom),
        "power_non_inferior": power_of(true_difference + margin, found.error, found.freedom),
        "patients_superior": needed[0],
        "patients_non_inferior": needed[1],
        "margin": margin,
        "note": "; ".join(filter(None, [why, one.note])),
    }


def power_table(bases: Sequence[Basis], margin: float, true_difference: float) -> pd.DataFrame:
    """Return power by numbers of tested patients, for each place and basis; arguments as in `plan_table`.

    Repeats stay as many as the study has, and what they differ by beside patients stays.
    """
    rows = []
    for one in bases:
        own = round(one.tested.patients)
        for patients in sorted({*PATIENTS, own}):
            if patients < 2 * FEWEST_PATIENTS:
                continue
            found = precision_of(one.parts.with_patients(patients), one.repeats)
            rows.append({
                "tested_at": one.tested.name,
                "basis": one.name,
                "patients": patients,
                "half_width": found.half_width,
                "detectable": found.detectable,
                "power_superior": power_of(margin, found.error, found.freedom),
                "power_non_inferior": power_of(true_difference + margin, found.error, found.freedom),
                "planned": patients == own,
            })  # fmt: skip
    return pd.DataFrame(rows)


def answer(table: pd.DataFrame) -> list[str]:
    """Say for each place, of the best basis there is, what the study can show."""
    lines = []
    for place, rows in table.groupby("tested_at", sort=False):
        row = rows.iloc[-1]
        where = "all hospitals" if place == ALL else str(place)
        who = f"{row['patients']} patients, {row['positives']} with a malignant lesion"
        if "fewer than" in row["note"] and "patients of a class" in row["note"]:
            lines.append(f"{where}: will not be assessable ({who}): fewer than {FEWEST_PATIENTS} patients of a class.")
            continue
        says = f"a true difference of {row['detectable']:+.3f} would be shown, with a probability of {100 * POWER:g} %"
        needed = row["patients_superior"]
        then = _more(row["margin"], needed, row["patients"])
        if row["note"].startswith("no interval"):
            then = f"; {row['note']}"
        lines.append(f"{where} ({row['basis']}): {says}; 95 % interval ±{row['half_width']:.3f}; {who}{then}.")
    return lines


def _more(margin: float, needed: float, patients: int) -> str:
    if np.isnan(needed):
        return f"; no number of patients would show {margin:+g}, because of seeds and draws: repeat more often"
    if needed > patients:
        return f"; about {needed:.0f} would show {margin:+g}"
    return ""
