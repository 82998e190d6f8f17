"""Scores that hospitals answered, as the tidy table that the evaluation reads. Patients appear as pseudonyms."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from torch import Tensor

from fedmammo.config.deployment import Deployment
from fedmammo.config.evaluation import UNITS
from fedmammo.config.study import StudyConfig
from fedmammo.evaluation.predictions import COLUMNS, VALIDATION
from fedmammo.privacy.answer import Answer
from fedmammo.stages.score import ABOUT, SCORE


def tested_split(config: StudyConfig) -> str:
    """Name the tested patients: the cohort's split, or `cross-validation`."""
    return "cross-validation" if config.evaluation.folds else config.evaluation.test


def recipes_of(deployments: Iterable[Deployment]) -> dict[tuple[str, str], str]:
    """Return what each arm and setting trains by, but for its budget, as text that is equal where that is."""
    alike: dict[str, Any] = {"seed": 0, "draw": 0, "fold": 0, "privacy": None, "scored_every": 0}
    found: dict[tuple[str, str], str] = {}
    for one in deployments:
        place = one.arm_name, one.setting_name
        if place not in found:
            alike["setting_name"] = one.setting.kind
            found[place] = one.model_copy(update=alike).model_dump_json()
    return found


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
                **{str(unit): [row.tobytes().hex() for row in found[unit].numpy()] for unit in UNITS},
                "position": position,
                "label": found["label"].numpy().astype(int),
                **{column: _texts(found.get(ABOUT + column), len(found["label"])) for column in deployment.about},
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
    shown = [*COLUMNS, *deployment.about]
    return predictions.sort_values(order, kind="stable", ignore_index=True)[shown]


def _texts(rows: Tensor | None, count: int) -> list[str]:
    """Read texts as hospitals write them; nothing where a hospital tells none."""
    if rows is None:
        return [""] * count
    return [row.tobytes().rstrip(b"\0").decode(errors="replace") for row in rows.numpy()]
