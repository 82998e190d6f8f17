"""The driver: the whole flow of a study on one screen.

config → cohort → hospitals → features → training → scoring → evaluation. A study is arms x settings x seeds (x folds);
each such cell is one deployment. Flower's ServerApp calls `run` with Flower's grid, the inline engine with its own:
the three arms walk the same path.
"""

import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from flwr.serverapp import Grid

from fedmammo.cohort.store import Cohort
from fedmammo.config import StudyConfig
from fedmammo.evaluation.tables import evaluate
from fedmammo.federation.arms import groups_of
from fedmammo.federation.server import Report, Server
from fedmammo.files import digest_of_sources
from fedmammo.hospitals.holder import holders, names
from fedmammo.hospitals.profiles import digest_of_profiles, profiles_of
from fedmammo.models.classifier import build_classifier, initial_model
from fedmammo.predictions import tabulate, tested_split
from fedmammo.run_folder import RunFolder
from fedmammo.training.hospital import pick_device
from fedmammo.training.steps import CONSTANTS
from fedmammo.training.task import Cell


def cells(config: StudyConfig) -> Iterator[Cell]:
    """List the study's deployments in the order in which they run."""
    for arm in config.arms:
        for setting in config.settings:
            for seed in config.seeds:
                for draw in config.hospitals.seed:
                    for fold in range(max(1, config.evaluation.folds)):
                        yield Cell(arm, setting, seed, draw, fold)


def check(config: StudyConfig) -> tuple[list[str], dict[str, str]]:
    """Open everything that a study needs, before anything is written.

    Returns the names of the hospitals, and what else the results depend on: digests of code, weights, cohort and
    profiles, device and versions. Raises InputError, in one line, for whatever the study asks for that is not there
    or cannot be.
    """
    cohort = Cohort.open(Path(config.cohort.path))
    for arm, seed, draw, fold in {(cell.arm, cell.seed, cell.draw, cell.fold) for cell in cells(config)}:
        holders(cohort, config.for_cell(arm, draw), seed, fold)
    device = pick_device(config.engine.device)
    backbones = [build_classifier(config.for_arm(arm).diagnosis).digest() for arm in config.arms]
    hospitals = names(cohort, config)
    digests = {
        "code": digest_of_sources(),
        "weights": " ".join(dict.fromkeys(backbones)),
        "cohort": cohort.digest,
        "profiles": digest_of_profiles(config.hospitals, hospitals),
        "device": device.type,
        "libraries": ", ".join(f"{name} {version(name)}" for name in ("torch", "timm", "flwr", "numpy")),
    }
    return hospitals, digests


def run(config: StudyConfig, folder: RunFolder, grid: Grid, report: Report) -> None:
    """Run every cell that is not finished yet, then evaluate them all; see `RunFolder` for what is left behind."""
    cohort = Cohort.open(Path(config.cohort.path))
    hospitals = profiles_of(config.hospitals, names(cohort, config))
    server = Server(grid, config, folder.path, hospitals, report)

    for cell in cells(config):
        if folder.finished(cell):
            continue
        started = time.monotonic()
        study = config.for_cell(cell.arm, cell.draw)
        groups = groups_of(cell.arm, [hospital.name for hospital in hospitals], study.federation.strategy)
        server.compute_features(cell, study)
        initial = initial_model(study.diagnosis, cell.seed)
        trained = server.train(cell, study, groups, initial, folder.checkpoint(cell))
        answers = server.score(cell, study, trained.models)
        predictions = tabulate(cohort, study, cell, [hospital.name for hospital in hospitals], answers)
        constants = {name: answers[0][name] for name in CONSTANTS}
        models = {trained_at: {**model, **constants} for trained_at, model in trained.models.items()}
        folder.finish(cell, models, trained.rows, predictions, seconds=time.monotonic() - started)

    predictions = folder.collect(list(cells(config)))
    results, comparisons = evaluate(predictions, test_split=tested_split(config), resamples=config.evaluation.resamples)
    folder.conclude(results, comparisons)
