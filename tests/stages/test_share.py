"""A hospital keeps the pool of synthetic images that it is sent, or none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmammo.errors import StudyError
from fedmammo.stages.stage import Tensors
from fedmammo.synthesis.pool import Pool


def test_a_hospital_keeps_the_pool_that_it_is_sent(with_pool: Any, files_of_pool: Tensors, pool: Pool) -> None:
    """Once more is not too much."""
    deployment = with_pool.config.deployment("federated", "augmented")
    with_pool.work("hospital-2", deployment, "share", 0, {"arrays": files_of_pool}, pool=pool.digest)
    received = Pool.open(with_pool.sites["hospital-2"].pools, pool.digest)
    assert received.folder.resolve().parent == with_pool.folder.parent / "synthetic"
    assert np.array_equal(received.patches, pool.patches)
    assert received.images.equals(pool.images)


@pytest.mark.parametrize("name", ["patches.npy", "images.csv"])
def test_a_hospital_refuses_other_images_than_those_named(
    content: dict[str, Any], hospitals_of: Any, files_of_pool: Tensors, pool: Pool, tmp_path: Path, name: str
) -> None:
    hospitals = hospitals_of(content, tmp_path / "run" / "hospitals")
    deployment = hospitals.config.deployment("federated", "augmented")
    hospitals.begin(deployment)
    files_of_pool[name][-2] ^= 1
    with pytest.raises(StudyError, match="its images are not those that the server named"):
        hospitals.work("hospital-1", deployment, "share", 0, {"arrays": files_of_pool}, pool=pool.digest)
    with pytest.raises(StudyError, match="no such pool"):
        hospitals.work("hospital-1", deployment, "features", 1, pool=pool.digest)
