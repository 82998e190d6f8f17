"""Scoring: models are scored on a hospital's tested patients, and on those who set its thresholds."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmammo.cohort.store import Cohort
from fedmammo.config.evaluation import scored_rounds
from fedmammo.disk.files import write_tensors
from fedmammo.features.inputs import Inputs, Rows
from fedmammo.models.head import CONSTANTS
from fedmammo.privacy.answer import Answer, Mark
from fedmammo.privacy.guard import Guard
from fedmammo.privacy.reasons import RefusalError
from fedmammo.stages.stage import Incoming, Tensors, Work
from fedmammo.stages.tensors import check_arrived
from fedmammo.training import steps
from fedmammo.training.state import own_model

MODEL, SCORE, ABOUT = "model/", "score/", "about/"
KEPT = "kept"  # the number that is answered where scores stay home
COLUMN_OF = {"lesion_type": "lesion"}  # the manifest's name, where a study calls a column otherwise


class Score:
    """Nobody who trains under a budget is scored: validation and tested patients are not protected, and said so.

    Scores leave as rows under pseudonyms, where the site file says so: in the end (round 0), and after those rounds of
    training that the deployment names. Else they stay: for what `fedmammo.stages.summarize` tells of them, or they are
    not made at all.
    """

    name: ClassVar[str] = "score"
    fields: ClassVar[dict[str, Mark]] = {"tensors": "public", KEPT: "public"}  # of patients whom no budget covers

    def at_hospital(self, work: Work, incoming: Incoming, guard: Guard) -> Answer:
        """Score the models that a message holds under `model/<where trained>`.

        Answers for each image `patient`, `breast`, `lesion` and `image` (8 bytes: the pseudonym), `test` (1 where
        tested, 0 where for thresholds), `label` (the truth where tested, else what is on record),
        `score/<where trained>` and `about/<column>` for those columns that the study asks for and the site file lets
        leave; and the model's constants. Where scores stay home, the constants alone, and the number `kept`: 1 where
        they are kept to be summed up, 0 where there are none.
        """
        _refuse_unless_agreed(work)
        site, holder = work.site, work.holder
        if any(name in CONSTANTS for model in incoming.values() for name in model):
            raise RefusalError("refused: how features are centred and scaled is the hospital's own, no model says it")
        for key, model in incoming.items():
            if key.startswith(MODEL):  # nothing else is looked at
                check_arrived(model, work.inputs_alone.model.trained())
        constants = {name: tensor.cpu() for name, tensor in work.inputs_alone.model.constants.items()}
        if site.file.scores == "not":
            return Answer(constants, {KEPT: 0.0})
        if at_home := own_model(work.folder):
            incoming = {**incoming, f"{MODEL}{site.name}": at_home}
        site.odometer.expose(holder.shown)
        rows = np.concatenate([holder.test, holder.validation])
        tested = np.arange(len(rows)) < len(holder.test)
        columns = [column for column in work.deployment.about if column in site.file.columns]
        if site.file.scores == "rows":
            return Answer(scores_of(site.cohort, work.inputs_alone, rows, tested, incoming, columns) | constants)
        own = MODEL + work.deployment.arm.model_for(site.name)
        given = {key: model for key, model in incoming.items() if key == own}
        write_tensors(kept_at(work), scores_of(site.cohort, work.inputs_alone, rows, tested, given, columns))
        return Answer(constants, {KEPT: 1.0})


def kept_at(work: Work) -> Path:
    """Return the file of a deployment's scores where they stay home."""
    return work.site.folder / "tested" / f"{work.deployment.digest}.safetensors"


def _refuse_unless_agreed(work: Work) -> None:
    """Raise RefusalError where scores are asked for between rounds of which the hospital's people did not approve.

    What a simulation's hospitals would say under a budget is its own business: nothing leaves anybody.
    """
    number, deployment = work.job.round, work.deployment
    if number and work.site.file.scores != "rows":
        raise RefusalError("refused: between rounds nobody is scored where tested patients stay home")
    if deployment.privacy is not None:
        if number and not work.site.simulated:
            raise RefusalError(
                "refused: under a budget tested patients are scored in the end alone; take evaluation.every: 0"
            )
    elif number and number not in scored_rounds(deployment.scored_every, deployment.federation.rounds):
        raise RefusalError(f"refused: scores after round {number} were not agreed to")


def scores_of(
    cohort: Cohort,
    inputs: Inputs,
    rows: Rows,
    tested: NDArray[np.bool_],
    models: Incoming,
    columns: Sequence[str] = (),
) -> Tensors:
    """Return scores of images, by models that are named `model/<where trained>`, as a hospital answers them.

    `rows`: of the cohort's manifest; `tested`: (rows,) whether each is tested, or sets thresholds. `columns`: of the
    manifest that are told beside scores; those that it does not have are left out.
    """
    truth, recorded = cohort.manifest["malignant"].to_numpy(dtype=bool), inputs.malignant
    images = cohort.manifest.iloc[rows]
    tensors: Tensors = {
        **{unit: _bytes([cohort.pseudonym(unit, name) for name in names]) for unit, names in _units(images).items()},
        "test": torch.from_numpy(tested.astype(np.uint8)),
        "label": torch.from_numpy(np.where(tested, truth[rows], recorded[rows]).astype(np.uint8)),
    }
    for key, model in models.items():
        if key.startswith(MODEL):
            tensors[SCORE + key.removeprefix(MODEL)] = torch.from_numpy(steps.score(inputs, rows, model))
    for column in columns:
        name = COLUMN_OF.get(column, column)
        if name in images:
            tensors[ABOUT + column] = _text([*images[name].astype("string").fillna("")])
    return tensors


def _units(images: pd.DataFrame) -> dict[str, list[str]]:
    """Name what each image belongs to, by unit. A lesion is one abnormality of a breast in all its views."""
    named = {name: [str(value) for value in images[name]] for name in ("patient", "side", "lesion", "abnormality")}
    breasts = [*map("\0".join, zip(named["patient"], named["side"], strict=True))]
    lesions = [*map("\0".join, zip(breasts, named["lesion"], named["abnormality"], strict=True))]
    return {"patient": named["patient"], "breast": breasts, "lesion": lesions, "image": [*images["image"]]}


def _text(cells: list[str]) -> Tensor:
    """Write texts as rows of UTF-8, (cells, longest), filled up with zeros."""
    written = np.array([cell.encode() for cell in cells], dtype=bytes)
    return torch.from_numpy(written.reshape(-1, 1).view(np.uint8).copy())


def _bytes(pseudonyms: list[str]) -> Tensor:
    return torch.from_numpy(np.frombuffer(bytes.fromhex("".join(pseudonyms)), np.uint8).reshape(-1, 8).copy())
