"""A hospital at work: opens its patients, does what it is asked, commits its state."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fedmammo.config.sections import ALL
from fedmammo.config.setting import epsilon_of
from fedmammo.errors import StudyError
from fedmammo.features.inputs import Inputs
from fedmammo.hospitals.holder import Holder, names
from fedmammo.hospitals.profiles import profiles_of
from fedmammo.privacy.fields import check_fields
from fedmammo.privacy.limits import Limits, strictest
from fedmammo.privacy.mechanism import Mechanism, Stage
from fedmammo.privacy.officer import Officer, digest_of_tensors
from fedmammo.privacy.plan import Plan, RefusalError, digest_of_study
from fedmammo.privacy.steps import PrivateSteps, images_of_nobody
from fedmammo.randomness import generator_of
from fedmammo.synthesis.pool import keep_pool
from fedmammo.synthesis.sources import POOLS
from fedmammo.training import steps
from fedmammo.training.gan import gan_name
from fedmammo.training.generator import count_classes, embed, train_round
from fedmammo.training.site import FEATURES_AT_ONCE, Site, holder_of, open_inputs, open_site
from fedmammo.training.state import commit_state, load_state
from fedmammo.training.task import Task


def work(
    task: Task, node: int, incoming: dict[str, dict[str, Tensor]], proximal_mu: float = 0.0
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Do one task as the hospital of node `node` (counted from 0), or as the holder of all patients.

    Args:
        task: the instruction.
        node: position of the hospital in the study.
        incoming: models by name: `arrays` for a round, and for a GAN's `initial` (the GAN to begin with) and
            `generator` (the server's); for `score`, `model/<where it was trained>`; for `share`, the files of a pool,
            `pool`, as bytes.
        proximal_mu: FedProx's weight, for `train`.

    Returns:
        features: nothing; numbers `remaining` (images still to compute: its patients', or its part of a pool).
        share: nothing; keeps the pool, unless it is there.
        plan: nothing; writes down that the hospital agrees to the plan.
        count: nothing; numbers `benign` and `malignant` (training patients who have images of the class).
        generator: the parts of the GAN that travel; numbers as for `train`; commits the rest as state.
        embedding: `embedding`, the mean over patients of vectors of features; numbers as for `train`, no `loss`.
        train: the trained tensors (or their gradient, where a trusted server adds the noise); numbers `num-examples`
            (training patients), `loss`, `images`, or under a budget `num-examples` and `epsilon` (spent so far);
            commits the state, and under a budget the ledger.
        score: `rows` (manifest rows), `test` (1 where tested, 0 where for thresholds), the constants of the model
            (fedmammo.models.classifier.CONSTANTS) and `score/<trained at>`.

    Raises StudyError where training ended in numbers that are not finite; the state stays as it was. Also where a pool
    is not the one that the task names. Raises RefusalError where a setting has a budget and the task is not what the
    hospital agreed to, or the answer would hold what is not for others to see.
    """
    outgoing, numbers = _do(task, node, incoming, proximal_mu)
    if _under_budget(task):
        check_fields(task.stage, [*(["tensors"] if outgoing else []), *numbers])
    return outgoing, numbers


def _under_budget(task: Task) -> bool:
    """Whether a task is a part of what a budget covers: a generator may be trained outside it."""
    if epsilon_of(task.cell.setting) is None:
        return False
    of_generator = task.stage in ("count", "generator", "embedding")
    return not of_generator or open_site(task.study).config.private_generator


def _do(
    task: Task, node: int, incoming: dict[str, dict[str, Tensor]], proximal_mu: float
) -> tuple[dict[str, Tensor], dict[str, float]]:
    if task.stage == "share" and task.pool is not None:
        files = {name: content.numpy().tobytes() for name, content in incoming["pool"].items()}
        keep_pool(Path(task.run) / POOLS, task.pool, files)
        return {}, {}
    site = open_site(task.study)
    torch.set_num_threads(site.config.engine.threads_per_hospital)
    if task.stage == "features" and task.pool is not None:
        inputs = open_inputs(task.study, task.run, task.pool)
        synthetic = np.arange(inputs.images_of_patients, len(inputs.malignant))
        return {}, _compute_some(inputs, synthetic[task.among.index(node) :: len(task.among)])
    holder = holder_of(task.study, None if task.pooled else node, task.cell.seed, task.cell.fold)
    if task.stage == "features":
        return {}, _compute_some(site.inputs, holder.rows, in_parts=not _under_budget(task))
    if task.stage == "plan":
        _agree(site, holder, task)
        return {}, {}
    if task.stage != "score" and _limits(site, holder).without_budget == "refused" and not _under_budget(task):
        raise RefusalError(f"refused: {holder.name} takes part in nothing but settings with a budget")
    if task.stage == "count":
        return {}, count_classes(site.inputs, holder)
    if task.stage in ("generator", "embedding"):
        agreed = _agreed(site, holder, task, task.stage) if _under_budget(task) else None
        if task.stage == "embedding":
            return embed(site, holder, task, agreed)
        return train_round(site, holder, task, incoming, agreed)
    if task.stage == "train":
        return _train(site, holder, task, incoming["arrays"], proximal_mu)
    return _score(site, holder, incoming), {}


def _compute_some(inputs: Inputs, rows: np.ndarray, in_parts: bool = True) -> dict[str, float]:
    """Compute features; all at once under a budget, when the number of parts would tell the number of images."""
    missing = inputs.missing(rows)
    part = missing[:FEATURES_AT_ONCE] if in_parts else missing
    inputs.compute(part)
    return {"remaining": float(len(missing) - len(part))}


def _score(site: Site, holder: Holder, incoming: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    rows = np.concatenate([holder.test, holder.validation])
    tested = np.arange(len(rows)) < len(holder.test)
    constants = {name: tensor.cpu() for name, tensor in site.inputs.classifier.constants.items()}
    scores = {
        key.replace("model/", "score/", 1): torch.from_numpy(steps.score(site.inputs, rows, model))
        for key, model in incoming.items()
    }
    return {"rows": torch.from_numpy(rows), "test": torch.from_numpy(tested.astype(np.uint8)), **constants, **scores}


def _train(
    site: Site, holder: Holder, task: Task, incoming: dict[str, Tensor], proximal_mu: float
) -> tuple[dict[str, Tensor], dict[str, float]]:
    cell, config, patients = task.cell, site.config, holder.training
    stream = (cell.seed, cell.arm, cell.setting, cell.draw, cell.fold)
    folder = Path(task.run) / "hospitals" / holder.name / cell.name
    inputs, state = site.inputs, load_state(folder, before=task.round)
    if task.pool is not None:
        inputs = open_inputs(task.study, task.run, task.pool)
        synthetic = np.arange(inputs.images_of_patients, len(inputs.malignant))
        wanted = images_of_nobody(config, len(patients))
        generator = generator_of(*stream, "synthetic images", task.round, holder.name)
        chosen = generator.choice(synthetic, wanted, replace=wanted > len(synthetic))
        patients = (*patients, *chosen.reshape(-1, 1))

    def step(private: PrivateSteps | None) -> tuple[dict[str, Tensor], dict[str, float]]:
        outgoing, numbers, new = steps.train(
            inputs,
            patients,
            config.diagnosis,
            config.federation.local_steps,
            generator_of(*stream, task.stage, task.round, holder.name),
            incoming,
            state,
            proximal_mu,
            private,
        )
        if not all(tensor.isfinite().all() for tensor in (*outgoing.values(), *new.values())):
            raise StudyError("its model is not finite; a smaller learning rate may help")
        commit_state(folder, task.round, new)
        return outgoing, numbers

    declared = {"num-examples": float(len(holder.training))}
    if epsilon_of(cell.setting) is None:
        outgoing, numbers = step(None)
        return outgoing, declared | numbers
    officer, plan, mechanism = _agreed(site, holder, task, "train")

    def draw(request: str) -> dict[str, Tensor]:
        count, public = len(holder.training), len(patients) - len(holder.training)
        return step(PrivateSteps(mechanism, officer.secret, request, count, public, plan.trust == "local"))[0]

    request = {"cell": cell.name, "pool": task.pool, "proximal_mu": proximal_mu, "cohort": site.cohort.digest}
    tensors = {"incoming": digest_of_tensors(incoming), "state": digest_of_tensors(state)}
    outgoing, spent = officer.release(plan, mechanism, task.round, request | tensors, draw)
    return outgoing, declared | {"epsilon": spent}


def _officer(site: Site, holder: Holder, task: Task, generator: bool = False) -> Officer:
    """Return the hospital's officer for a deployment, or for the generator that it shares with others."""
    folder = Path(task.run) / "hospitals" / holder.name
    before = [gan_name(task.cell, site.config, task.pooled, holder.name)] if site.config.private_generator else []
    deployment, before = (before[0], []) if generator else (task.cell.name, before)
    return Officer(folder, deployment, site.config.privacy.secret_seed, before)


def _limits(site: Site, holder: Holder) -> Limits:
    """Return what a hospital allows; whoever holds all patients allows what every hospital does."""
    hospitals = names(site.cohort, site.config)
    limits = [profile.privacy for profile in profiles_of(site.config.hospitals, hospitals)]
    return strictest(limits) if holder.name == ALL else limits[hospitals.index(holder.name)]


def _agree(site: Site, holder: Holder, task: Task) -> None:
    limits, patients = _limits(site, holder), len(holder.training)
    for generator in (False, True) if site.config.private_generator else (False,):
        officer = _officer(site, holder, task, generator)
        officer.agree(task.plan or "", digest_of_study(site.config), limits, holder.name, patients)


def _agreed(site: Site, holder: Holder, task: Task, stage: Stage) -> tuple[Officer, Plan, Mechanism]:
    officer = _officer(site, holder, task, generator=stage != "train")
    plan, mechanism = officer.accept(task.plan or "", stage, task.asked or {}, digest_of_study(site.config), task.round)
    return officer, plan, mechanism
