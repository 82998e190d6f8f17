"""What the terminal says beyond the one question of a study: other ways to join, hospitals' worth, learning curves."""

import pandas as pd

from fedmammo.config.arm import ALL, ARMS
from fedmammo.report.chapter import setting_of
from fedmammo.run.results import Run

_LIMITS = ("ci_low", "ci_high")


def differences(run: Run) -> pd.DataFrame:
    """Return a row for each pair of arms that is told from hospital to hospital; empty where three arms are all.

    On all patients; on average over hospitals, each with its own patients and the model that it would be given; and
    between which limits that of a new hospital lies.
    """
    if not run.has("heterogeneity") or set(run.study.arms) <= set(ARMS):
        return pd.DataFrame()
    table, primary, unit = run.heterogeneity, run.study.evaluation.primary, run.study.evaluation.unit
    everywhere = run.comparisons
    everywhere = everywhere[(everywhere["metric"] == primary.metric) & (everywhere["unit"] == unit)]
    everywhere = everywhere[(everywhere["tested_at"] == ALL) & (everywhere["setting"] == setting_of(run))]
    rows = []
    for (arm, against), part in table.groupby(["arm", "against"], sort=False):
        mean, new = (part[part["what"] == what] for what in ("mean", "new hospital"))
        whole = everywhere[(everywhere["arm"] == arm) & (everywhere["against"] == against)]
        limits = new.iloc[0] if len(new) and pd.notna(new.iloc[0]["ci_low"]) else None
        rows.append(
            {
                "arm": arm,
                "minus": against,
                "all patients": _told(whole.iloc[0], "difference") if len(whole) else "",
                "mean over hospitals": _told(mean.iloc[0], "estimate"),
                "a new hospital": "" if limits is None else " to ".join(short(limits[key], "+") for key in _LIMITS),
            }
        )
    found = pd.DataFrame(rows)
    return found if run.together == ALL else found.drop(columns="all patients")


def worth(run: Run) -> pd.DataFrame:
    """Return what each hospital's joining is worth on all patients; empty where three arms are all."""
    if not run.has("values") or set(run.study.arms) <= set(ARMS):
        return pd.DataFrame()
    table = run.values
    table = table[(table["tested_at"] == ALL) & (table["setting"] == setting_of(run))]
    columns = {"shapley": "in any order (Shapley)", "last-in": "joining last"}
    rows: dict[str, dict[str, str]] = {}
    for row in table.to_dict("records"):
        told = pd.Series(row)
        rows.setdefault(str(row["hospital"]), {"hospital": str(row["hospital"])})[columns[row["what"]]] = _told(
            told, "value"
        )
    return pd.DataFrame(list(rows.values())).fillna("")


def curves(run: Run) -> list[str]:
    """Say how far each learning curve has come, and where it would be at twice the size."""
    if not run.has("learning_curve"):
        return []
    table, lines = run.learning_curve, []
    for by, part in table[table["setting"] == setting_of(run)].groupby("by", sort=False):
        what, _, arm = str(by).partition(", ")
        seen, beyond = (part[part["what"] == kind].iloc[-1] for kind in ("seen", "extrapolated"))
        reached = f"{seen['size']:.0f} {what}{f' ({arm})' if arm else ''}: {_told(seen, 'value', sign='')}"
        ahead = f"{beyond['size']:.0f} would give {_told(beyond, 'value', sign='')}"
        lines.append(f"{reached}; {ahead if pd.notna(beyond['value']) else beyond['note']}")
    return lines


def _told(row: pd.Series, key: str, sign: str = "+") -> str:
    if pd.isna(row[key]):
        return "not told"
    limits = "" if pd.isna(row["ci_low"]) else f" ({', '.join(short(row[key], sign) for key in _LIMITS)})"
    return short(row[key], sign) + limits


def short(value: float, sign: str = "") -> str:
    """Write a number with three digits after the point, without a leading 0."""
    return f"{value:{sign}.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:{sign}.2f}"
