"""Scores a finished run's models on another cohort."""

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from fedmammo.cohort.alike import digest_of_patch
from fedmammo.cohort.store import Cohort, folder_of_features
from fedmammo.config.arm import ArmName
from fedmammo.config.study import StudyConfig
from fedmammo.disk.files import read_tensors
from fedmammo.errors import InputError
from fedmammo.evaluation.evaluate import evaluate
from fedmammo.evaluation.predictions import VALIDATION
from fedmammo.features.inputs import FEATURES_AT_ONCE, Inputs
from fedmammo.hospitals.dealing import Dealt, deal
from fedmammo.hospitals.holder import TRAIN
from fedmammo.hospitals.records import records_of
from fedmammo.privacy.answer import Answer
from fedmammo.run.folder import RunFolder, read_config
from fedmammo.run.guarantees import guarantees, mark
from fedmammo.run.predictions import tabulate
from fedmammo.run.public import Public
from fedmammo.stages.score import MODEL, scores_of


def rescore(run: Path, cohort: Path, split: str, report: Callable[[str], None]) -> pd.DataFrame:
    """Return rows like results.csv for a run's models on a split of another cohort.

    The cohort's patients are assigned to hospitals by the run's own rule; thresholds are those that the run's
    validation patients set. Raises InputError where the run is unfinished or cross-validated (it then has no model
    that is meant for new patients), lacks a model, or where the cohort has no such split.
    """
    config, digests = read_config(run)
    if config.evaluation.folds:
        raise InputError(f"{run}: was cross-validated and has no model for other cohorts; run it without folds")
    folder = RunFolder(run)
    known = folder.predictions()
    splits = set(Cohort.open(cohort).patients["split"])
    if split not in splits:
        raise InputError(f"--split {split}: {cohort} has no such split; it has {', '.join(sorted(splits))}")
    study = config.model_copy(
        update={
            "cohort": config.cohort.model_copy(update={"path": str(cohort)}),
            "evaluation": config.evaluation.model_copy(update={"test": split}),
        }
    )
    other = Cohort.open(cohort, folder_of_features(cohort, config.engine.features, run.resolve()))
    there = config.cohort_folder.is_dir()
    if there:
        _refuse_trained(Cohort.open(config.cohort_folder), other, split)
    dealt, public = deal(other, study), Public(config if there else study, run)  # nothing is drawn again that is there
    opened = lru_cache(partial(_open, other, study, public, dealt))
    torch.set_num_threads(public.threads)
    tables = [known[known["split"] == VALIDATION]]
    for deployment in study.deployments:
        if deployment.arm.derived:
            raise InputError(f"{run}: the arm {deployment.arm_name} is made of others; give a run of one of them alone")
        if public.backbone(deployment) not in digests["weights"].split():
            raise InputError(
                f"{run}: was trained on other weights than {config.diagnosis.weights} now gives; restore them"
            )
        inputs = opened(deployment.arm_name, deployment.setting_name, deployment.draw)
        report(f"scoring {deployment.name}")
        of_arm = known.loc[known["arm"] == deployment.learned_by.arm_name, "trained_at"].unique()
        trained_at = [deployment.group] if deployment.members else of_arm
        models = {f"{MODEL}{name}": read_tensors(folder.model(deployment.learned_by, name))[0] for name in trained_at}
        hospital_of = other.manifest["patient"].map(dealt.draws[deployment.draw]["hospital"])
        answers = {}
        for hospital in dealt.names:
            rows = np.flatnonzero((hospital_of == hospital) & (other.manifest["split"] == split))
            for start in range(0, len(rows), FEATURES_AT_ONCE):
                inputs.compute(rows[start : start + FEATURES_AT_ONCE])
            tested = np.ones(len(rows), dtype=bool)
            answers[hospital] = Answer(scores_of(other, inputs, rows, tested, models, deployment.about))
        tables.append(tabulate(deployment, answers, folder.weights(deployment)))
    found = evaluate(pd.concat(tables), split, study.evaluation)
    return mark(found.results, guarantees(run, config, config.deployments))


def _refuse_trained(own: Cohort, other: Cohort, split: str) -> None:
    """Raise InputError where patches to be scored are those that the run's models were trained on.

    They are told by their pixels: the same images may have been prepared twice, under other names.
    """
    seen = {digest_of_patch(own.patches[row]) for row in np.flatnonzero(own.manifest["split"] == TRAIN)}
    asked = np.flatnonzero(other.manifest["split"] == split)
    again = sum(digest_of_patch(other.patches[row]) in seen for row in asked)
    if again:
        raise InputError(
            f"--split {split}: the run's models were trained on {again} of the {len(asked)} images in {other.folder}; "
            "name a cohort and a split that they have not seen"
        )


def _open(
    cohort: Cohort, study: StudyConfig, public: Public, dealt: Dealt, arm: ArmName, setting: str, draw: int
) -> Inputs:
    """Open the cohort's images as a deployment's network reads them."""
    records = records_of(cohort, dealt.draws[draw], dealt.digitisers)
    diagnosis = public.diagnosis(study.deployment(arm, setting))
    return Inputs(cohort, diagnosis, public.device, records, public.folder)
