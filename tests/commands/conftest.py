"""Studies that several files of tests run in processes of their own."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from fedmammo.cohort.store import Cohort
from fedmammo.config.study import load
from tests.commands.processes import OPEN, digests


@pytest.fixture(scope="module")
def study(phantom_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of three arms with rounds enough to be interrupted in, and a strategy with state.

    Its hospitals differ: two have digitisers with noise of their own, one of them wrong labels.
    """
    folder = tmp_path_factory.mktemp("engine")
    profiles = {"A": {"digitiser": "howtek_960", "label_noise": 0.2}, "B": {"digitiser": "office_flatbed"}, "C": {}}
    for name, profile in profiles.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"name": name, **profile, "privacy": OPEN}))
    dealt = {"by": "profiles", "profiles": [str(folder / f"{name}.yaml") for name in profiles]}
    content = {
        "name": "small",
        "cohort": {"path": str(phantom_cohort.folder)},
        "hospitals": {"assignment": dealt},
        "diagnosis": {
            "network": "test_vit",
            "weights": "none",
            "image_size": 32,
            "features": [2],
            "train": "last_blocks:1",
            "optimizer": {"learning_rate": 0.01},
        },
        "federation": {"rounds": 8, "local_steps": 3, "strategy": {"name": "FedAvgM"}},
        "engine": {"name": "inline", "device": "cpu", "checkpoint_seconds": 0},
        "evaluation": {},
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def inline(study: Path, run_inline: Callable[..., Path]) -> dict[str, str]:
    """What the study leaves behind on the inline grid."""
    return digests(run_inline(load(study), study.parent / "inline"))
