"""Scores a finished run's models on another cohort."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from fedmammo.errors import InputError
from fedmammo.evaluation.predictions import VALIDATION
from fedmammo.evaluation.tables import evaluate
from fedmammo.files import read_tensors
from fedmammo.hospitals.holder import hospital_of_patients, names
from fedmammo.predictions import tabulate
from fedmammo.run_folder import RunFolder, read_config
from fedmammo.study import cells
from fedmammo.training.hospital import FEATURES_AT_ONCE, open_site
from fedmammo.training.steps import score


def rescore(run: Path, cohort: Path, split: str, report: Callable[[str], None]) -> pd.DataFrame:
    """Return rows like results.csv for a run's models on a split of another cohort.

    The cohort's patients are assigned to hospitals by the run's own rule; thresholds are those that the run's
    validation patients set. Raises InputError where the run is unfinished or cross-validated (it then has no model
    that is meant for new patients), or the cohort has no such split.
    """
    config, _ = read_config(run)
    if config.evaluation.folds:
        raise InputError(f"{run}: was cross-validated and has no model for other cohorts; run it without folds")
    known = RunFolder(run).predictions()
    study = config.model_copy(
        update={
            "cohort": config.cohort.model_copy(update={"path": str(cohort)}),
            "evaluation": config.evaluation.model_copy(update={"test": split}),
        }
    )
    tables = [known[known["split"] == VALIDATION]]
    for cell in cells(study):
        site = open_site(study.for_arm(cell.arm).model_dump_json())
        patients = site.cohort.patients
        if split not in set(patients["split"]):
            splits = ", ".join(sorted(patients["split"].unique()))
            raise InputError(f"--split {split}: {cohort} has no such split; it has {splits}")
        report(f"scoring {cell.name}")
        hospitals = names(site.cohort, study)
        hospital_of = site.cohort.manifest["patient"].map(hospital_of_patients(site.cohort, study))
        tested = (site.cohort.manifest["split"] == split).to_numpy()
        models = {
            path.stem.removeprefix(f"{cell.name}-"): read_tensors(path)[0]
            for path in sorted((run / "models").glob(f"{cell.name}-*.safetensors"))
        }
        answers = {}
        for position, hospital in enumerate(hospitals):
            rows = np.flatnonzero(tested & (hospital_of == hospital).to_numpy())
            for start in range(0, len(rows), FEATURES_AT_ONCE):
                site.inputs.compute(rows[start : start + FEATURES_AT_ONCE])
            scores = {f"score/{name}": torch.from_numpy(score(site.inputs, rows, models[name])) for name in models}
            answers[position] = {"rows": torch.from_numpy(rows), "test": torch.ones(len(rows)), **scores}
        tables.append(tabulate(site.cohort, study, cell, hospitals, answers))
    results, _ = evaluate(pd.concat(tables), test_split=split, resamples=study.evaluation.resamples)
    return results
