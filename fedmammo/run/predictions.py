"""Scores that hospitals answered, as the tidy table that the evaluation reads. Patients appear as pseudonyms."""

import numpy as np
import pandas as pd
from torch import Tensor

from fedmammo.cohort.store import Cohort
from fedmammo.config.study import StudyConfig
from fedmammo.evaluation.predictions import COLUMNS, VALIDATION
from fedmammo.hospitals.records import records_of
from fedmammo.training.task import Cell


def tested_split(config: StudyConfig) -> str:
    """Name the tested patients: the cohort's split, or `cross-validation`."""
    return "cross-validation" if config.evaluation.folds else config.evaluation.test


def tabulate(
    cohort: Cohort, config: StudyConfig, cell: Cell, hospitals: list[str], answers: dict[int, dict[str, Tensor]]
) -> pd.DataFrame:
    """Return one row per model and image, by model, hospital and pseudonym, with the columns `COLUMNS`.

    `answers`: by position of the hospital, as `fedmammo.training.hospital.work` gives them for `score`. A local model
    sets its thresholds on its own hospital's patients alone, so its validation scores elsewhere are left out.
    """
    recorded = records_of(cohort, config).malignant
    tables = []
    for position, answer in answers.items():
        rows = answer["rows"].numpy()
        images = cohort.manifest.iloc[rows]
        about = pd.DataFrame(
            {
                "arm": cell.arm,
                "setting": cell.setting,
                "seed": cell.seed,
                "draw": cell.draw,
                "fold": cell.fold,
                "split": [tested_split(config) if tested else VALIDATION for tested in answer["test"].tolist()],
                "hospital": hospitals[position],
                "patient": [cohort.pseudonym("patient", patient) for patient in images["patient"]],
                "image": [cohort.pseudonym("image", image) for image in images["image"]],
                "position": position,
                # Thresholds are set on what hospitals have on record, tests are made against the truth.
                "label": np.where(answer["test"].numpy() == 1, images["malignant"], recorded[rows]).astype(int),
            }
        )
        for name, scores in answer.items():
            if name.startswith("score/"):
                model = name.removeprefix("score/")
                table = about.assign(trained_at=model, score=scores.double().numpy())
                foreign = cell.arm == "local" and model != hospitals[position]
                tables.append(table[table["split"] != VALIDATION] if foreign else table)
    predictions = pd.concat(tables, ignore_index=True)
    # By pseudonym, which says nothing: the order of the cohort would tell who comes first in a list of patients.
    order = ["trained_at", "position", "patient", "image"]
    return predictions.sort_values(order, kind="stable", ignore_index=True)[list(COLUMNS)]
