"""The first screen: should my hospital join? Answered per hospital and over all, by the verdicts."""

from collections.abc import Sequence

import pandas as pd

from fedmammo.config.arm import ALL
from fedmammo.report.blocks import Block, Cell, Figure, Rows, Side, Table, Text
from fedmammo.report.chapter import Chapter, estimate, headings, setting_of, whole
from fedmammo.report.charts import dots, forest
from fedmammo.report.words import plain
from fedmammo.run.results import Run

ARMS = {"local": "alone", "federated": "federated", "centralized": "centralised", "reader": "reader"}
MOST = 12  # hospitals in the charts of the first screen; all are in the table
_SCORES = headings("tested_at", "arm", "value", "ci_low", "ci_high", "patients", "positives", "note")
_VERDICTS = headings(
    *("tested_at", "verdict", "difference", "ci_low", "ci_high", "p", "p_holm", "margin", "patients_needed"),
    *("patients", "positives", "note"),
)


def blocks(run: Run) -> Sequence[Block]:
    """Return the answer over all and for each hospital: what was scored, how sure, at what cost."""
    verdicts = run.verdicts
    if verdicts.empty:
        return []
    first, scores = verdicts.iloc[0], _own_models(run)
    metric = f"{first['metric'].upper().replace('_', ' ')} per {first['unit']}"
    difference = f"{first['arm']} minus {first['against']}"
    places = list(verdicts["tested_at"])[: MOST + 1]
    shown, drawn = scores[scores["tested_at"].isin(places)], verdicts[verdicts["tested_at"].isin(places)]
    who: list[str | Cell] = [
        Cell("verdicts", 0, "patients", first["patients"]), " patients were tested, ",
        Cell("verdicts", 0, "positives", first["positives"]), " of them with a malignant lesion. ",
        "Intervals (95 %) let vary: ",
        Cell("verdicts", 0, "varies", first["varies"]), ". They take as they are: ",
        Cell("verdicts", 0, "fixed", first["fixed"]), ". Setting: ",
        Cell("verdicts", 0, "setting", first["setting"]), ".",
    ]  # fmt: skip
    return [
        Text(plain(dict(first), 0), "answer"),
        Text(who, "small"),
        Side([
            Figure(
                dots(shown[[*_SCORES]], "value", metric, "tested_at"),
                Table("What each arm scores on each hospital's patients", shown, _SCORES, "results", folded=True),
                "dots with intervals: what each arm scores on each hospital's patients",
            ),
            Figure(
                forest(drawn[[*_VERDICTS]], "tested_at", difference, float(first["margin"])),
                Table("Differences, with the margin", drawn, _VERDICTS, "verdicts", folded=True),
                "dots with intervals: what joining changes at each hospital; a dashed line is the margin",
            ),
        ]),
        _answers(run, scores),
        *_worst(scores, str(first["arm"])),
    ]  # fmt: skip


def _own_models(run: Run) -> pd.DataFrame:
    """Return what the model that each arm would give to each hospital scores there; local its own."""
    rows, setting = whole(run), setting_of(run)
    of_reader = rows["arm"] == "reader"
    own = (rows["trained_at"] == ALL) | ((rows["arm"] == "local") & (rows["trained_at"] == rows["tested_at"]))
    chosen = rows[own & ((rows["setting"] == setting) | of_reader)]
    places, arms = list(run.verdicts["tested_at"]), list(ARMS)
    order = chosen["tested_at"].map({name: at for at, name in enumerate(places)}) * len(arms) + chosen["arm"].map(
        arms.index
    )
    return chosen.loc[order.sort_values().index]


def _answers(run: Run, scores: pd.DataFrame) -> Rows:
    """Return a row for each hospital: the answer, who was tested, what each arm scores there, what it costs."""
    arms = [arm for arm in ARMS if arm in set(scores["arm"])]
    extras = [(title, found) for title, found in (_spent(run), _hours(run), _traffic(run)) if found]
    rows: list[list[str | Cell | Text]] = []
    for number, row in enumerate(run.verdicts.to_dict("records")):
        here = scores[scores["tested_at"] == row["tested_at"]]
        by_arm = [here[here["arm"] == arm] for arm in arms]
        rows.append([
            "all hospitals" if row["tested_at"] == ALL else Cell("verdicts", number, "tested_at", row["tested_at"]),
            Text(plain({str(key): value for key, value in row.items()}, number), str(row["verdict"]).replace(" ", "-")),
            Text([Cell("verdicts", number, "patients", row["patients"]), " (",
                  Cell("verdicts", number, "positives", row["positives"]), ")"]),
            *(Text(estimate("results", one.iloc[0])) if len(one) else "" for one in by_arm),
            *(found.get(str(row["tested_at"]), "") for _, found in extras),
        ])  # fmt: skip
    titles = [
        "hospital",
        "answer",
        "patients",
        *(ARMS[arm] for arm in arms),
        *(title for title, _ in extras),
    ]
    caption = (
        "Each hospital: its own patients, in brackets those with a malignant lesion; scores with 95 % intervals; what "
        "federated training costs it: the most epsilon of any setting, simulated hours, megabytes sent / received"
    )
    return Rows(caption, titles, rows)


def _worst(scores: pd.DataFrame, arm: str) -> list[Block]:
    """Say at which hospital an arm's model scores lowest."""
    own = scores[(scores["arm"] == arm) & (scores["tested_at"] != ALL) & scores["value"].notna()]
    if len(own) < 2:
        return []
    row = own.sort_values("value", kind="stable").iloc[0]
    place = Cell("results", int(str(row.name)), "tested_at", row["tested_at"])
    return [Text([f"The {arm} model scores lowest at ", place, ": ", *estimate("results", row), "."], "small")]


def _spent(run: Run) -> tuple[str, dict[str, Text]]:
    """Return each hospital's epsilon, the most over settings, in the federated arm."""
    if not run.has("privacy"):
        return "", {}
    rows = run.privacy
    rows = rows[(rows["arm"] == "federated") & (rows["stage"] == "together")].sort_values("epsilon", kind="stable")
    return "epsilon", {
        str(row["hospital"]): Text([Cell("privacy", int(str(at)), "epsilon", row["epsilon"])])
        for at, row in rows.iterrows()
    }


def _hours(run: Run) -> tuple[str, dict[str, Text]]:
    """Return each hospital's simulated hours in the federated arm."""
    rows = _costs(run)
    return "hours", {
        str(row["hospital"]): Text([Cell("costs", int(str(at)), "simulated_hours", row["simulated_hours"])])
        for at, row in rows.iterrows()
    }


def _traffic(run: Run) -> tuple[str, dict[str, Text]]:
    """Return what each hospital sends and receives in the federated arm."""
    rows = _costs(run)
    return "MB", {
        str(row["hospital"]): Text([
            Cell("costs", int(str(at)), "megabytes_up", row["megabytes_up"]), " / ",
            Cell("costs", int(str(at)), "megabytes_down", row["megabytes_down"]),
        ])
        for at, row in rows.iterrows()
    }  # fmt: skip


def _costs(run: Run) -> pd.DataFrame:
    if not run.has("costs"):
        return pd.DataFrame()
    rows = run.costs
    ours = (rows["arm"] == "federated") & (rows["setting"] == setting_of(run))
    return rows[ours & (rows["hospital"] != ALL)]


CHAPTER = Chapter("answer", "Should my hospital join?", ("verdicts", "results"), blocks)
