"""What a process keeps open between jobs: networks, and what they read of images."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import torch

from fedmammo.config.deployment import Deployment
from fedmammo.config.sections import DiagnosisConfig
from fedmammo.config.weights import NO_FILE, name_of_weights
from fedmammo.errors import InputError, StudyError
from fedmammo.features.inputs import Inputs
from fedmammo.features.opening import network_of
from fedmammo.hospitals.site import Site
from fedmammo.synthesis.pool import Pool


def pick_device(wanted: str) -> torch.device:
    """Return a device; `auto` is a GPU where this process sees one.

    Raises InputError where cuda is wanted and no GPU is seen.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "engine.device: cuda, but no GPU is visible here; set auto or cpu, or engine.gpus_per_hospital"
        )
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def with_weights(config: DiagnosisConfig, files: Mapping[str, Path]) -> DiagnosisConfig:
    """Return a deployment's classifier with the file of its weights, which the deployment names by digest.

    Raises StudyError where the file is not known here, or holds something else.
    """
    if config.weights in NO_FILE:
        return config
    path = files.get(config.weights)
    if path is None or name_of_weights(str(path)) != config.weights:
        raise StudyError(f"weights {config.weights[:16]}: no such file is known here; name it in the site file")
    return config.model_copy(update={"weights": str(path)})


def inputs_of(site: Site, deployment: Deployment) -> Inputs:
    """Open what a hospital's network reads of its images."""
    return _inputs(site, deployment.draw, _network(site, deployment))


def inputs_with_pool(site: Site, deployment: Deployment, pool: str) -> Inputs:
    """Open the same, with the images of a pool that arrived behind them. Raises StudyError where it did not."""
    return _with_pool(site, deployment.draw, _network(site, deployment), pool)


def _network(site: Site, deployment: Deployment) -> str:
    """Name the network and its views as JSON, without how it is trained: deployments share what is opened."""
    diagnosis = with_weights(deployment.diagnosis, site.file.weights)
    return network_of(diagnosis).model_copy(update={"augmentation": diagnosis.augmentation}).model_dump_json()


@lru_cache(maxsize=64)
def _inputs(site: Site, draw: int, diagnosis: str) -> Inputs:
    device = pick_device(site.file.device)
    # As use_deterministic_algorithms, which would import the compiler: more than a second.
    torch.set_deterministic_debug_mode("warn" if device.type == "cuda" else "default")
    return Inputs(site.cohort, DiagnosisConfig.model_validate_json(diagnosis), device, site.records(draw))


@lru_cache(maxsize=16)
def _with_pool(site: Site, draw: int, diagnosis: str, pool: str) -> Inputs:
    return _inputs(site, draw, diagnosis).joined(Pool.open(site.pools, pool), lasting=site.simulated)
