"""What a process of a hospital keeps open between tasks."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from fedmammo.cohort.store import Cohort
from fedmammo.config.sections import ALL
from fedmammo.config.study import StudyConfig
from fedmammo.errors import InputError
from fedmammo.features.inputs import Inputs
from fedmammo.hospitals.holder import Holder, holders, names
from fedmammo.hospitals.records import records_of
from fedmammo.synthesis.pool import Pool
from fedmammo.synthesis.sources import POOLS

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


@lru_cache(maxsize=8)
def open_inputs(study: str, run: str, pool: str) -> Inputs:
    """Open the study's inputs with the pool of this digest, kept in the folder of the run, behind the cohort's images.

    Raises StudyError where the pool is not there, or was altered.
    """
    return open_site(study).inputs.joined(Pool.open(Path(run) / POOLS, pool))


@lru_cache(maxsize=4)
def _all_holders(study: str, seed: int, fold: int) -> dict[str, Holder]:
    site = open_site(study)
    return holders(site.cohort, site.config, seed, fold)


def holder_of(study: str, node: int | None, seed: int, fold: int) -> Holder:
    """Find what a node holds; None stands for everything."""
    site = open_site(study)
    name = ALL if node is None else names(site.cohort, site.config)[node]
    return _all_holders(study, seed, fold)[name]


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
