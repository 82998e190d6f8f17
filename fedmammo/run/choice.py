"""Arms made of federated variants: `chosen`, in each fold that which does best in inner folds; `averaged`, their mean.

What is tuned is tuned inside the fold that is tested (nested cross-validation: Varma & Simon 2006, BMC Bioinformatics
7:91): each recipe learns anew without each inner fold of the training patients, and is tried on it. What is averaged is
not tuned at all; where a study has both arms, the mean is one more recipe that may be chosen.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from torch import Tensor

from fedmammo.config.arm import ALL, AVERAGED
from fedmammo.config.deployment import Deployment
from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.config.study import StudyConfig
from fedmammo.disk.files import read_tensors, write_text
from fedmammo.evaluation.metrics import metric_named
from fedmammo.evaluation.predictions import VALIDATION
from fedmammo.evaluation.tested import Tested, UndefinedError
from fedmammo.evaluation.units import NEAREST, Grouping
from fedmammo.run.folder import RunFolder

CHOICE = "choice.json"  # in the folder of a deployment of the arm
COLUMNS = ("setting", "seed", "draw", "fold", "arm", "value", "chosen", "note")


def derive(
    deployment: Deployment, config: StudyConfig, folder: RunFolder, tried: Callable[[Deployment], pd.DataFrame]
) -> tuple[dict[str, dict[str, Tensor]], pd.DataFrame]:
    """Make a deployment of federated ones that are finished.

    Args:
        deployment: of the arm `chosen` or `averaged`.
        config: the study.
        folder: of the run.
        tried: runs a deployment, and returns what it scores.

    Returns:
        The model, by where it counts as trained, if it is one; and the predictions.
    """
    place = (deployment.setting_name, deployment.seed, deployment.draw, deployment.fold)
    known = {name: config.deployment(name, *place) for name in deployment.recipes if name != AVERAGED}
    rows = {name: folder.predictions([one]) for name, one in known.items()}
    taken = AVERAGED
    if deployment.arm_name != AVERAGED:
        found = {}
        for name, one in known.items():
            parts = (folder.tried(deployment, part, tried) for part in one.tried)
            left_out = (part[part["split"] == VALIDATION].assign(fold=fold) for fold, part in enumerate(parts))
            found[name] = pd.concat(left_out, ignore_index=True)
        if AVERAGED in deployment.recipes:
            found[AVERAGED] = average(found)
        taken = choose(folder.folder(deployment), found, config.evaluation)
    if taken == AVERAGED:
        return {}, average(rows).assign(arm=deployment.arm_name)
    model = read_tensors(folder.model(known[taken], ALL))[0]
    return {ALL: model}, rows[taken].assign(arm=deployment.arm_name)


def choose(folder: Path, predictions: Mapping[str, pd.DataFrame], config: EvaluationConfig) -> str:
    """Choose one of some recipes, and keep how each did in inner folds.

    Args:
        folder: of the deployment of the arm `chosen`.
        predictions: what each recipe scored in a seed, draw and fold, in all inner folds.
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
    """Return the rows of a recipe that scores the mean log odds of some arms' one model each, image by image.

    `predictions`: what each recipe scored; all have the same images.
    """
    first, *others = (rows.sort_values(["split", "patient", "image"]) for rows in predictions.values())
    if any(list(rows["image"]) != list(first["image"]) for rows in others):
        raise ValueError("variants scored other images")
    odds = [logit(rows["score"].clip(NEAREST, 1 - NEAREST).to_numpy()) for rows in (first, *others)]
    return first.assign(score=expit(np.mean(odds, axis=0))).sort_index()


def _value(rows: pd.DataFrame, config: EvaluationConfig) -> tuple[float, str]:
    """Measure a recipe in inner folds, each by itself; NaN, and why, where that cannot be."""
    rows = rows.sort_values(["score", "label"])  # not by pseudonym: sums round
    grouping = Grouping.of(rows[config.unit].to_numpy())
    unknown = np.full(len(grouping.at), np.nan)
    label, score = (
        grouping.label(rows["label"].to_numpy(np.int64)),
        grouping.mean(rows["score"].to_numpy(float), config.pooling),
    )
    patient = pd.factorize(grouping.first(rows["patient"].to_numpy()))[0].astype(np.int64)
    fold = grouping.first(rows["fold"].to_numpy(np.int64))
    tested = Tested(label, score, patient, fold, unknown, unknown, unknown)
    try:
        return metric_named(config.primary.metric, config.unit).measure(tested).value, ""
    except UndefinedError as error:
        return float("nan"), str(error)


def choices(deployments: list[Deployment], folder_of: Mapping[str, Path]) -> pd.DataFrame:
    """Return choices.csv: how each recipe did in each seed, draw and fold, and which was chosen.

    `folder_of`: the folder of each deployment of the arm `chosen`, by name.
    """
    rows = []
    for one in deployments:
        place = {name: value for name, value in one.place.items() if name != "arm"}
        rows += [{**place, **row} for row in json.loads((folder_of[one.name] / CHOICE).read_text())]
    return pd.DataFrame(rows, columns=list(COLUMNS))
