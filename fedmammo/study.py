"""The driver: the whole flow of a study on one screen.

config → cohort → hospitals → features → training → scoring → evaluation; settings that learn from synthetic images
make these, or pretrain on them, before training. A study is arms x settings x seeds (x folds); each such cell is one
deployment. Flower's ServerApp calls `run` with Flower's grid, the inline engine with its own: the three arms walk the
same path.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

from flwr.serverapp import Grid

from fedmammo.cohort.store import Cohort
from fedmammo.config.setting import kind_of
from fedmammo.config.study import StudyConfig
from fedmammo.disk.files import digest_of_sources
from fedmammo.errors import InputError, StudyError
from fedmammo.evaluation.tables import evaluate
from fedmammo.federation.arms import Group, groups_of
from fedmammo.federation.central import CentralRounds
from fedmammo.federation.checkpoint import Checkpoint
from fedmammo.federation.generators import generate
from fedmammo.federation.rounds import Rounds
from fedmammo.federation.server import Report, Server
from fedmammo.hospitals.holder import holders, names
from fedmammo.hospitals.profiles import digest_of_profiles, profiles_of
from fedmammo.models.classifier import CONSTANTS, build_classifier, initial_model
from fedmammo.privacy.plan import Plan, plan_of
from fedmammo.run.folder import RunFolder, round_row
from fedmammo.run.guarantees import guarantees, mark
from fedmammo.run.pools import Pools, check_source
from fedmammo.run.predictions import tabulate, tested_split
from fedmammo.run.quality import QUALITY_TABLE, write_quality
from fedmammo.synthesis.sources import POOLS
from fedmammo.training.pretraining import pretrain
from fedmammo.training.site import pick_device
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
    setting = next(iter(config.settings))
    for arm, seed, draw, fold in {(cell.arm, cell.seed, cell.draw, cell.fold) for cell in cells(config)}:
        holders(cohort, config.for_cell(arm, setting, draw), seed, fold)
    device = pick_device(config.engine.device)
    studies = [
        config.for_cell(arm, setting, config.hospitals.draw) for arm in config.arms for setting in config.settings
    ]
    networks = {study.diagnosis.model_dump_json(): study.diagnosis for study in studies}
    backbones = [build_classifier(network).digest() for network in networks.values()]
    hospitals = names(cohort, config)
    for study in studies:
        fault = study.federation.strategy.refuses(study, len(hospitals)) if "federated" in study.arms else None
        if fault:
            raise InputError(f"federation.strategy: {fault}")
    digests = {
        "code": digest_of_sources(),
        "weights": " ".join(dict.fromkeys(backbones)),
        "cohort": cohort.digest,
        "profiles": digest_of_profiles(config.hospitals, hospitals),
        **({"images": check_source(config.synthesis)} if config.synthesis else {}),
        "device": device.type,
        "libraries": ", ".join(f"{name} {version(name)}" for name in ("torch", "timm", "flwr", "numpy")),
    }
    return hospitals, digests


def run(config: StudyConfig, folder: RunFolder, grid: Grid, report: Report) -> None:
    """Run every cell that is not finished yet, then evaluate them all; see `RunFolder` for what is left behind."""
    cohort = Cohort.open(Path(config.cohort.path))
    hospitals = profiles_of(config.hospitals, names(cohort, config))
    server = Server(grid, config, folder.path, hospitals, report)
    pools = Pools(folder.path / POOLS, cohort.patches.shape[1], partial(generate, server))

    try:
        for cell in cells(config):
            if not folder.finished(cell):
                deploy(cell, config, cohort, server, pools, folder)
    except StudyError as error:
        finished = folder.complete(list(cells(config)))
        if finished:
            conclude(config, folder, finished)
            raise StudyError(f"{error}; {folder.path / 'results.csv'} has what was finished") from error
        raise

    if set(map(kind_of, config.settings)) != {"real"} and not (folder.path / POOLS / QUALITY_TABLE).exists():
        write_quality(config, folder.path)
    folder.collect(list(cells(config)))
    conclude(config, folder, list(cells(config)))


def deploy(cell: Cell, config: StudyConfig, cohort: Cohort, server: Server, pools: Pools, folder: RunFolder) -> None:
    """Run one cell: what hospitals agree to, what they learn, what the models score."""
    started = time.monotonic()
    study = config.for_cell(cell.arm, cell.setting, cell.draw)
    hospitals = [hospital.name for hospital in server.hospitals]
    groups = groups_of(cell.arm, hospitals, study.federation.strategy)
    server.compute_features(cell, study)
    held = holders(cohort, study, cell.seed, cell.fold)
    plan = plan_of(study, {name: len(holder.training) for name, holder in held.items()})
    if plan is not None:
        server.agree(cell, study, groups, plan)
    trained = learn(cell, config, study, groups, server, pools, folder, plan)
    answers = server.score(cell, study, trained.models)
    predictions = tabulate(cohort, study, cell, hospitals, answers)
    constants = {name: answers[0][name] for name in CONSTANTS if name in answers[0]}
    models = {trained_at: {**model, **constants} for trained_at, model in trained.models.items()}
    folder.finish(cell, models, trained.rows, predictions, seconds=time.monotonic() - started)


def conclude(config: StudyConfig, folder: RunFolder, finished: list[Cell]) -> None:
    """Evaluate what cells left, and say what holds for patients."""
    predictions = folder.predictions(finished)
    results, comparisons = evaluate(predictions, test_split=tested_split(config), resamples=config.evaluation.resamples)
    folder.conclude(mark(results, guarantees(folder.path, config, finished)), comparisons)


def learn(
    cell: Cell,
    config: StudyConfig,
    study: StudyConfig,
    groups: list[Group],
    server: Server,
    pools: Pools,
    folder: RunFolder,
    plan: Plan | None,
) -> Checkpoint:
    """Train a cell's models on what its setting learns from: patients, synthetic images, or both."""
    initial = {group.name: initial_model(study.diagnosis, cell.seed) for group in groups}
    rounds = CentralRounds if plan is not None and plan.trust == "central" else Rounds
    if kind_of(cell.setting) == "real":
        return rounds(server, cell, study, groups, {}, plan).run(initial, folder.checkpoint(cell))

    held = pools.of(cell, study, groups, plan)
    digests = {name: pool.digest for name, pool in held.items()}
    server.compute_features_of_pools(cell, study, groups, digests)
    if kind_of(cell.setting) == "augmented":
        rows = server.share(cell, study, groups, held)
        trained = rounds(server, cell, study, groups, digests, plan).run(initial, folder.checkpoint(cell))
        return replace(trained, rows=[*rows, *trained.rows])
    rows, public = [], config.for_pretraining(cell.arm, cell.setting, cell.draw)
    for name, pool in digests.items():
        report = partial(server.progress, cell, "pretrain", {name: "ok"}, of=public.federation.rounds)
        initial[name], losses = pretrain(public, cell.seed, folder.path, pool, initial[name], report)
        rows += [round_row(cell, "pretrain", number, name, loss=loss) for number, loss in enumerate(losses, start=1)]
    trained = Checkpoint(initial)
    if kind_of(cell.setting) == "pretrained":
        trained = rounds(server, cell, study, groups, {}, plan).run(initial, folder.checkpoint(cell))
    return replace(trained, rows=[*rows, *trained.rows])
