"""The frozen prefix, computed once: of a pool by hospitals between them, under a budget in one go."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from fedmammo.stages.opened import inputs_with_pool
from fedmammo.synthesis.pool import Pool


def test_hospitals_compute_a_pools_features_between_them(with_pool: Any, pool: Pool) -> None:
    """The second of two computes every other image from the second on; rows stand behind the cohort's 46."""
    deployment = with_pool.config.deployment("federated", "augmented")
    inputs = inputs_with_pool(with_pool.sites["hospital-3"], deployment, pool.digest)
    assert inputs.images_of_patients == 46 and len(inputs.malignant) == 58
    assert inputs.malignant[46:].tolist() == [False, True] * 6
    asked = {"pool": pool.digest, "parts": 2}
    answer = with_pool.work("hospital-3", deployment, "features", 1, part=1, **asked)
    assert answer.numbers == {"remaining": 6.0}
    assert inputs.missing(np.arange(46, 58)).tolist() == list(range(46, 58, 2))
    assert with_pool.work("hospital-1", deployment, "features", 1, part=0, **asked).numbers == {"remaining": 0.0}
    assert len(inputs.missing(np.arange(46, 58))) == 0
    with torch.no_grad():
        expected = inputs.classifier.prefix(inputs.views[1].of(pool.patches[7]))[0]
    assert torch.equal(inputs.read(np.array([53]), np.array([1]))[0], expected)
    assert np.array_equal(inputs.patch(53), pool.patches[7])


def test_a_second_round_computes_what_others_left(with_pool: Any, pool: Pool) -> None:
    """As where hospitals have no folder in common, or one of them failed."""
    deployment = with_pool.config.deployment("federated", "augmented")
    asked = {"pool": pool.digest, "part": 2, "parts": 3}
    answers = [with_pool.work("hospital-3", deployment, "features", number, **asked).numbers for number in (1, 2)]
    assert answers == [{"remaining": 8.0}, {"remaining": 0.0}]


def test_under_a_budget_the_number_of_parts_tells_nothing(
    content: dict[str, Any], hospitals_of: Any, tmp_path: Path
) -> None:
    """The holder of 46 images, more than are computed at once without a budget, says that it is done."""
    hospitals = hospitals_of(content | {"settings": ["real-epsilon-6"]}, tmp_path)
    deployment = hospitals.config.deployment("centralized", "real-epsilon-6")
    hospitals.begin(deployment, features=False)
    assert hospitals.work("all", deployment, "features", 1).numbers == {"remaining": 0.0}
