"""The first screen: should my hospital join? Answered per hospital and over all, by the verdicts."""

from collections.abc import Sequence

import pandas as pd

from fedmammo.config.arm import ALL, MEAN
from fedmammo.evaluation.predictions import Series
from fedmammo.evaluation.tables import at_home
from fedmammo.report import charts
from fedmammo.report.blocks import Block, Cell, Figure, Rows, Side, Table, Text, text
from fedmammo.report.chapter import Chapter, Parts, cells, estimate, headings, listed, setting_of, whole
from fedmammo.report.charts import dots, forest
from fedmammo.report.words import LABELS, lead, plain
from fedmammo.run.guarantees import PATIENT
from fedmammo.run.privacy import TOGETHER
from fedmammo.run.results import Run

ARMS = {arm: {"local": "alone", "centralized": "centralised"}.get(arm, arm.replace("_", " ")) for arm in charts.ARMS}
FIRST = charts.ARMS[:4]  # of which the first screen tells, beside those of the primary comparison
SCREENED = 0.05  # malignant share; in screening it is a tenth of that, or less
MOST = 12  # hospitals in the charts of the first screen; all are in the table
_SCORES = headings("tested_at", "arm", "value", "ci_low", "ci_high", "patients", "positives", "note")
_VERDICTS = headings(
    *("tested_at", "verdict", "difference", "ci_low", "ci_high", "p", "p_holm", "margin", "patients_needed"),
    *("patients", "positives", "note"),
)


def blocks(run: Run) -> Sequence[Block]:
    """Return the answer for each hospital and over all: what was scored, how sure, at what cost."""
    verdicts = run.verdicts
    if verdicts.empty:
        pair = f"{run.study.evaluation.primary.arm} against {run.study.evaluation.primary.against}"
        return [text(f"No answer: the study did not run what it would compare, {pair}.", kind="answer")]
    first, scores = verdicts.iloc[0], _own_models(run)
    metric = f"{first['metric'].upper().replace('_', ' ')} per {first['unit']}"
    difference = f"{first['arm']} minus {first['against']}: right is better; dashed: the margin"
    places = list(verdicts["tested_at"])[: MOST + 1]
    shown, drawn = scores[scores["tested_at"].isin(places)], verdicts[verdicts["tested_at"].isin(places)]
    return [
        Text(lead(verdicts), "answer"),
        *_everybody(verdicts),
        Text(_who(run), "small"),
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


def _everybody(verdicts: pd.DataFrame) -> list[Block]:
    """Say what holds over all patients, and why that is another number than the hospitals'."""
    if len(verdicts) < 2:
        return []
    local = verdicts["against"].iloc[0] == "local" and verdicts["tested_at"].iloc[0] == ALL
    why = " There each local model is tested on the other hospitals' patients, too; at a hospital, on its own alone."
    sentence = plain(dict(verdicts.iloc[0]), 0)
    said = sentence == lead(verdicts)  # by the answer above
    told = [*([] if said else sentence), *([why] if local else [])]
    return [Text(told)] if told else []


def _who(run: Run) -> Parts:
    """Say who was tested, what intervals allow for, and what this is not."""
    first, results = run.verdicts.iloc[0], whole(run)
    row = results[(results["tested_at"] == run.together) & (results["trained_at"] == ALL)].iloc[0]
    several = row["repeats"] > 1
    return [
        "Hospitals are simulated: patients of one cohort were dealt to them. " if run.has("holdings") else "",
        *_tested(run.verdicts.iloc[0], row),
        *_stay(run),
        "Intervals (95 %) allow for chance in: ",
        Cell("verdicts", 0, "varies", first["varies"]), "; not in: ", Cell("verdicts", 0, "fixed", first["fixed"]),
        "; nor for the number of hospitals. ",
        "A row is the mean over seeds and draws of hospitals, its patients are those of one draw. " if several else "",
        "Setting: ", Cell("verdicts", 0, "setting", first["setting"]), ".",
    ]  # fmt: skip


def _tested(first: pd.Series, row: pd.Series) -> Parts:
    """Say how many were tested, and which share of the units is malignant, where that is told."""
    if pd.isna(first["patients"]):
        return []
    told: Parts = [Cell("verdicts", 0, "patients", first["patients"]), " patients were tested, "]
    told += [Cell("verdicts", 0, "positives", first["positives"]), " with a malignant lesion"]
    if pd.notna(row["prevalence"]):
        share = Cell("results", int(str(row.name)), "prevalence", row["prevalence"])
        told += [f"; of the tested {first['unit']}s a share of ", share]
        told += [f" is malignant{', far more than in screening' if row['prevalence'] > SCREENED else ''}"]
    return [*told, ". "]


def _stay(run: Run) -> Parts:
    """Name the hospitals whose tested patients' scores stay home, and say what that means."""
    if not run.has("tested"):
        return []
    home = run.tested[run.tested["scores"] != "rows"]
    if home.empty:
        return [
            "Models that learned from one hospital alone stay there: each hospital is told of by its own patients, and "
            "nothing here is measured on all patients together. "
        ]
    return [
        *listed(cells("tested", home, "hospital")),
        " keep the scores of their tested patients and tell counts and metrics alone, or nothing: nothing here is "
        "measured on all patients together. ",
    ]


def _own_models(run: Run) -> pd.DataFrame:
    """Return what the model that each arm would give to each hospital scores there; local its own."""
    rows, setting = whole(run), setting_of(run)
    of_reader = rows["arm"] == "reader"
    given = [
        at_home(Series(arm, setting, ALL), place) for arm, place in zip(rows["arm"], rows["tested_at"], strict=True)
    ]
    primary = run.study.evaluation.primary
    told = rows["arm"].isin([*FIRST, primary.arm, primary.against]) & rows["arm"].isin(ARMS)
    own = (rows["trained_at"] == [one.trained_at for one in given]) & told
    own &= rows["tested_at"].isin(run.verdicts["tested_at"])
    chosen = rows[own & ((rows["setting"] == setting) | of_reader)]
    positions = {name: at for at, name in enumerate(run.verdicts["tested_at"])}
    order = chosen["tested_at"].map(positions) * len(ARMS) + chosen["arm"].map(list(ARMS).index)
    return chosen.loc[order.sort_values().index]


def _answers(run: Run, scores: pd.DataFrame) -> Rows:
    """Return a row for each hospital: the answer, who was tested, what each arm scores there, what it costs."""
    arms = [arm for arm in ARMS if arm in set(scores["arm"])]
    extras = _extras(run)
    rows: list[list[str | Cell | Text]] = []
    for number, row in enumerate(run.verdicts.to_dict("records")):
        silent = pd.isna(row["patients"])  # of whom nothing is told
        here = scores[scores["tested_at"] == row["tested_at"]]
        by_arm = [here[here["arm"] == arm] for arm in arms]
        kind = str(row["verdict"]).replace(" ", "-")
        said = plain({str(key): value for key, value in row.items()}, number)
        rows.append([
            "all hospitals" if row["tested_at"] == ALL else Cell("verdicts", number, "tested_at", row["tested_at"]),
            Text([LABELS[row["verdict"]], *said], kind),
            "" if silent else Text([
                Cell("verdicts", number, "patients", row["patients"]), " (",
                Cell("verdicts", number, "positives", row["positives"]), ")"]),
            *(Text(estimate("results", one.iloc[0])) if len(one) and not silent else "" for one in by_arm),
            *(found.get(str(row["tested_at"]), "") for found in extras.values()),
        ])  # fmt: skip
    told = ", ".join(_EXTRAS[title] for title in extras)
    caption = (
        "Each hospital: tested patients, in brackets those with a malignant lesion; what each arm scores on them, with "
        f"95 % intervals{'; ' if told else ''}{told}. Reader: the assessments on record, of whole mammograms."
    )
    return Rows(caption, ["hospital", "answer", "patients", *(ARMS[arm] for arm in arms), *extras], rows)


_EXTRAS = {
    "repeats": "the difference's median / lowest over seeds and draws",
    "epsilon": "epsilon that federated training spent",
    "hours": "simulated hours of federated training",
    "MB": "megabytes sent / received",
}


def _worst(scores: pd.DataFrame, arm: str) -> list[Block]:
    """Say at which hospital an arm's model scores lowest, of those that can be told of."""
    own = scores[(scores["arm"] == arm) & ~scores["tested_at"].isin([ALL, MEAN]) & scores["ci_low"].notna()]
    if len(own) < 2:
        return []
    row = own.sort_values("value", kind="stable").iloc[0]
    place = Cell("results", int(str(row.name)), "tested_at", row["tested_at"])
    return [Text([f"The {arm} model scores lowest at ", place, ": ", *estimate("results", row), "."], "small")]


def _extras(run: Run) -> dict[str, dict[str, Text]]:
    """Return what else is told of each hospital, by the heading of its column: texts by hospital."""
    found = {"repeats": _repeats(run.comparisons)} if run.has("comparisons") else {}
    of = {"arm": "federated", "setting": setting_of(run)}
    if run.has("privacy") and _same(run.guarantees, {**of, "end_to_end": PATIENT}).any():
        spent = run.privacy[_same(run.privacy, {**of, "stage": TOGETHER})]
        found["epsilon"] = _by("hospital", "privacy", spent, "epsilon")
    if run.has("costs"):
        costs = run.costs[_same(run.costs, of) & (run.costs["hospital"] != ALL)]
        found["hours"] = _by("hospital", "costs", costs, "simulated_hours")
        found["MB"] = _by("hospital", "costs", costs, "megabytes_up", "megabytes_down")
    return {heading: texts for heading, texts in found.items() if texts}


def _repeats(rows: pd.DataFrame) -> dict[str, Text]:
    several = (rows["role"] != "secondary") & (rows["repeats"] > 1) & rows["median"].notna()
    return _by("tested_at", "comparisons", rows[several], "median", "lowest")


def _same(frame: pd.DataFrame, values: dict[str, str]) -> pd.Series:
    """Say of each row whether it has these values."""
    return (frame[list(values)] == pd.Series(values)).all(axis=1)


def _by(hospital: str, file: str, rows: pd.DataFrame, *keys: str) -> dict[str, Text]:
    """Return cells of rows of a table, by hospital."""
    return {
        str(row[hospital]): Text(listed([Cell(file, int(str(at)), key, row[key]) for key in keys], " / "))
        for at, row in rows.iterrows()
    }


CHAPTER = Chapter("answer", "Should my hospital join?", ("verdicts", "results"), blocks)
