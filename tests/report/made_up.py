"""Made-up runs: a folder with tables of any size, as a study would leave them, without a study."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fedmammo.config.setting import Setting
from fedmammo.config.study import StudyConfig, dump, parse
from fedmammo.evaluation.curves import CALIBRATION, DECISION_CURVE, PRECISION_RECALL, ROC
from fedmammo.evaluation.metrics import metrics_of
from fedmammo.evaluation.subgroups import SUBGROUPS
from fedmammo.evaluation.tables import COMPARISONS, RESULTS
from fedmammo.evaluation.verdicts import verdicts_of
from fedmammo.run.privacy import GUARANTEES
from fedmammo.run.results import FINISHED

ARMS = ("centralized", "local", "federated")
Row = dict[str, Any]


def study_of(hospitals: int, settings: Sequence[str], draws: int, folds: int) -> StudyConfig:
    """Return a study of three arms; its cohort is nowhere."""
    content = {
        "name": "made-up",
        "cohort": {"path": "nowhere"},
        "hospitals": {"assignment": {"by": "uniform", "count": hospitals}, "seed": list(range(draws))},
        "diagnosis": {
            "network": "vit_tiny_patch16_224",
            "weights": "none",
            "image_size": 32,
            "optimizer": {"name": "sgd", "learning_rate": 0.1},
        },
        "federation": {"rounds": 3, "local_steps": 1},
        "evaluation": {"folds": folds, "every": 1},
        "settings": list(settings),
    }
    return parse(content, "made up")


def made_up(
    folder: Path, hospitals: int = 3, settings: Sequence[str] = ("real",), draws: int = 1, folds: int = 0
) -> StudyConfig:
    """Write the tables of a run to a folder: every number drawn, none computed."""
    study, drawn = study_of(hospitals, settings, draws, folds), np.random.default_rng(0)
    names = [f"hospital_{number + 1}" for number in range(hospitals)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(dump(study, digests={"code": "none", "libraries": "none"}))
    comparisons = _comparisons(names, settings, drawn)
    tables = {
        "verdicts": verdicts_of(comparisons, study.evaluation, "patients tested", "seed"),
        "comparisons": comparisons,
        "results": _results(study, names, drawn),
        "subgroups": _curve(SUBGROUPS, settings, {"column": ["density"], "value": ["1", "2"]}, drawn),
        "decision_curve": _curve(
            DECISION_CURVE, settings, {"threshold": [0.1, 0.2, 0.5]}, drawn,
        ),
        "roc": _curve(ROC, settings, {"false_positive_rate": list(np.linspace(0, 1, 21))}, drawn),
        "precision_recall": _curve(PRECISION_RECALL, settings, {"recall": list(np.linspace(0, 1, 21))}, drawn),
        "calibration": _curve(CALIBRATION, settings, {"bin_low": list(np.linspace(0, 0.9, 10))}, drawn),
        "curves": _curve(
            [*("arm", "setting", "seed", "draw", "round", "trained_at", "tested_at", "unit", "metric", "value"),
             *("ci_low", "ci_high", "note")],
            settings, {"round": [1, 2, 3]}, drawn,
        ),
        "guarantees": _guarantees(settings),
        "costs": _curve(
            ["arm", "setting", "hospital", "rounds", "missed", "simulated_hours", "megabytes_up", "megabytes_down"],
            settings, {"hospital": names}, drawn,
        ),
    }  # fmt: skip
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    (folder / FINISHED).touch()
    return study


def _guarantees(settings: Sequence[str]) -> pd.DataFrame:
    """Return what a run promises whose budgets all hold."""
    bare = {"end_to_end": "none", "sentence": "Nothing bounds what an attack finds."}
    budget = {"end_to_end": "patient", "epsilon": 5.9876, "delta": 1e-4, "best_attack": 0.1925, "patients": 34,
              "protection": "weak", "epsilon_exchanged": 14.47, "trust": "local", "adversary": "everybody outside",
              "unit": "patient", "relation": "zero-out", "sentence": "The best attack finds few."}  # fmt: skip
    rows = [
        {"arm": arm, "setting": name, **(budget if Setting.of(name).epsilon else bare)}
        for arm, name in itertools.product(ARMS, settings)
    ]
    return pd.DataFrame(rows, columns=list(GUARANTEES))


def _numbers(drawn: np.random.Generator) -> Row:
    value, half = drawn.uniform(0.5, 0.9), drawn.uniform(0.01, 0.1)
    numbers = dict.fromkeys(("value", "estimate", "sensitivity", "precision", "observed", "net_benefit"), value)
    numbers |= {"predicted": drawn.uniform(), "treat_all": 0.1, "treat_none": 0.0, "prevalence": 0.5, "note": ""}
    numbers |= {"rounds": 3, "missed": 0, "simulated_hours": value, "megabytes_up": half, "megabytes_down": half}
    counts = {"patients": int(drawn.integers(20, 200)), "positives": int(drawn.integers(1, 20)), "units": 40}
    return numbers | counts | {"ci_low": value - half, "ci_high": value + half}


def _curve(
    columns: Sequence[str], settings: Sequence[str], over: dict[str, list[Any]], drawn: np.random.Generator
) -> pd.DataFrame:
    """Return a row for each arm, setting and combination of `over`."""
    same = {"seed": "all", "draw": "all", "trained_at": "all", "tested_at": "all", "unit": "lesion", "metric": "auroc"}
    rows = [
        same | _numbers(drawn) | {"arm": arm, "setting": setting} | dict(zip(over, values, strict=True))
        for arm, setting, *values in itertools.product(ARMS, settings, *over.values())
    ]
    for row in rows:
        row["bin_high"] = row.get("bin_low", 0) + 0.1
    return pd.DataFrame(rows)[list(columns)]


def _results(study: StudyConfig, names: list[str], drawn: np.random.Generator) -> pd.DataFrame:
    """Return rows as a study has them: repeats and their mean, each model at each place, all metrics of its own."""
    metrics = [(one.name, one.unit) for one in metrics_of("lesion")]
    repeats = [*(("0", str(draw)) for draw in study.hospitals.seed), ("all", "all")]
    places = [("all", "all"), *(("all", name) for name in names)]
    rows = [
        (arm, setting, *repeat, *place, "test", *reversed(metric))
        for arm, setting in itertools.product(ARMS, study.settings)
        for place in (itertools.product(["all", *names], ["all", *names]) if arm == "local" else places)
        if arm != "local" or place[0] != "all" or place[1] == "all"
        for metric in (metrics if place[1] in ("all", place[0]) or place[0] == "all" else metrics[:1])
        for repeat in repeats
    ]
    table = pd.DataFrame(rows, columns=RESULTS[:9])
    value, half, whole = drawn.uniform(0.5, 0.9, len(rows)), drawn.uniform(0.01, 0.1, len(rows)), table["seed"] == "all"
    table["value"], table["ci_low"], table["ci_high"] = value, (value - half), (value + half)
    table["repeats"], table["units"] = np.where(whole, len(repeats) - 1, 1), 40
    table["patients"], table["positives"] = drawn.integers(20, 200, len(rows)), drawn.integers(1, 20, len(rows))
    table["median"], table["lowest"] = table["value"].where(whole), (table["value"] - 0.02).where(whole)
    return table.assign(prevalence=0.5, epsilon=np.nan, delta=np.nan, end_to_end="none", note="")[RESULTS].round(6)


def _comparisons(names: list[str], settings: Sequence[str], drawn: np.random.Generator) -> pd.DataFrame:
    rows = []
    for number, place in enumerate(["all", *names]):
        middle, half = drawn.normal(0.03, 0.06), drawn.uniform(0.01, 0.1)
        told = drawn.uniform() < 0.8 or not number
        limits = (middle, middle - half, middle + half) if told else (np.nan,) * 3
        row = dict(zip(("difference", "ci_low", "ci_high"), limits, strict=True))
        about = {"arm": "federated", "against": "local", "setting": settings[0], "against_setting": settings[0]}
        about |= {"metric": "auroc", "unit": "lesion", "better": "higher", "tested_at": place, "repeats": 1}
        numbers = {"p": 0.01, "p_holm": 0.04, "error": half / 2, "of_repeats": 0.1, "patients": 50, "positives": 20}
        note = "" if told else "no interval: fewer than 10 patients of a class"
        role = "primary at a hospital" if number else "primary"
        rows.append(row | about | numbers | {"role": role, "note": note})
    return pd.DataFrame(rows).reindex(columns=COMPARISONS)
