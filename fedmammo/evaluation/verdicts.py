"""verdicts.csv: for each hospital and over all, what the primary comparison's interval says, in one sentence."""

from typing import Any

import numpy as np
import pandas as pd

from fedmammo.config.arm import ALL
from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.evaluation.intervals import Interval, verdict_of
from fedmammo.evaluation.metrics import metrics_of

VERDICTS = [
    *("tested_at", "verdict", "difference", "ci_low", "ci_high", "p", "p_holm", "margin", "patients", "positives"),
    *("metric", "unit", "arm", "against", "setting", "varies", "fixed", "note", "sentence"),
]


def verdicts_of(comparisons: pd.DataFrame, config: EvaluationConfig, seeds: int, draws: int) -> pd.DataFrame:
    """Return a row for all patients and one for each hospital; none where the primary comparison was not run.

    Args:
        comparisons: as `fedmammo.evaluation.tables` makes them.
        config: names the comparison and its margin.
        seeds: how many the study has.
        draws: of hospitals, likewise.
    """
    rows = []
    varies, fixed = what_varies(seeds, draws, config.folds)
    for found in comparisons[comparisons["role"] != "secondary"].to_dict("records"):
        row: dict[str, Any] = {str(key): value for key, value in found.items()}
        lower = better_of(row["metric"], row["unit"]) == "lower"
        low, high = (-row["ci_high"], -row["ci_low"]) if lower else (row["ci_low"], row["ci_high"])
        verdict = verdict_of(Interval(low, high, np.nan, row["p"]), config.primary.margin)
        if verdict == "not assessable":
            row["difference"] = np.nan  # counts stand in its place
        shared = {name: row[name] for name in VERDICTS if name in row}
        about = {"verdict": verdict, "margin": config.primary.margin, "varies": varies, "fixed": fixed}
        rows.append(shared | about | {"sentence": sentence(row, verdict, config.primary.margin)})
    return pd.DataFrame(rows, columns=VERDICTS)


def better_of(name: str, unit: str) -> str:
    """Say which way a metric is better."""
    return next(one.better for one in metrics_of(unit) if one.name == name and one.unit == unit)  # type: ignore[arg-type]


def what_varies(seeds: int, draws: int, folds: int) -> tuple[str, str]:
    """Say what an interval lets vary, and what it takes as it is."""
    parts = [("patients tested", True), (f"{seeds} seeds", seeds > 1), (f"{draws} draws of hospitals", draws > 1)]
    varies = [name for name, varied in parts if varied]
    fixed = ["patients learned from and who set cuts"]
    fixed += ["seed"] if seeds == 1 else []
    fixed += ["hospitals' patients"] if draws == 1 else []
    fixed += ["folds"] if folds and seeds == draws == 1 else []  # each hospital deals its own patients to them
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
