"""How good the pools of a run are: a row for each pool and measure, in `quality.csv` beside the pools."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from fedmammo.cohort.store import Cohort, folder_of_features
from fedmammo.config.arm import ALL
from fedmammo.config.deployment import Deployment
from fedmammo.config.study import StudyConfig
from fedmammo.disk.files import write_text
from fedmammo.features.inputs import FEATURES_AT_ONCE, Inputs
from fedmammo.hospitals.dealing import Dealt, deal
from fedmammo.hospitals.records import records_of
from fedmammo.hospitals.site import open_cohort
from fedmammo.stages.opened import pick_device, with_weights
from fedmammo.synthesis.pool import Pool
from fedmammo.synthesis.quality import Images, quality_of
from fedmammo.synthesis.sources import POOLS, POOLS_TABLE, QUALITY_TABLE


def write_quality(config: StudyConfig, run: Path) -> pd.DataFrame:
    """Measure every pool of a run and write `RUN/synthetic/quality.csv`.

    A pool is compared with all test patients of its draw and fold, in what the study's network reads of images as the
    study shows them; training patients are those of all hospitals. Radiomic features, which take long, are extracted
    for the pools that stand for all hospitals.

    Returns:
        The rows: arm, seed, draw, fold, holder of the pool, then `fedmammo.synthesis.quality.Quality`.
    """
    path = config.cohort_folder
    cohort = open_cohort(path, folder_of_features(path, config.engine.features, run.resolve()))
    root, dealt = run / POOLS, deal(cohort, config)
    known: dict[tuple[str, ...], pd.DataFrame] = {}
    tables = []
    rows = pd.read_csv(root / POOLS_TABLE, dtype=str, na_filter=False)
    of_all = set(rows.loc[rows["holder"] == ALL, "digest"])
    for row in rows.to_dict("records"):
        if row["seed"] not in (ALL, str(config.seeds[0])):
            continue  # the same in other folds: it takes long
        deployment = config.deployment(row["arm"], row["setting"], config.seeds[0], int(row["draw"]), int(row["fold"]))
        diagnosis = deployment.diagnosis.model_dump_json()
        key = (row["digest"], diagnosis, str(deployment.seed), row["draw"], row["fold"])
        if key not in known:
            pool = Pool.open(root, row["digest"])
            known[key] = _measure(config, cohort, dealt, deployment, pool, radiomic=row["digest"] in of_all)
        place = {name: row[name] for name in ("arm", "seed", "draw", "fold", "holder")}
        tables.append(known[key].assign(**place)[[*place, *known[key].columns]])
    table = pd.concat(tables, ignore_index=True)
    write_text(root / QUALITY_TABLE, table.to_csv(index=False))
    return table


def _measure(
    config: StudyConfig, cohort: Cohort, dealt: Dealt, deployment: Deployment, pool: Pool, radiomic: bool
) -> pd.DataFrame:
    everybody = dealt.held(cohort, deployment)[ALL]
    records = records_of(cohort, dealt.draws[deployment.draw], dealt.digitisers)
    diagnosis, device = with_weights(deployment.diagnosis, config.weights), pick_device(config.engine.device)
    inputs = Inputs(cohort, diagnosis, device, records).joined(pool)  # the network as it is before it is trained
    synthetic = inputs.images_of_patients + np.arange(len(pool.images))
    training = np.sort(np.concatenate([*everybody.training, everybody.validation]))
    train, test, own = (_images(inputs, cohort, rows) for rows in (training, everybody.test, synthetic))
    return quality_of(train, test, own, deployment.seed, processes=(os.cpu_count() or 1) if radiomic else 0)


def _images(inputs: Inputs, cohort: Cohort, rows: np.ndarray) -> Images:
    """Gather what is measured of some rows of the inputs: patients' images, or a pool's behind them."""
    classifier, features = inputs.classifier.train(False), []
    for start in range(0, len(rows), FEATURES_AT_ONCE):
        part = rows[start : start + FEATURES_AT_ONCE]
        inputs.compute(part)
        with torch.no_grad():
            features.append(classifier.readout(inputs.read(part, np.zeros_like(part))).cpu().numpy())
    patches, patients = np.stack([inputs.patch(int(row)) for row in rows]), cohort.manifest["patient"].to_numpy()
    real = rows < len(patients)
    labels = inputs.malignant.astype(bool)
    labels[: len(patients)] = cohort.manifest["malignant"]  # what is true, also where a hospital's record is not
    return Images(patches, np.concatenate(features), labels[rows], list(patients[rows[real]]))
