"""Ray, on this machine and on a cluster of two nodes, killed and continued; always the bytes of the inline grid."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pandas as pd
import pytest
import yaml

from fedmammo.cohort.store import Cohort
from fedmammo.commands.run import ENVIRONMENT
from fedmammo.config.sections import EngineConfig
from fedmammo.config.study import load
from fedmammo.errors import InputError, StudyError
from fedmammo.federation.spread import side_by_side
from fedmammo.study import simulate
from tests.commands.processes import OPEN, Run, digests

BUDGETED = [
    "settings=[real-epsilon-6]",
    "privacy.secret_seed=1",
    "federation.rounds=3",
    "arms=[local, federated]",
    "evaluation.every=1",
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Address of a cluster of two nodes, each with a processor."""
    from ray.cluster_utils import Cluster

    with patch.dict(os.environ, ENVIRONMENT):  # workers at the usual priority
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        made.add_node(num_cpus=1)
    try:
        made.wait_for_nodes()
        yield made.address
    finally:
        made.shutdown()


# Hospitals side by side


def kill(study: Path, out: Path, deployment: str, *overrides: str) -> None:
    """Run on Ray until a round is kept, then SIGKILL the command; its child and Ray end by themselves."""
    run = Run(study, out, "engine.name=ray", *overrides)
    kept = out / f"deployments/{deployment}-seed0-draw0-fold0/checkpoint.safetensors"
    assert run.until(kept.exists, 300), run.said()
    run.process.send_signal(signal.SIGKILL)
    assert run.process.wait() == -signal.SIGKILL
    assert run.until_gone()
    assert not (out / "results.csv").exists()


@pytest.mark.long
def test_a_cluster_killed_in_mid_round_and_continued_gives_the_bytes_of_the_inline_grid(
    study: Path, tmp_path: Path, cluster: str, run_inline: Callable[..., Path]
) -> None:
    """Under a budget, too, given the same secrets: models, ledgers, what was spent; each round is in a ledger once."""
    out = tmp_path / "killed"
    kill(study, out, "federated-real-epsilon-6", *BUDGETED, f"engine.address={cluster}")
    assert digests(run_inline(load(study, BUDGETED), out)) == digests(
        run_inline(load(study, BUDGETED), tmp_path / "inline")
    )
    for holder, arm in (("A", "local"), *((name, "federated") for name in "ABC")):
        ledger = (out / f"hospitals/{holder}/ledger/{arm}-real-epsilon-6-seed0-draw0-fold0.jsonl").read_text()
        assert [json.loads(line).get("round") for line in ledger.splitlines()] == [None, 1, 2, 3]


@pytest.mark.long
def test_a_run_killed_in_every_arm_gives_the_same_bytes(study: Path, tmp_path: Path, inline: dict[str, str]) -> None:
    for arm in ("centralized", "local", "federated"):
        kill(study, tmp_path / "killed", f"{arm}-real")
    run = Run(study, tmp_path / "killed")
    assert run.finish() == 0, run.said()
    assert digests(tmp_path / "killed") == inline


@pytest.mark.long
def test_a_killed_ray_worker_is_replaced_and_nothing_changes(
    study: Path, tmp_path: Path, inline: dict[str, str]
) -> None:
    out = tmp_path / "worker"
    run = Run(study, out, "engine.name=ray")
    assert run.until((out / "deployments/centralized-real-seed0-draw0-fold0/checkpoint.safetensors").exists, 300), (
        run.said()
    )
    workers = [pid for pid in run.tree() if b"ray::ClientAppActor" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(workers[0], signal.SIGKILL)
    assert run.finish() == 0, run.said()
    assert digests(out) == inline


# Deployments side by side


@pytest.fixture(scope="module")
def engine(cluster: str) -> Iterator[EngineConfig]:
    """The cluster, joined once by all that runs side by side: workers have torch then."""
    import ray

    join = ray.init
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ray, "init", lambda **keys: None if ray.is_initialized() else join(**keys))
        patched.setattr(ray, "shutdown", lambda: None)
        yield EngineConfig(address=cluster)
    ray.shutdown()


@pytest.fixture(scope="module")
def light(phantom_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of linear heads: real patients, drawn masses before them, and a budget that hospital C refuses at 60.

    Not at once: how much noise there is follows from everybody's number of patients.
    """
    folder = tmp_path_factory.mktemp("light")
    for name, least in (("A", 0.1), ("B", 0.1), ("C", 2)):
        privacy = OPEN | {"minimum_noise_multiplier": least}
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
        "federation": {"rounds": 15, "local_steps": 2, "strategy": {"name": "FedAvgM"}},
        "engine": {"name": "ray", "spread": "deployments", "device": "cpu"},
        "evaluation": {},
        "synthesis": {"source": "phantom", "images": 16},
        "settings": ["real", "pretrained", "real-epsilon-6"],
        "privacy": {"secret_seed": 1},
        "arms": ["local", "federated"],
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_deployments_side_by_side_killed_and_continued_give_the_bytes_of_the_inline_grid(
    light: Path, tmp_path: Path, engine: EngineConfig, run_inline: Callable[..., Path]
) -> None:
    """SIGKILL of a worker, then of everything while deployments are at work; grown by a seed, it ends on a cluster."""
    config = load(light, ["arms=[federated]", "seeds=0..1"])
    undisturbed = run_inline(config, tmp_path / "inline")
    out = tmp_path / "spread"
    run = Run(light, out, "arms=[federated]")
    assert run.until(lambda: len(list(out.glob("deployments/*/predictions.csv"))) >= 1, 300), run.said()
    workers = [pid for pid in run.tree() if b"ray::_deploy" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    for pid in workers[:1]:
        os.kill(pid, signal.SIGKILL)
    assert run.until(lambda: len(list(out.glob("deployments/*/predictions.csv"))) >= 2, 300), run.said()
    run.kill()
    assert not (out / "results.csv").exists()
    assert "deployments run side by side: engine.spread says so" in run.said()
    simulate(config, out, lambda _: None, lambda *_: None, partial(side_by_side, engine, out))
    assert digests(out) == digests(undisturbed)


def test_a_refusal_ends_the_study_as_if_deployments_ran_one_after_the_other(
    light: Path, tmp_path: Path, engine: EngineConfig, run_inline: Callable[..., Path]
) -> None:
    """C refuses the third setting: the first two are tabulated, in one arm; the other arm is not begun."""
    config = load(light, ["settings=[real, real-epsilon-6, real-epsilon-60]"])

    said, kept, told = [], [], []

    def spread(out: Path) -> None:
        simulate(
            config, out, lambda event: told.extend(event["rows"]), lambda *_: None, partial(side_by_side, engine, out)
        )

    for name, run in (("inline", partial(run_inline, config)), ("spread", spread)):
        with pytest.raises(StudyError) as caught:
            run(tmp_path / name)
        said.append(str(caught.value).replace(name, ""))
        kept.append((tmp_path / name / "results.csv").read_bytes())
    assert said[0] == said[1]
    assert "C failed: RefusalError: refused: noise multiplier 0." in said[0]
    assert kept[0] == kept[1]
    results = pd.read_csv(tmp_path / "spread/results.csv")
    assert set(zip(results["arm"], results["setting"], strict=True)) == {
        ("local", "real"),
        ("local", "real-epsilon-6"),
        ("reader", "assessment"),
    }
    rounds = [row["round"] for row in told if (row["arm"], row["setting"], row["hospital"]) == ("local", "real", "A")]
    assert rounds == list(range(1, 16)), "workers do not pass on every event, but every row"


def test_what_a_worker_raises_is_raised_and_one_that_is_always_killed_fails(engine: EngineConfig) -> None:
    """With the line that it said, and not Ray's traceback."""

    def deploy(deployment: str, _: object) -> None:
        import os

        from fedmammo.errors import InputError

        if deployment == "killed":
            os._exit(1)
        if deployment == "damaged":
            raise InputError("a file is damaged; restore it")

    number, error = side_by_side(engine, Path(), ["well", "killed"], deploy, lambda _: None) or (None, None)
    assert number == 1 and str(error).startswith("its process was ended again and again")
    with pytest.raises(InputError, match=r"^a file is damaged; restore it$"):
        side_by_side(engine, Path(), ["damaged"], deploy, lambda _: None)
