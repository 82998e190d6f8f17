"""Whole deployments side by side on Ray: the bytes of the inline grid, also killed, and where one is refused."""

import os
import signal
from pathlib import Path

import pandas as pd
import pytest
import yaml

from fedmammo.cohort.store import Cohort
from fedmammo.config.sections import EngineConfig
from fedmammo.errors import InputError
from fedmammo.federation.spread import side_by_side
from tests.commands.processes import OPEN, Run, digests

SPREAD = ("engine.name=ray", "engine.spread=deployments")


@pytest.fixture(scope="module")
def light(phantom_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of linear heads: real patients, drawn masses before them, and a budget that hospital C refuses at 60."""
    folder = tmp_path_factory.mktemp("light")
    for name, most in (("A", 100), ("B", 100), ("C", 20)):
        privacy = OPEN | {"maximum_epsilon": most}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"name": name, "privacy": privacy}))
    content = {
        "name": "light",
        "cohort": {"path": str(phantom_cohort.folder)},
        "hospitals": {"assignment": {"by": "profiles", "profiles": [str(folder / f"{name}.yaml") for name in "ABC"]}},
        "diagnosis": {
            "network": "test_vit",
            "weights": "none",
            "image_size": 32,
            "optimizer": {"learning_rate": 0.01},
        },
        "federation": {"rounds": 30, "local_steps": 2, "strategy": {"name": "FedAvgM"}},
        "engine": {"name": "inline", "device": "cpu"},
        "evaluation": {"resamples": 100},
        "synthesis": {"source": "phantom", "images": 16},
        "settings": ["real", "pretrained", "real-epsilon-6"],
        "privacy": {"secret_seed": 1},
        "arms": ["local", "federated"],
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_deployments_side_by_side_killed_and_continued_give_the_bytes_of_the_inline_grid(
    light: Path, tmp_path: Path
) -> None:
    """SIGKILL of a worker, then of everything while deployments are at work; grown by a seed afterwards."""
    inline = Run(light, tmp_path / "inline", "seeds=0..1")
    assert inline.finish() == 0, inline.said()
    out = tmp_path / "spread"
    run = Run(light, out, *SPREAD)
    assert run.until(lambda: len(list(out.glob("deployments/*/predictions.csv"))) >= 2, 120), run.said()
    workers = [pid for pid in run.tree() if b"ray::_deploy" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    for pid in workers[:1]:
        os.kill(pid, signal.SIGKILL)
    assert run.until(lambda: len(list(out.glob("deployments/*/predictions.csv"))) >= 3, 120), run.said()
    run.kill()
    assert not (out / "results.csv").exists()
    run = Run(light, out, *SPREAD, "seeds=0..1")
    assert run.finish() == 0, run.said()
    assert "deployments run side by side: engine.spread says so" in run.said()
    assert digests(out) == digests(tmp_path / "inline")


def test_what_a_worker_raises_is_raised_and_one_that_is_always_killed_fails() -> None:
    """With the line that it said, and not Ray's traceback."""

    def deploy(deployment: str, _: object) -> None:
        import os

        from fedmammo.errors import InputError

        if deployment == "killed":
            os._exit(1)
        if deployment == "damaged":
            raise InputError("a file is damaged; restore it")

    engine = EngineConfig()
    number, error = side_by_side(engine, ["well", "killed"], deploy, lambda _: None) or (None, None)
    assert number == 1 and str(error).startswith("its process was ended again and again")
    with pytest.raises(InputError, match=r"^a file is damaged; restore it$"):
        side_by_side(engine, ["damaged"], deploy, lambda _: None)


def test_a_refusal_ends_the_study_as_if_deployments_ran_one_after_the_other(light: Path, tmp_path: Path) -> None:
    """C refuses the third setting: the first two are tabulated, in one arm; the other arm is not begun."""
    settings = "settings=[real, real-epsilon-6, real-epsilon-60]"
    said, kept = [], []
    for name, engine in (("inline", ()), ("spread", SPREAD)):
        run = Run(light, tmp_path / name, settings, *engine)
        assert run.finish() == 3
        said.append(run.said().split("fedmammo:")[1].replace(name, ""))
        kept.append((tmp_path / name / "results.csv").read_bytes())
    assert said[0] == said[1]
    assert "C failed: RefusalError: refused: epsilon 60.0" in said[0].replace("\n", " ")
    assert kept[0] == kept[1]
    results = pd.read_csv(tmp_path / "spread/results.csv")
    assert set(zip(results["arm"], results["setting"], strict=True)) == {("local", "real"), ("local", "real-epsilon-6")}
