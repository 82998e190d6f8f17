"""Scoring: models are scored on a hospital's tested patients, and on those who set its thresholds."""

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmammo.cohort.store import Cohort
from fedmammo.features.inputs import Inputs, Rows
from fedmammo.models.head import CONSTANTS
from fedmammo.privacy.answer import Answer, Mark
from fedmammo.privacy.guard import Guard
from fedmammo.privacy.plan import RefusalError
from fedmammo.stages.stage import Incoming, Tensors, Work
from fedmammo.training import steps

MODEL, SCORE = "model/", "score/"


class Score:
    """Nobody who trains under a budget is scored: validation and tested patients are not protected, and said so.

    Scores leave as rows under pseudonyms, where the site file says so.
    """

    name: ClassVar[str] = "score"
    fields: ClassVar[dict[str, Mark]] = {"tensors": "public"}  # of patients whom the budget does not cover

    def at_hospital(self, work: Work, incoming: Incoming, guard: Guard) -> Answer:
        """Score the models that a message holds under `model/<where trained>`.

        Answers for each image `patient` and `image` (8 bytes: the pseudonym), `test` (1 where tested, 0 where for
        thresholds), `label` (the truth where tested, else what is on record) and `score/<where trained>`; and the
        model's constants.
        """
        site, holder = work.site, work.holder
        if any(name in CONSTANTS for model in incoming.values() for name in model):
            raise RefusalError("refused: how features are centred and scaled is the hospital's own, no model says it")
        site.odometer.expose(holder.shown)
        rows = np.concatenate([holder.test, holder.validation])
        tested = np.arange(len(rows)) < len(holder.test)
        return Answer(scores_of(site.cohort, work.inputs_alone, rows, tested, incoming))


def scores_of(cohort: Cohort, inputs: Inputs, rows: Rows, tested: NDArray[np.bool_], models: Incoming) -> Tensors:
    """Return scores of images, by models that are named `model/<where trained>`, as a hospital answers them.

    `rows`: of the cohort's manifest; `tested`: (rows,) whether each is tested, or sets thresholds.
    """
    truth, recorded = cohort.manifest["malignant"].to_numpy(dtype=bool), inputs.malignant
    images = cohort.manifest.iloc[rows]
    tensors: Tensors = {
        "patient": _bytes([cohort.pseudonym("patient", patient) for patient in images["patient"]]),
        "image": _bytes([cohort.pseudonym("image", image) for image in images["image"]]),
        "test": torch.from_numpy(tested.astype(np.uint8)),
        "label": torch.from_numpy(np.where(tested, truth[rows], recorded[rows]).astype(np.uint8)),
    }
    tensors |= {name: tensor.cpu() for name, tensor in inputs.model.constants.items()}
    for key, model in models.items():
        if key.startswith(MODEL):
            tensors[SCORE + key.removeprefix(MODEL)] = torch.from_numpy(steps.score(inputs, rows, model))
    return tensors


def _bytes(pseudonyms: list[str]) -> Tensor:
    return torch.from_numpy(np.frombuffer(bytes.fromhex("".join(pseudonyms)), np.uint8).reshape(-1, 8).copy())
