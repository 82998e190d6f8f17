"""A hospital at work: opens its patients, does what it is asked, commits its state."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fedmammo.cohort.store import Cohort
from fedmammo.config import ALL, StudyConfig
from fedmammo.errors import InputError, StudyError
from fedmammo.features.inputs import Inputs
from fedmammo.files import read_tensors, write_tensors
from fedmammo.hospitals.holder import Holder, holders, names
from fedmammo.hospitals.records import records_of
from fedmammo.randomness import generator_of
from fedmammo.training import steps
from fedmammo.training.task import Task

FEATURES_AT_ONCE = 32  # images of which a hospital computes the frozen prefix before it reports


@dataclass(frozen=True)
class Site:
    """What a process keeps open between tasks: the study, its cohort, and the classifier with its inputs."""

    config: StudyConfig
    cohort: Cohort
    inputs: Inputs


@lru_cache(maxsize=4)
def open_site(study: str) -> Site:
    """Open what a study (as JSON) needs; a process opens each study once.

    Sets torch's threads to `engine.threads_per_hospital`: sums depend on it.
    """
    config = StudyConfig.model_validate_json(study)
    torch.set_num_threads(config.engine.threads_per_hospital)
    device = pick_device(config.engine.device)
    torch.use_deterministic_algorithms(device.type == "cuda", warn_only=True)
    cohort = open_cohort(config.cohort.path)
    return Site(config, cohort, Inputs(cohort, config.diagnosis, device, records_of(cohort, config)))


@lru_cache(maxsize=16)
def _holder(study: str, node: int | None, seed: int, fold: int) -> Holder:
    """Find what a node holds; None stands for everything."""
    site = open_site(study)
    name = ALL if node is None else names(site.cohort, site.config)[node]
    return holders(site.cohort, site.config, seed, fold)[name]


@lru_cache(maxsize=4)
def open_cohort(path: str) -> Cohort:
    """Open a prepared cohort; a process opens each once."""
    return Cohort.open(Path(path))


def pick_device(wanted: str) -> torch.device:
    """Return the device for `engine.device`; `auto` is a GPU where this process sees one.

    Raises InputError where cuda is wanted and no GPU is seen.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "engine.device: cuda, but no GPU is visible here; set auto or cpu, or engine.gpus_per_hospital"
        )
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def work(
    task: Task, node: int, incoming: dict[str, dict[str, Tensor]], proximal_mu: float = 0.0
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Do one task as the hospital of node `node` (counted from 0), or as the holder of all patients.

    Args:
        task: the instruction.
        node: position of the hospital in the study.
        incoming: models by name: `arrays` for a round; for `score`, `model/<where it was trained>`.
        proximal_mu: FedProx's weight, for `train`.

    Returns:
        features: nothing; numbers `remaining` (images still to compute).
        train: the trained tensors; numbers `num-examples` (training patients), `loss`, `images`; commits the state.
        score: `rows` (manifest rows), `test` (1 where tested, 0 where for thresholds), the constants of the model
            (fedmammo.training.steps.CONSTANTS) and `score/<trained at>`.

    Raises StudyError where training ended in numbers that are not finite; the state stays as it was.
    """
    site = open_site(task.study)
    torch.set_num_threads(site.config.engine.threads_per_hospital)
    holder = _holder(task.study, None if task.pooled else node, task.cell.seed, task.cell.fold)
    if task.stage == "features":
        missing = site.inputs.missing(holder.rows)
        site.inputs.compute(missing[:FEATURES_AT_ONCE])
        return {}, {"remaining": float(max(0, len(missing) - FEATURES_AT_ONCE))}
    if task.stage == "train":
        return _train(site, holder, task, incoming["arrays"], proximal_mu)
    return _score(site, holder, incoming), {}


def _score(site: Site, holder: Holder, incoming: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    rows = np.concatenate([holder.test, holder.validation])
    tested = np.arange(len(rows)) < len(holder.test)
    constants = {name: getattr(site.inputs.classifier, name).cpu() for name in steps.CONSTANTS}
    scores = {
        key.replace("model/", "score/", 1): torch.from_numpy(steps.score(site.inputs, rows, model))
        for key, model in incoming.items()
    }
    return {"rows": torch.from_numpy(rows), "test": torch.from_numpy(tested.astype(np.uint8)), **constants, **scores}


def _train(
    site: Site, holder: Holder, task: Task, incoming: dict[str, Tensor], proximal_mu: float
) -> tuple[dict[str, Tensor], dict[str, float]]:
    cell = task.cell
    folder = Path(task.run) / "hospitals" / holder.name / cell.name
    outgoing, numbers, state = steps.train(
        site.inputs,
        holder.training,
        site.config.diagnosis,
        site.config.federation.local_steps,
        generator_of(cell.seed, cell.arm, cell.setting, cell.draw, cell.fold, task.stage, task.round, holder.name),
        incoming,
        load_state(folder, before=task.round),
        proximal_mu,
    )
    if not all(tensor.isfinite().all() for tensor in (*outgoing.values(), *state.values())):
        raise StudyError("its model is not finite; a smaller learning rate may help")
    commit_state(folder, task.round, state)
    return outgoing, {"num-examples": float(len(holder.training)), **numbers}


def load_state(folder: Path, before: int) -> dict[str, Tensor]:
    """Return the state that the last finished round before this one left; empty where there is none."""
    rounds = [number for number in _rounds(folder) if number < before]
    return read_tensors(_state_file(folder, max(rounds)))[0] if rounds else {}


def commit_state(folder: Path, number: int, state: dict[str, Tensor]) -> None:
    """Keep the state after a round, and that of the round before, which a server that was stopped may ask again."""
    write_tensors(_state_file(folder, number), state)
    for old in sorted(_rounds(folder))[:-2]:
        _state_file(folder, old).unlink(missing_ok=True)


def _rounds(folder: Path) -> list[int]:
    return [int(file.stem.removeprefix("round-")) for file in folder.glob("round-*.safetensors")]


def _state_file(folder: Path, number: int) -> Path:
    return folder / f"round-{number:05d}.safetensors"
