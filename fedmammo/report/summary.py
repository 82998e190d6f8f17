"""What a study says, on one screen: a verdict for each hospital, one short table, and where the rest lies."""

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd

from fedmammo.config.arm import ALL, MEAN
from fedmammo.config.setting import Setting
from fedmammo.report import answers, terminal
from fedmammo.run.results import Run

ARMS = {"local": "local (mean)", "reader": "reader"}
FEWEST_NOISES = 10  # draws of noise, to say what a budget costs
NEED_ROWS = ("ROC curves", "calibration", "decision curves", "what each hospital is worth")
STYLES = {"superior": "green", "non-inferior": "green", "inferior": "red"}
FILES = {
    "report.html": "all of this to look at",
    "verdicts.csv": "these sentences with their numbers, what varies and what is fixed",
    "results.csv": "every metric of every model at every hospital, draw by draw",
    "comparisons.csv": "all differences; those marked secondary are not adjusted",
    "heterogeneity.csv": "how differences vary from hospital to hospital",
    "values.csv": "what each hospital is worth, to all and to each other one",
    "learning_curve.csv": "how far more hospitals or patients would carry",
    "subgroups.csv": "by density, subtlety, type of lesion and view",
    "decision_curve.csv": "what acting on the scores is worth",
    "tested.csv": "how each hospital tells of its tested patients",
}


def summary(run: Run) -> None:
    """Print it."""
    primary = run.study.evaluation.primary
    verdicts, unit = run.verdicts, run.study.evaluation.unit
    if len(verdicts):
        first = verdicts.iloc[0]
        terminal.out.print(
            f"{primary.arm} against {primary.against}, setting {first['setting']}: "
            f"{primary.metric} per {unit}, margin {primary.margin:g}; 95 % intervals over {first['varies']}; "
            f"fixed: {first['fixed']}",
            style="bold",
            soft_wrap=False,
        )
    for row in verdicts.to_dict("records"):
        terminal.out.print(f"{row['sentence']}", style=STYLES.get(str(row["verdict"])))
    who = "all test patients" if run.together == ALL else f"random-effects {MEAN}, each on its own test patients"
    terminal.table(arms(run), f"{who} (those with a malignant lesion); {primary.metric} per {unit}, 95 % interval")
    for line in at_home(run):
        terminal.out.print(line)
    for line in budgets(run):
        terminal.out.print(line)
    for frame, what in (
        (answers.differences(run), "differences; at each hospital the model that it would be given"),
        (answers.worth(run), "what each hospital's joining is worth to all"),
    ):
        if len(frame):
            terminal.table(frame, f"{what}; {primary.metric} per {unit}, 95 % interval")
    for line in answers.curves(run):
        terminal.out.print(line)
    there = [f"{name} ({about})" for name, about in FILES.items() if (run.folder / name).exists()]
    terminal.out.print(f"{run.folder}: {', '.join(there)}", style="dim")


def at_home(run: Run) -> list[str]:
    """Say which hospitals keep the scores of their tested patients, and what that leaves out."""
    if not run.has("tested"):
        return []
    how = {"summaries": "counts and metrics alone leave", "not": "nothing leaves"}
    found = []
    for kind, leaves in how.items():
        names = run.tested.loc[run.tested["scores"] == kind, "hospital"]
        if len(names):
            found.append(f"of tested patients {leaves} (scores: {kind}): {', '.join(names)}")
    return [*found, f"undefined: what all patients together would give, such as {', '.join(NEED_ROWS)}"]


def _arm(name: str) -> str:
    return ARMS.get(name, name)


def arms(run: Run) -> pd.DataFrame:
    """Return a row for each arm and setting, tested on all patients, mean over repeats."""
    study, results = run.study.evaluation, run.results
    everywhere = (results["seed"] == ALL) & (results["trained_at"] == ALL) & (results["tested_at"] == run.together)
    whole = results[everywhere & (results["unit"] == study.unit)]
    whole = whole[whole["metric"] == study.primary.metric]
    order = {setting: at for at, setting in enumerate([*run.study.settings, *whole["setting"]])}
    rows = []
    for row in whole.iloc[np.argsort(whole["setting"].map(order), kind="stable")].to_dict("records"):
        place = {"setting": "" if row["arm"] == "reader" else row["setting"], "arm": _arm(str(row["arm"]))}
        who = "" if pd.isna(row["patients"]) else f"{row['patients']} ({row['positives']})"
        rows.append({**place, str(row["metric"]): _estimate(row), "patients": who})
    return pd.DataFrame(rows)


def _estimate(row: dict[Hashable, Any]) -> str:
    if pd.isna(row["value"]):
        return "undefined"
    limits = "" if pd.isna(row["ci_low"]) else f" ({answers.short(row['ci_low'])}, {answers.short(row['ci_high'])})"
    return f"{answers.short(row['value'])}{limits}"


SHOWN = ("auroc", "sensitivity_at_90_specificity", "brier", "calibration_slope")


def comparison(table: pd.DataFrame) -> pd.DataFrame:
    """Return what to show of a comparison of two runs: differences of each arm and setting on all patients."""
    unit = table["unit"].iloc[0]
    chosen = (table["tested_at"] == ALL) & (table["unit"] == unit) & table["metric"].isin(SHOWN)
    rows = []
    for row in table[chosen].to_dict("records"):
        metric = str(row["metric"]).replace("_", " ")
        limits = f" ({row['ci_low']:+.3f}, {row['ci_high']:+.3f})" if pd.notna(row["ci_low"]) else f", {row['note']}"
        rows.append(
            {
                "arm": _arm(str(row["arm"])),
                "setting": row["setting"],
                "metric": f"{metric}, better: {row['better']}",
                "difference": f"{row['difference']:+.3f}{limits}" if pd.notna(row["difference"]) else row["note"],
            }
        )
    return pd.DataFrame(rows)


def budgets(run: Run) -> list[str]:
    """Say of each budget what was spent, what that covers, and what it costs the federated arm, if that is known."""
    results, lines = run.results, []
    for name in (name for name in run.study.settings if Setting.of(name).epsilon is not None):
        spent = results[(results["setting"] == name) & (results["seed"] == ALL)]
        by_arm = spent.groupby("arm", sort=False)["end_to_end"].first()
        covers = (
            by_arm.iloc[0] if by_arm.nunique() == 1 else ", ".join(f"{held} ({arm})" for arm, held in by_arm.items())
        )
        promise = f"{name}: epsilon {spent['epsilon'].max():.3g} at delta {spent['delta'].max():g}, covers {covers}"
        lines.append(f"{promise}; costs {_cost(run, name)}")
    return lines


def _cost(run: Run, name: str) -> str:
    """Say what a budget costs: the difference to the same recipe without, with its interval, or why it is not known."""
    comparisons, place, study = run.comparisons, run.together, run.study.evaluation
    about = {
        "metric": study.primary.metric,
        "unit": study.unit,
        "tested_at": place,
        "setting": name,
        "arm": "federated",
    }
    same = comparisons[(comparisons[list(about)] == pd.Series(about)).all(axis=1)]
    same = same[same["against"] == "federated"]
    kind = Setting.of(name).kind
    rows = same[[Setting.of(other)[:2] == (kind, None) for other in same["against_setting"]]]
    if rows.empty:
        return f"not known: add {name.replace('-epsilon', '-as-epsilon')}, the same without a budget"
    row = rows.iloc[0]
    if row["repeats"] < FEWEST_NOISES:
        return f"not known: draws of its noise: {row['repeats']}, {FEWEST_NOISES} are needed"
    if pd.isna(row["ci_low"]):
        return f"not known: {row['note']}"
    return f"{-row['difference']:.3f} ({-row['ci_high']:.3f} to {-row['ci_low']:.3f}) federated"
