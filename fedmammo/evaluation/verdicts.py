"""verdicts.csv: for each hospital and over all, what the primary comparison's interval says, in one sentence."""

from typing import Any

import numpy as np
import pandas as pd

from fedmammo.config.arm import ALL, MEAN
from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.evaluation.intervals import POWER, Verdict, patients_needed, verdict_of
from fedmammo.evaluation.predictions import Predictions

VERDICTS = [
    *("tested_at", "verdict", "difference", "ci_low", "ci_high", "p", "p_holm", "margin", "patients_needed", "to_show"),
    *("patients", "positives", "metric", "unit", "arm", "against", "setting", "varies", "fixed", "note", "sentence"),
]


def verdicts_of(comparisons: pd.DataFrame, config: EvaluationConfig, varies: str, fixed: str) -> pd.DataFrame:
    """Return a row for all patients and one for each hospital; none where the primary comparison was not run.

    Args:
        comparisons: as `fedmammo.evaluation.tables` makes them.
        config: names the comparison and its margin; a metric of which more is better.
        varies: what intervals let vary, as `what_varies` says it.
        fixed: what they take as it is, likewise.
    """
    rows, margin = [], config.primary.margin
    for found in comparisons[comparisons["role"] != "secondary"].to_dict("records"):
        row: dict[str, Any] = {str(key): value for key, value in found.items()}
        verdict = verdict_of(row["ci_low"], row["ci_high"], margin)
        if verdict == "not assessable":
            row["difference"] = np.nan  # counts stand in its place
        row["patients_needed"] = np.nan  # over hospitals, more of these would be needed as well
        if row["tested_at"] != MEAN and verdict != "not assessable":
            row["patients_needed"] = patients_needed(row["error"], row["of_repeats"], row["patients"], margin)
        aim = f"a true difference of {margin:+g} as superior, with a probability of {100 * POWER:g} %"
        row["to_show"] = "" if np.isnan(row["patients_needed"]) else aim
        shared = {name: row[name] for name in VERDICTS if name in row}
        of_row = f"hospitals, {varies}" if row["tested_at"] == MEAN else varies
        about = {"verdict": verdict, "margin": margin, "varies": of_row, "fixed": fixed}
        rows.append(shared | about | {"sentence": sentence(row, verdict, margin)})
    table = pd.DataFrame(rows, columns=VERDICTS)
    whole = dict.fromkeys(("patients_needed", "patients", "positives"), "Int64")  # whole numbers, or empty
    return table.astype(whole)


def what_varies(predictions: Predictions) -> tuple[str, str]:
    """Say what intervals let vary, and what they take as it is.

    A rule such as density deals hospitals the same patients in each draw, of whom others set cuts.
    """
    return varied(len(predictions.seeds), len(predictions.draws), predictions.folds, predictions.dealings)


def varied(seeds: int, draws: int, folds: int, dealings: int = 1) -> tuple[str, str]:
    """Say the same by the number of seeds, of draws, of folds, and in how many ways draws deal tested patients."""
    drawn = "draws of hospitals" if dealings > 1 else "draws of who sets cuts"
    parts = [("patients tested", True), (f"{seeds} seeds", seeds > 1), (f"{draws} {drawn}", draws > 1)]
    varies = [name for name, varied in parts if varied]
    fixed = ["patients learned from"] if draws > 1 else ["patients learned from and who set cuts"]
    fixed += ["seed"] if seeds == 1 else []
    fixed += ["hospitals' patients"] if dealings == 1 else []
    # each hospital deals its own patients to folds
    fixed += ["folds"] if folds > 1 and seeds == dealings == 1 else []
    return ", ".join(varies), ", ".join(fixed)


def sentence(row: dict[str, Any], verdict: Verdict, margin: float) -> str:
    """Say it in one sentence. `row`: of a comparison, with `patients_needed`."""
    where = "all hospitals" if row["tested_at"] == ALL else str(row["tested_at"])
    arm, against = str(row["arm"]), "its own model" if row["against"] == "local" else str(row["against"])
    if row["tested_at"] == ALL and row["against"] == "local":
        against = "local models, each tested on all hospitals' patients"
    if row["tested_at"] == MEAN:
        where = MEAN if verdict == "not assessable" else str(row["note"]).partition(";")[0]
        against = "local models, each at its own hospital" if row["against"] == "local" else against
    who = "" if pd.isna(row["patients"]) else f"{row['patients']} patients, {row['positives']} with a malignant lesion"
    left = next((f"; {part}" for part in str(row["note"]).split("; ") if " left out: " in part), "")
    if verdict == "not assessable":
        why = str(row["note"]).removeprefix("no interval: ")
        return f"{where}: not assessable{f' ({who})' if who else ''}: {why}."
    digits = _digits(row["ci_low"], row["ci_high"], margin)
    shown = (f"{row[key]:+.{digits}f}" for key in ("difference", "ci_low", "ci_high"))
    change = "{} ({} to {})".format(*shown)
    worse = float(row["ci_high"]) < 0
    says = {
        "superior": f"{arm} is better than {against}",
        "non-inferior": f"{arm} is not worse by more than {margin:g} than {against}; better was not shown",
        "inferior": f"{arm} is worse by more than {margin:g} than {against}",
        "inconclusive": f"neither better nor worse was shown for {arm} against {against}",
    }[verdict]
    if worse and verdict == "non-inferior":
        says = f"{arm} is worse, but not by more than {margin:g}, than {against}"
    if worse and verdict == "inconclusive":
        says = f"{arm} is worse than {against}; whether by more than {margin:g} was not shown"
    needed = row["patients_needed"]
    more = row["ci_low"] <= 0 and not worse and needed > row["patients"]
    then = f"; about {needed:.0f} patients would show a true difference of {margin:+g}" if more else ""
    return f"{where}: {verdict}: {says}: {change}; {who}{then}{left}."


def _digits(low: float, high: float, margin: float) -> int:
    """Return how many digits after the point keep limits, as they are printed, on their side of 0 and of the margin."""

    def sides(limits: tuple[float, float]) -> list[tuple[bool, bool]]:
        return [(limit > end, limit < end) for limit in limits for end in (0, -margin)]

    told = (digits for digits in range(3, 17) if sides((round(low, digits), round(high, digits))) == sides((low, high)))
    return next(told, 17)
