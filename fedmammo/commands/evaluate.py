"""Scores a finished run's models on another cohort."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from fedmammo.cohort.store import Cohort
from fedmammo.disk.files import read_tensors
from fedmammo.errors import InputError
from fedmammo.evaluation.predictions import VALIDATION
from fedmammo.evaluation.tables import evaluate
from fedmammo.hospitals.holder import hospital_of_patients, names
from fedmammo.run.folder import RunFolder, read_config
from fedmammo.run.guarantees import guarantees, mark
from fedmammo.run.predictions import tabulate
from fedmammo.study import cells
from fedmammo.training.site import FEATURES_AT_ONCE, open_site
from fedmammo.training.steps import score


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
    tables = [known[known["split"] == VALIDATION]]
    for cell in cells(study):
        drawn = study.for_cell(cell.arm, cell.setting, cell.draw)
        site = open_site(drawn.model_dump_json())
        if site.inputs.classifier.digest() not in digests["weights"].split():
            raise InputError(
                f"{run}: was trained on other weights than {config.diagnosis.weights} now gives; restore them"
            )
        report(f"scoring {cell.name}")
        hospitals = names(site.cohort, drawn)
        hospital_of = site.cohort.manifest["patient"].map(hospital_of_patients(site.cohort, drawn))
        tested = (site.cohort.manifest["split"] == split).to_numpy()
        trained_at = known.loc[known["arm"] == cell.arm, "trained_at"].unique()
        models = {name: read_tensors(folder.model(cell, name))[0] for name in trained_at}
        answers = {}
        for position, hospital in enumerate(hospitals):
            rows = np.flatnonzero(tested & (hospital_of == hospital).to_numpy())
            for start in range(0, len(rows), FEATURES_AT_ONCE):
                site.inputs.compute(rows[start : start + FEATURES_AT_ONCE])
            scores = {
                f"score/{name}": torch.from_numpy(score(site.inputs, rows, model)) for name, model in models.items()
            }
            answers[position] = {"rows": torch.from_numpy(rows), "test": torch.ones(len(rows)), **scores}
        tables.append(tabulate(site.cohort, drawn, cell, hospitals, answers))
    results, _ = evaluate(pd.concat(tables), test_split=split, resamples=study.evaluation.resamples)
    return mark(results, guarantees(run, config, cells(study)))
