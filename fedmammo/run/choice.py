"""Arms made of federated variants: `chosen`, in each fold that which ranks its validation patients best; `averaged`.

What is tuned is tuned inside the fold that is tested (nested cross-validation: Varma & Simon 2006, BMC Bioinformatics
7:91): validation patients neither train a model nor test it. What is averaged is not tuned at all.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from fedmammo.config.deployment import Deployment
from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.disk.files import write_text
from fedmammo.evaluation.metrics import metric_named
from fedmammo.evaluation.predictions import VALIDATION
from fedmammo.evaluation.tested import Tested, UndefinedError
from fedmammo.evaluation.units import NEAREST, Grouping

CHOICE = "choice.json"  # in the folder of a deployment of the arm
COLUMNS = ("setting", "seed", "draw", "fold", "arm", "value", "chosen", "note")


def candidates_of(deployment: Deployment, deployments: list[Deployment]) -> list[Deployment]:
    """Return the federated deployments of which one of the arms `chosen` and `averaged` is made."""
    own = {**deployment.place, "arm": ""}
    return [one for one in deployments if one.arm.kind == "federated" and {**one.place, "arm": ""} == own]


def choose(folder: Path, predictions: Mapping[str, pd.DataFrame], config: EvaluationConfig) -> str:
    """Choose one of some arms, and keep how each did on validation patients.

    Args:
        folder: of the deployment of the arm `chosen`.
        predictions: rows of each arm's one model in a seed, draw and fold, those of validation patients among them.
        config: names unit and metric: those of the primary comparison.

    Returns:
        The arm whose value is the highest, the first of equals; the first where none has a value.
    """
    values = {arm: _value(rows, config) for arm, rows in predictions.items()}
    known = {arm: value for arm, (value, _) in values.items() if np.isfinite(value)}
    chosen = max(known, key=lambda arm: known[arm]) if known else next(iter(predictions))
    rows = [
        {"arm": arm, "value": value if np.isfinite(value) else None, "chosen": int(arm == chosen), "note": note}
        for arm, (value, note) in values.items()
    ]
    write_text(folder / CHOICE, json.dumps(rows, indent=1) + "\n")
    return chosen


def average(predictions: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of an arm that scores the mean log odds of some arms' one model each, image by image.

    `predictions`: rows of each arm's model in a seed, draw and fold; all have the same images.
    """
    first, *others = (rows.sort_values(["split", "patient", "image"]) for rows in predictions.values())
    if any(list(rows["image"]) != list(first["image"]) for rows in others):
        raise ValueError("variants scored other images")
    odds = [logit(rows["score"].clip(NEAREST, 1 - NEAREST).to_numpy()) for rows in (first, *others)]
    return first.assign(score=expit(np.mean(odds, axis=0))).sort_index()


def _value(rows: pd.DataFrame, config: EvaluationConfig) -> tuple[float, str]:
    """Measure an arm on validation patients; NaN, and why, where that cannot be."""
    rows = rows[rows["split"] == VALIDATION].sort_values(["score", "label"])  # not by pseudonym: sums round
    grouping = Grouping.of(rows[config.unit].to_numpy())
    units, unknown = len(grouping.at), np.full(len(grouping.at), np.nan)
    label, score = (
        grouping.label(rows["label"].to_numpy(np.int64)),
        grouping.mean(rows["score"].to_numpy(float), config.pooling),
    )
    patient = pd.factorize(grouping.first(rows["patient"].to_numpy()))[0].astype(np.int64)
    tested = Tested(label, score, patient, np.zeros(units, np.int64), unknown, unknown, unknown)
    try:
        return metric_named(config.primary.metric, config.unit).measure(tested).value, ""
    except UndefinedError as error:
        return float("nan"), str(error)


def choices(deployments: list[Deployment], folder_of: Mapping[str, Path]) -> pd.DataFrame:
    """Return choices.csv: how each candidate did in each seed, draw and fold, and which was chosen.

    `folder_of`: the folder of each deployment of the arm `chosen`, by name.
    """
    rows = []
    for one in deployments:
        place = {name: value for name, value in one.place.items() if name != "arm"}
        rows += [{**place, **row} for row in json.loads((folder_of[one.name] / CHOICE).read_text())]
    return pd.DataFrame(rows, columns=list(COLUMNS))
