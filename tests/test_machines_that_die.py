"""SIGKILL at random moments of every phase: what goes on afterwards ends in the bytes of what was never disturbed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmammo.cohort.store import Cohort
from fedmammo.config.study import StudyConfig, parse
from fedmammo.phantom.tree import write_tree
from tests import killing
from tests.commands.processes import Run, digests

# Phase → what was told last when it began.
PHASES = {
    "features": "augmented features",
    "GAN": "augmented generator",
    "sharing": "augmented share",
    "rounds": "augmented train",
    "pretraining": "pretrained pretrain",
    "private rounds": "real-epsilon-6 train",
    "scoring": "real-epsilon-6 score",
    "tables": "ended",
    "report": "report",
}


@pytest.fixture(scope="module")
def config(
    new_study: Callable[[], dict[str, Any]], phantom_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory
) -> StudyConfig:
    """A study that walks through every phase."""
    gan = {"source": "gan", "images": 16, "image_size": 32, "width": 4, "rounds": 3, "local_steps": 2, "batch": 4}
    content = new_study() | {
        "cohort": {"path": str(phantom_cohort.folder)},
        "arms": ["federated"],
        "settings": ["augmented", "pretrained", "real-epsilon-6"],
        "synthesis": gan | {"phantom_steps": 2},
        "privacy": {"secret_seed": 1},
        "federation": {"rounds": 4, "local_steps": 2, "strategy": {"name": "FedAvgM"}},
        "evaluation": {"every": 2},
        "engine": {
            "name": "inline",
            "device": "cpu",
            "checkpoint_seconds": 0,
            "features": str(tmp_path_factory.mktemp("features")),
        },
    }
    return parse(content, "test")


@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.long)])
def test_a_study_is_killed_in_every_phase(config: StudyConfig, tmp_path: Path, times: int) -> None:
    """At a random moment of each, in one run after the other; each time the next process goes on."""
    arguments, phases = (killing.study, config.model_dump_json()), list(PHASES.values())
    killing.whole(*arguments, tmp_path / "whole", told=tmp_path / "told-whole")
    undisturbed, hit = digests(tmp_path / "whole"), []
    for seed in range(times):
        generator = np.random.default_rng(seed)
        out, told = tmp_path / f"killed{seed}", tmp_path / f"told{seed}"
        for number, phase in enumerate(PHASES):

            def begun(lines: list[str], number: int = number) -> bool:
                return any(later in lines for later in phases[number:])  # a phase may have ended before the last kill

            after = float(generator.uniform(0, 0.2))  # seconds
            hit.append((phase, killing.kill(*arguments, out, told=told, at=begun, after=after)))
        killing.whole(*arguments, out, told=told)
        assert digests(out) == undisturbed
        assert (out / "report.html").read_bytes() == (tmp_path / "whole/report.html").read_bytes()
    assert sum(bool(last) for _, last in hit) >= len(hit) / 2, f"most ended before they were killed: {hit}"


@pytest.mark.parametrize("moments", [3, pytest.param(20, marks=pytest.mark.long)])
def test_a_preparation_is_killed(tmp_path: Path, moments: int) -> None:
    write_tree(tmp_path / "tree", patients=6, seed=3)
    generator, told = np.random.default_rng(2), tmp_path / "told"
    killing.whole(killing.preparation, tmp_path / "tree", tmp_path / "whole", told=tmp_path / "told-whole")
    hit = []
    for _ in range(moments):
        rows, after = int(generator.integers(1, 4)), float(generator.uniform(0, 0.05))
        arguments = (killing.preparation, tmp_path / "tree", tmp_path / "killed")
        hit.append(killing.kill(*arguments, told=told, at=lambda lines, rows=rows: len(lines) >= rows, after=after))
    killing.whole(killing.preparation, tmp_path / "tree", tmp_path / "killed", told=told)
    assert hit[0], "the first was killed at work"
    for name in ("patches.npy", "manifest.parquet", "quarantine.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert [path.name for path in tmp_path.glob("killed*")] == ["killed"]


@pytest.mark.long
@pytest.mark.parametrize("spread", ["hospitals", "deployments"])
def test_a_study_on_ray_is_killed_twenty_times(config: StudyConfig, tmp_path: Path, spread: str) -> None:
    """The command and everything that it started, at random moments; Ray takes most of the time."""
    import yaml

    path = tmp_path / "study.yaml"
    content = config.model_dump(mode="json")
    content["settings"] = ["augmented", "real-epsilon-6"]
    if spread == "deployments":  # linear heads alone
        content["synthesis"] = {"source": "phantom", "images": 16}
    content["engine"] |= {"name": "ray", "spread": spread}
    path.write_text(yaml.safe_dump(content))
    whole = Run(path, tmp_path / "whole", "engine.name=inline")
    assert whole.finish() == 0, whole.said()
    generator, hit = np.random.default_rng(3), 0
    for number in range(20):
        run = Run(path, tmp_path / "killed")
        run.until(lambda: False, float(generator.uniform(3, 6 + number)))  # further and further
        hit += run.process.poll() is None
        run.kill()
    run = Run(path, tmp_path / "killed")
    assert run.finish() == 0, run.said()
    assert hit >= 10
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")
