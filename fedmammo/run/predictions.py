"""Scores that hospitals answered, as the tidy table that the evaluation reads. Patients appear as pseudonyms."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from fedmammo.config.arm import ALL
from fedmammo.config.deployment import Deployment
from fedmammo.config.evaluation import UNITS
from fedmammo.config.study import StudyConfig
from fedmammo.evaluation.predictions import COLUMNS, VALIDATION
from fedmammo.privacy.answer import Answer
from fedmammo.stages.score import ABOUT, KEPT, SCORE


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


def tabulate(
    deployment: Deployment, answers: Mapping[str, Answer], sizes: Mapping[str, int] | None = None
) -> pd.DataFrame:
    """Return one row per model and image, by model, hospital and pseudonym, with the columns `COLUMNS`.

    An ensemble's score is the mean of the models' scores, weighted by training patients.

    Args:
        deployment: of the models.
        answers: by hospital, as `fedmammo.stages.score` gives them; one that keeps scores has no rows. A model sets its
            thresholds on validation patients of the hospitals that it learned from; scores of others' are left out.
        sizes: training patients of each model's hospital, for an ensemble.
    """
    tested = deployment.tested
    tables = []
    for position, (hospital, answer) in enumerate(answers.items()):
        if KEPT in answer.numbers:
            continue
        found = _averaged(answer.tensors, sizes or {}) if deployment.arm.kind == "ensemble" else answer.tensors
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
                learned = hospital in deployment.members if deployment.members else model == hospital
                learned |= not (deployment.members or deployment.arm.of_hospitals)
                tables.append(table if learned else table[table["split"] != VALIDATION])
    predictions = (
        pd.concat(tables, ignore_index=True)
        if tables
        else pd.DataFrame(columns=[*COLUMNS, "position", *deployment.about])
    )
    # By pseudonym, which says nothing: the order of the cohort would tell who comes first in a list of patients.
    order = ["trained_at", "position", "patient", "image"]
    shown = [*COLUMNS, *deployment.about]
    return predictions.sort_values(order, kind="stable", ignore_index=True)[shown]


def _averaged(tensors: Mapping[str, Tensor], sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """Return a hospital's answer with the weighted mean of its scores in place of each model's."""
    models = {name.removeprefix(SCORE): tensor for name, tensor in tensors.items() if name.startswith(SCORE)}
    others = {name: tensor for name, tensor in tensors.items() if not name.startswith(SCORE)}
    total = sum(sizes[name] for name in models)
    mean = sum((tensor.double() * (sizes[name] / total) for name, tensor in models.items()), torch.zeros(()))
    return {**others, SCORE + ALL: mean.float()}


def _texts(rows: Tensor | None, count: int) -> list[str]:
    """Read texts as hospitals write them; nothing where a hospital tells none."""
    if rows is None:
        return [""] * count
    return [row.tobytes().rstrip(b"\0").decode(errors="replace") for row in rows.numpy()]
