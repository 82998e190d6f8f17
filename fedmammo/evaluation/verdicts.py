"""verdicts.csv: for each hospital and over all, what the primary comparison's interval says, in one sentence."""

from typing import Any

import numpy as np
import pandas as pd

from fedmammo.config.arm import ALL
from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.evaluation.intervals import verdict_of
from fedmammo.evaluation.predictions import Predictions

VERDICTS = [
    *("tested_at", "verdict", "difference", "ci_low", "ci_high", "p", "p_holm", "margin", "patients", "positives"),
    *("metric", "unit", "arm", "against", "setting", "varies", "fixed", "note", "sentence"),
]


def verdicts_of(comparisons: pd.DataFrame, config: EvaluationConfig, varies: str, fixed: str) -> pd.DataFrame:
    """Return a row for all patients and one for each hospital; none where the primary comparison was not run.

    Args:
        comparisons: as `fedmammo.evaluation.tables` makes them.
        config: names the comparison and its margin; a metric of which more is better.
        varies: what intervals let vary, as `what_varies` says it.
        fixed: what they take as it is, likewise.
    """
    rows = []
    for found in comparisons[comparisons["role"] != "secondary"].to_dict("records"):
        row: dict[str, Any] = {str(key): value for key, value in found.items()}
        verdict = verdict_of(row["ci_low"], row["ci_high"], config.primary.margin)
        if verdict == "not assessable":
            row["difference"] = np.nan  # counts stand in its place
        shared = {name: row[name] for name in VERDICTS if name in row}
        about = {"verdict": verdict, "margin": config.primary.margin, "varies": varies, "fixed": fixed}
        rows.append(shared | about | {"sentence": sentence(row, verdict, config.primary.margin)})
    return pd.DataFrame(rows, columns=VERDICTS)


def what_varies(predictions: Predictions) -> tuple[str, str]:
    """Say what intervals let vary, and what they take as it is.

    A rule such as density deals hospitals the same patients in each draw, of whom others set cuts.
    """
    seeds, draws, dealings = len(predictions.seeds), len(predictions.draws), predictions.dealings
    drawn = "draws of hospitals" if dealings > 1 else "draws of who sets cuts"
    parts = [("patients tested", True), (f"{seeds} seeds", seeds > 1), (f"{draws} {drawn}", draws > 1)]
    varies = [name for name, varied in parts if varied]
    fixed = ["patients learned from"] if draws > 1 else ["patients learned from and who set cuts"]
    fixed += ["seed"] if seeds == 1 else []
    fixed += ["hospitals' patients"] if dealings == 1 else []
    # each hospital deals its own patients to folds
    fixed += ["folds"] if predictions.folds > 1 and seeds == dealings == 1 else []
    return ", ".join(varies), ", ".join(fixed)


def sentence(row: dict[str, Any], verdict: str, margin: float) -> str:
    """Say it in one sentence."""
    where = "all hospitals" if row["tested_at"] == ALL else str(row["tested_at"])
    arm, against = str(row["arm"]), "its own model" if row["against"] == "local" else str(row["against"])
    if row["tested_at"] == ALL and row["against"] == "local":
        against = "local models, each tested on all hospitals' patients"
    who = f"{row['patients']} patients, {row['positives']} with a malignant lesion"
    if verdict == "not assessable":
        why = str(row["note"]).removeprefix("no interval: ")
        return f"{where}: not assessable ({who}): {why}."
    change = f"{row['difference']:+.3f} ({row['ci_low']:+.3f} to {row['ci_high']:+.3f})"
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
    return f"{where}: {verdict}: {says}: {change}; {who}."
