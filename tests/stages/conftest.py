"""Hospitals of a study that learns from a pool of drawn patches."""

from pathlib import Path
from typing import Any

import pytest

from fedmammo.stages.stage import Tensors
from fedmammo.synthesis.drawn import draw_phantoms
from fedmammo.synthesis.pool import Pool, write_pool
from fedmammo.synthesis.sources import FromPhantom


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    """Twelve drawn patches, the pool of a server."""
    return write_pool(tmp_path / "server", draw_phantoms(FromPhantom(source="phantom", images=12), 128), {}, "none")


@pytest.fixture
def files_of_pool(pool: Pool) -> Tensors:
    """The pool as it travels."""
    return pool.tensors


@pytest.fixture
def content(phantom_study: dict[str, Any]) -> dict[str, Any]:
    """A study of three hospitals and settings that learn from such a pool."""
    phantom_study["diagnosis"] |= {"patient_fraction": 0.5, "train": "last_blocks:1"}
    phantom_study |= {"synthesis": {"source": "phantom", "images": 12}, "settings": ["real", "augmented"]}
    return phantom_study


@pytest.fixture
def with_pool(content: dict[str, Any], hospitals_of: Any, tmp_path: Path, pool: Pool, files_of_pool: Tensors) -> Any:
    """Hospitals that have read the augmented deployment, and have the pool."""
    hospitals = hospitals_of(content, tmp_path / "run" / "hospitals")
    deployment = hospitals.config.deployment("federated", "augmented")
    hospitals.begin(deployment)
    for name in hospitals.sites:
        if name != "all":
            hospitals.work(name, deployment, "share", 0, {"arrays": files_of_pool}, pool=pool.digest)
    return hospitals
