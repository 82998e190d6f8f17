"""The driver: the whole flow of a study on one screen.

config → cohort → hospitals → features → training → scoring → evaluation; settings that learn from synthetic images
make these, or pretrain on them, before training. A study is arms x settings x seeds (x draws x folds); each such
combination is a deployment. Flower's ServerApp calls `run` with Flower's grid, the inline engine with its own: the
three arms walk the same path. In a simulation, `simulate` deals patients and writes each hospital its site file first.
"""

import gc
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from flwr.serverapp import Grid

from fedmammo.config.arm import ALL, Group
from fedmammo.config.deployment import Deployment
from fedmammo.config.evaluation import scored_rounds
from fedmammo.config.request import Request
from fedmammo.config.study import StudyConfig
from fedmammo.disk.files import read_tensors, write_text
from fedmammo.errors import StudyError
from fedmammo.federation.checkpoint import Checkpoint
from fedmammo.federation.client_app import app_of
from fedmammo.federation.hospitals import Hospitals
from fedmammo.federation.inline_grid import InlineGrid
from fedmammo.federation.rounds import Deployed, RoundsOf
from fedmammo.federation.server import Real, Report, Server, event_of
from fedmammo.federation.spread import FINISHED, Deploy, Failure
from fedmammo.hospitals.dealing import NODES, write_sites
from fedmammo.hospitals.profiles import names_of
from fedmammo.models.head import CONSTANTS
from fedmammo.privacy.answer import Answer
from fedmammo.privacy.secret import Secret
from fedmammo.run.at_home import AtHome, refuse_growth
from fedmammo.run.checks import check, check_deployments
from fedmammo.run.choice import derive
from fedmammo.run.conclusion import conclude
from fedmammo.run.folder import LINKS, RunFolder, round_row
from fedmammo.run.generators import Generators, without_budget
from fedmammo.run.ledgers import keep_ledgers
from fedmammo.run.patients import write_patients
from fedmammo.run.pools import Pools
from fedmammo.run.predictions import tabulate
from fedmammo.run.public import Public
from fedmammo.stages.opened import pick_device
from fedmammo.stages.personalize import Personalize
from fedmammo.stages.stage import Tensors
from fedmammo.stages.summarize import MOST_REPEATS
from fedmammo.stages.train import Train
from fedmammo.synthesis.pool import Pool
from fedmammo.synthesis.sources import QUALITY_TABLE, FromGan
from fedmammo.training.pretraining import pretrain, pretraining_name


def simulate(
    config: StudyConfig,
    out: Path,
    report: Report,
    on_grid: Callable[[Path, int, Callable[[Grid], None]], None],
    spread: Callable[[Sequence[str], Deploy, Report], Failure | None] | None = None,
) -> None:
    """Simulate a study in a folder: deal patients, write each hospital its site file, then run the server.

    Args:
        config: the study.
        out: the folder.
        report: called with what happens, for progress.
        on_grid: gives a grid of so many nodes, which find their site files in a folder, to a function.
        spread: runs whole deployments side by side (`side_by_side`), where it can and the study wants it.
    """
    dealt, digests = check(config)
    refuse_growth(out, config)
    with RunFolder(out).opened(config, digests) as folder:
        nodes = len(write_sites(folder.hospitals, config, dealt))
        write_patients(out, config, dealt)
        waiting = folder.unfinished(config.deployments)
        how, why = spread_of(config, waiting)

        def ask(some: list[Deployment]) -> None:
            _study_of(config.model_dump_json(), out, nodes).summarize(some)

        if not waiting:
            run(config, folder, lambda _: None, ask)
        elif spread is not None and how == "deployments":
            report(event_of(waiting[0], "begin") | {"message": f"deployments run side by side: {why}"})
            _study_of(config.model_dump_json(), out, nodes).ask_first(waiting)
            deploy = partial(deploy_alone, config.model_dump_json(), out.resolve(), nodes)
            run(config, folder, lambda some: spread([one.model_dump_json() for one in some], deploy, report), ask)
        else:
            on_grid(folder.hospitals, nodes, lambda grid: _on(grid, config, folder, report))


def at_sites(config: StudyConfig, out: Path, report: Report, on_grid: Callable[[Callable[[Grid], None]], None]) -> None:
    """Run the server of a study at real hospitals, in a folder: it holds no patient, and writes nobody's site file.

    `on_grid`: gives a grid of the hospitals' nodes to a function, again where the link to them was lost.
    """
    hospitals = names_of(config.hospitals.assignment)
    config.check_named(hospitals)
    digests = check_deployments(config, hospitals, out)
    refuse_growth(out, config)
    with RunFolder(out).opened(config, digests) as folder:
        write_text(folder.hospitals / NODES, json.dumps(hospitals) + "\n")
        on_grid(lambda grid: _on(grid, config, folder, report))


def _on(grid: Grid, config: StudyConfig, folder: RunFolder, report: Report) -> None:
    """Run a study's server on a grid."""
    study = Study(config, folder, grid, report)
    run(config, folder, study.deploy_all, study.summarize)


def spread_of(config: StudyConfig, waiting: list[Deployment]) -> tuple[str, str]:
    """Say what runs side by side, `hospitals` or `deployments`, and why."""
    if config.engine.spread != "auto":
        return config.engine.spread, "engine.spread says so"
    learned = [*waiting, *(config.deployments if any(one.recipes for one in waiting) else ())]  # recipes may be tried
    heavy = [
        (len(waiting) < 2, "there is one deployment"),
        (pick_device(config.engine.device).type == "cuda", "there is a GPU"),
        (any(one.diagnosis.train != "head" for one in learned), "networks are trained"),
        (any(isinstance(one.source, FromGan) for one in waiting), "GANs are trained"),
    ]
    reasons = [reason for holds, reason in heavy if holds]
    return ("hospitals", reasons[0]) if reasons else ("deployments", "linear heads alone are trained")


def deploy_alone(study: str, out: Path, nodes: int, deployment: str, report: Report) -> None:
    """Run one deployment, all hospitals in this process; study and deployment are given as JSON."""
    own = _study_of(study, out, nodes)
    own.server.report = report
    own.deploy(Deployment.model_validate_json(deployment))


@lru_cache(maxsize=1)
def _study_of(study: str, out: Path, nodes: int) -> "Study":
    config, folder = StudyConfig.model_validate_json(study), RunFolder(out)
    gc.freeze()
    return Study(config, folder, InlineGrid(app_of(folder.hospitals), nodes), print)


def run(
    config: StudyConfig,
    folder: RunFolder,
    deploy_all: Callable[[list[Deployment]], Failure | None],
    summarize: Callable[[list[Deployment]], None],
) -> None:
    """Run every deployment that is not finished yet, then evaluate all; see `RunFolder` for what is left behind.

    Args:
        config: the study.
        folder: of the run.
        deploy_all: runs deployments; returns the first that failed, and why.
        summarize: asks hospitals that keep their tested patients' scores to sum them up, once all are there.
    """
    deployments = list(config.deployments)
    waiting = folder.unfinished(deployments)
    if any(one.source for one in waiting):
        (folder.pools / QUALITY_TABLE).unlink(missing_ok=True)  # there will be pools that it does not know
    for some in ([one for one in waiting if one.arm.trained], [one for one in waiting if not one.arm.trained]):
        failure = deploy_all(some) if some else None
        if failure is None:
            continue
        number, error = failure
        finished = folder.complete(deployments[: deployments.index(some[number])])
        if finished and not AtHome(folder.path).kinds:  # hospitals sum up once, when all is there
            conclude(config, folder, finished)
            raise StudyError(f"{error}; {folder.path / 'results.csv'} has what was finished") from error
        raise error
    if not config.at_sites and any(one.source for one in deployments) and not (folder.pools / QUALITY_TABLE).exists():
        from fedmammo.run.quality import write_quality  # scikit-learn

        write_quality(config, folder.path)
    if AtHome(folder.path).unasked():
        summarize(deployments)
    folder.collect(deployments)
    conclude(config, folder, deployments)


class Study:
    """The server's side of a study.

    Args:
        config: the study.
        folder: of the run.
        grid: Flower's grid, or the inline one.
        report: called with what happens, for progress.
    """

    def __init__(self, config: StudyConfig, folder: RunFolder, grid: Grid, report: Report) -> None:
        nodes = json.loads((folder.hospitals / NODES).read_text())
        self.config, self.folder = config, folder
        self.public = Public(config, folder.path)
        engine, real = config.engine, self._real(report)
        self.server = Server(grid, nodes, engine.timeout, report, engine.checkpoint_seconds, real)
        secret = Secret.of(folder.server, config.privacy.secret_seed)
        self.hospitals = Hospitals(self.server, secret, self.public.device)
        generators = Generators(self.server, folder, self.public)
        side = self.server.nodes[self.hospitals.names[0]].side
        generate = partial(generators.generate, hospitals=self.hospitals.names)
        seeded = config.privacy.secret_seed is not None
        self.pools = Pools(folder.pools, side, config.synthesis, generate, seeded)

    def _real(self, report: Report) -> Real | None:
        """Return what is known of real hospitals; nothing in a simulation."""
        link, first = self.config.engine.link, next(iter(self.config.deployments))
        if link is None:
            return None
        links = self.folder.path / LINKS

        def say(text: str) -> None:
            report(event_of(first, "waiting") | {"message": text})

        return Real(self.config.keys, link.patients == "drawn", links, say)

    @property
    def apart(self) -> bool:
        """Whether a model of one hospital stays there: without a budget, where its site file does not share it."""
        own = [one for one in self.config.deployments if one.arm.alone or one.arm.kind == "personalized"]
        keep = any(self.server.nodes[name].keeps_models for name in self.hospitals.names)
        return keep and any(one.privacy is None for one in own)

    def deploy_all(self, deployments: list[Deployment]) -> Failure | None:
        """Run deployments one after the other; returns the first that failed, and why, where it ends."""
        self.ask_first(deployments)
        for number, deployment in enumerate(deployments):
            try:
                self.deploy(deployment)
            except StudyError as error:
                return number, error
        return None

    def ask_first(self, deployments: list[Deployment]) -> None:
        """Let hospitals read one deployment of each arm and setting, so that nothing is computed that one refuses.

        Raises StudyError where one does.
        """
        asked: dict[tuple[str, str], Deployment] = {}
        for deployment in deployments:
            if not deployment.arm.derived:
                asked.setdefault((deployment.arm_name, deployment.setting_name), deployment)
        for deployment in asked.values():
            self.hospitals.declare(deployment)
        if self.apart and (self.config.evaluation.every or any(not one.arm.trained for one in deployments)):
            raise StudyError(
                "evaluation.every, arms: curves and the arm ensemble need every hospital's own model, and some stay at "
                "home; leave these out, or have local_models: shared in site files"
            )
        if self.hospitals.at_home and any(one.arm.derived for one in deployments):
            raise StudyError(
                f"arms: chosen and averaged need rows of scores, and {min(self.hospitals.at_home)} keeps its own; "
                "leave them out"
            )
        if self.hospitals.at_home and len(self.config.seeds) * len(self.config.hospitals.seed) > MOST_REPEATS:
            raise StudyError(
                f"seeds: more than {MOST_REPEATS} seeds and draws, and {min(self.hospitals.at_home)} keeps its tested "
                "patients' scores, of whom each tells more; take fewer"
            )

    def summarize(self, deployments: list[Deployment]) -> None:
        """Ask hospitals that keep their tested patients' scores to sum them up, of all these deployments."""
        at_home, request = AtHome(self.folder.path), Request.of(deployments, self.config.evaluation)
        at_home.keep(request, self.hospitals.summarize(deployments, request, at_home.unasked()))

    def deploy(self, deployment: Deployment) -> None:
        """Run one deployment: what hospitals agree to, what they learn, what the models score."""
        started = time.monotonic()
        if deployment.arm.derived:
            return self.derive(deployment)
        deployed, trained, answers = self.learn_and_score(deployment)
        AtHome(self.folder.path).note(answers, self.apart)
        first = next(iter(answers.values())).tensors
        constants = {name: first[name] for name in CONSTANTS if name in first}
        models = {trained_at: {**model, **constants} for trained_at, model in trained.models.items()}
        if not deployment.arm.trained:
            models = {ALL: {name: torch.tensor(size) for name, size in deployed.sizes.items()}}
        predictions = tabulate(deployment, answers, deployed.sizes)
        if self.config.at_sites:
            keep_ledgers(self.folder, deployment, self.hospitals.finish(deployed))
        self.folder.finish(deployment, models, trained.rows, predictions, seconds=time.monotonic() - started)
        self.server.report(event_of(deployment, FINISHED))

    def learn_and_score(self, deployment: Deployment) -> tuple[Deployed, Checkpoint, dict[str, Answer]]:
        """Let hospitals agree to a deployment, learn, and score their patients with the models."""
        deployed = self.hospitals.agree(deployment)
        self.hospitals.features(deployed)
        trained = self.learn(deployed)
        return deployed, trained, self.hospitals.score(deployment, trained.models)

    def derive(self, deployment: Deployment) -> None:
        """Make an arm of federated variants: the one that does best in inner folds, or what all score together."""
        started = time.monotonic()
        models, predictions = derive(deployment, self.config, self.folder, partial(self.tried, deployment))
        self.folder.finish(deployment, models, [], predictions, seconds=time.monotonic() - started)
        self.server.report(event_of(deployment, FINISHED))

    def tried(self, whole: Deployment, one: Deployment) -> pd.DataFrame:
        """Return what `one` scores, tried for a `whole` deployment, as whose progress it is reported."""
        with self.server.reported_as(whole):
            deployed, _, answers = self.learn_and_score(one)
            AtHome(self.folder.path).note(answers, self.apart)
            if self.config.at_sites:
                self.hospitals.finish(deployed)
        return tabulate(one, answers, deployed.sizes)

    def learn(self, deployed: Deployed) -> Checkpoint:
        """Train a deployment's models on what its setting learns from: patients, synthetic images, or both."""
        deployment = deployed.deployment
        kind = deployment.setting.kind
        if not deployment.arm.trained:
            return Checkpoint({group.name: self._finished(deployment, group.name) for group in deployed.groups})
        first = self.public.start(deployment)
        initial = {group.name: first for group in deployed.groups}
        if kind == "public":
            return Checkpoint(initial)
        if kind == "real":
            return self.train(deployed, initial)
        of_generator = without_budget(deployment)
        trained_in = deployed if of_generator == deployment else self.hospitals.agree(of_generator)
        pools = self.pools.of(trained_in, deployment.setting_name)
        digests = {name: pool.digest for name, pool in pools.items()}
        if kind == "augmented":
            rows = self.hospitals.share(deployed, digests, {name: pool.tensors for name, pool in pools.items()})
            self.hospitals.features_of_pools(deployed, digests)
            trained = self.train(deployed, initial, digests)
            return replace(trained, rows=[*rows, *trained.rows])
        rows, initial = self.pretrain(deployed, pools, initial)
        trained = Checkpoint(initial)
        if kind == "pretrained":
            trained = self.train(deployed, initial)
        return replace(trained, rows=[*rows, *trained.rows])

    def _finished(self, deployment: Deployment, trained_at: str) -> Tensors:
        """Read a model that another arm has trained, without what features are centred and scaled by."""
        tensors, _ = read_tensors(self.folder.model(deployment.learned_by, trained_at))
        return {name: tensor for name, tensor in tensors.items() if name not in CONSTANTS}

    def train(self, deployed: Deployed, initial: dict[str, Tensors], pools: dict[str, str] | None = None) -> Checkpoint:
        """Take a deployment's rounds of training; for curves, let hospitals score its models after some of them.

        `pools`: digests of the images that each group learns from beside its patients.
        """
        deployment = deployed.deployment
        every = self.config.evaluation.every if deployment.inner_fold is None else 0
        scored = scored_rounds(every, deployment.federation.rounds)

        def score(number: int, models: dict[str, Tensors]) -> None:
            if number in scored:
                answers = self.hospitals.score(deployment, models, number)
                self.folder.keep_scores(deployment, number, tabulate(deployment, answers))

        stay, travel = self.hospitals.divide(deployed)
        rows = self.hospitals.alone(stay, initial, pools or {})
        if travel.groups:
            rounds = RoundsOf(self.server, travel, Train(), pools)
            trained = rounds.run(initial, self.folder.checkpoint(deployment), score)
        else:
            trained = Checkpoint({})
        trained = replace(trained, rows=[*rows, *trained.rows])
        return self.personalize(deployed, trained) if deployment.arm.kind == "personalized" else trained

    def personalize(self, deployed: Deployed, trained: Checkpoint) -> Checkpoint:
        """Let each hospital make a model of its own of the federated one."""
        alone = replace(deployed, groups=[Group(name, (name,)) for name in deployed.members])
        path = self.folder.checkpoint(deployed.deployment).with_name(f"{Personalize.name}.safetensors")
        federated = dict.fromkeys(deployed.members, trained.models[ALL])
        stay, travel = self.hospitals.divide(alone)
        rows = self.hospitals.keep_own(stay, federated)
        own = RoundsOf(self.server, travel, Personalize()).run(federated, path) if travel.groups else Checkpoint({})
        return replace(own, rows=[*trained.rows, *rows, *own.rows])

    def pretrain(
        self, deployed: Deployed, pools: dict[str, Pool], initial: dict[str, Tensors]
    ) -> tuple[list[dict[str, Any]], dict[str, Tensors]]:
        """Train each group's first model on its pool; returns rows of rounds.csv, and the models."""
        deployment, rows, found = deployed.deployment, [], {}
        public = self.config.pretraining(deployment)
        torch.set_num_threads(self.public.threads)
        for name, pool in pools.items():
            inputs = self.public.inputs(deployment).joined(pool)
            of = {"features": len(pool.images), "pretrain": public.federation.rounds}

            def report(stage: str, number: int, name: str = name, of: dict[str, int] = of) -> None:
                self.server.progress(deployment, stage, {name: "ok"}, number, of[stage])

            folder = self.folder.shared(pretraining_name(pool.digest, public))
            found[name], losses = pretrain(inputs, pool.digest, public, folder, initial[name], report)
            rows += [
                round_row(deployment.place, "pretrain", number, name, loss=loss)
                for number, loss in enumerate(losses, start=1)
            ]
        self.server.tell(deployment, "pretrain", rows, public.federation.rounds)
        return rows, found
