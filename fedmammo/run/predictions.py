"""Scores that hospitals answered, as the tidy table that the evaluation reads. Patients appear as pseudonyms."""

from collections.abc import Mapping

import pandas as pd

from fedmammo.config.deployment import Deployment
from fedmammo.config.study import StudyConfig
from fedmammo.evaluation.predictions import COLUMNS, VALIDATION
from fedmammo.privacy.answer import Answer
from fedmammo.stages.score import SCORE


def tested_split(config: StudyConfig) -> str:
    """Name the tested patients: the cohort's split, or `cross-validation`."""
    return "cross-validation" if config.evaluation.folds else config.evaluation.test


def tabulate(deployment: Deployment, answers: Mapping[str, Answer]) -> pd.DataFrame:
    """Return one row per model and image, by model, hospital and pseudonym, with the columns `COLUMNS`.

    `answers`: by hospital, as `fedmammo.stages.score` gives them. A local model sets its thresholds on its own
    hospital's patients alone, so its validation scores elsewhere are left out.
    """
    tested = "cross-validation" if deployment.dealing.folds else deployment.dealing.test
    tables = []
    for position, (hospital, answer) in enumerate(answers.items()):
        found = answer.tensors
        about = pd.DataFrame(
            {
                **deployment.place,
                "split": [tested if flag else VALIDATION for flag in found["test"].tolist()],
                "hospital": hospital,
                "patient": [row.tobytes().hex() for row in found["patient"].numpy()],
                "image": [row.tobytes().hex() for row in found["image"].numpy()],
                "position": position,
                "label": found["label"].numpy().astype(int),
            }
        )
        for name, scores in found.items():
            if name.startswith(SCORE):
                model = name.removeprefix(SCORE)
                table = about.assign(trained_at=model, score=scores.double().numpy())
                foreign = not (deployment.arm.pooled or deployment.arm.federated) and model != hospital
                tables.append(table[table["split"] != VALIDATION] if foreign else table)
    predictions = pd.concat(tables, ignore_index=True)
    # By pseudonym, which says nothing: the order of the cohort would tell who comes first in a list of patients.
    order = ["trained_at", "position", "patient", "image"]
    return predictions.sort_values(order, kind="stable", ignore_index=True)[list(COLUMNS)]
