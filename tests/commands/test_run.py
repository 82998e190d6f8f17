"""The engine with real processes: Ray, a cluster of two nodes, Ctrl-C, SIGKILL; always the same bytes."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from fedmammo.cohort.store import Cohort
from fedmammo.commands.run import ENVIRONMENT, ChildError, Event, run
from fedmammo.config.study import load

EXEMPT = {"timings.csv", "run.log", "config.yaml"}  # config.yaml names the engine
COMMAND = Path(sys.executable).with_name("fedmammo")
OPEN = {"without_budget": "accepted", "central_trust": "accepted"}  # hospitals that take part in everything


def digests(run: Path) -> dict[str, str]:
    """SHA-256 of every file that must be the same in equal runs, hospitals' states among them.

    Hidden ones are left out: the lock, and what a process was about to write when it was killed.
    """
    files = [path for path in sorted(run.rglob("[!.]*")) if path.is_file() and path.name not in EXEMPT]
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class Command:
    """A process of its own, whose whole tree is found again by a mark in the environment."""

    def __init__(self, words: list[str], log: Path) -> None:
        self.mark = uuid.uuid4().hex
        self.log = log.open("w")
        self.process = subprocess.Popen(
            words,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "FEDMAMMO_TEST_MARK": self.mark},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # background jobs ignore it
        )

    def tree(self) -> list[int]:
        """Return all living processes that this run started."""
        found = []
        for folder in Path("/proc").iterdir():
            try:
                if folder.name.isdigit() and self.mark.encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
        return found

    def until(self, happened: Callable[[], bool], seconds: float) -> bool:
        """Wait until something happened, or the process ended, or time is up."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None and not happened():
            time.sleep(0.02)
        return happened()

    def left(self) -> list[str]:
        """Say what the living processes are."""
        return [Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")[:100] for pid in self.tree()]

    def finish(self) -> int:
        code = self.process.wait(timeout=300)
        assert self.until_gone(), f"processes are left: {self.left()}"
        return code

    def until_gone(self) -> bool:
        """Wait until nothing is left; Ray's agents look for their killed raylet only every few seconds."""
        end = time.monotonic() + 120
        while time.monotonic() < end and self.tree():
            time.sleep(0.1)
        return not self.tree()

    def said(self) -> str:
        return Path(self.log.name).read_text()


class Run(Command):
    """`fedmammo run`."""

    def __init__(self, study: Path, out: Path, *overrides: str) -> None:
        options = [word for override in overrides for word in ("--set", override)]
        super().__init__([str(COMMAND), "run", str(study), "--out", str(out), *options], out.with_suffix(".log"))


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
        "engine": {"name": "inline", "device": "cpu"},
        "evaluation": {"resamples": 100},
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def inline(study: Path) -> dict[str, str]:
    """What the study leaves behind on the inline grid."""
    run = Run(study, study.parent / "inline")
    assert run.finish() == 0, run.said()
    return digests(study.parent / "inline")


def test_the_same_command_gives_the_same_bytes(study: Path, tmp_path: Path, inline: dict[str, str]) -> None:
    run = Run(study, tmp_path / "again")
    assert run.finish() == 0, run.said()
    assert digests(tmp_path / "again") == inline


def test_ray_gives_the_bytes_of_the_inline_grid(study: Path, tmp_path: Path, inline: dict[str, str]) -> None:
    run = Run(study, tmp_path / "ray", "engine.name=ray")
    assert run.finish() == 0, run.said()
    assert "Ray" in (tmp_path / "ray/run.log").read_text() or "raylet" in (tmp_path / "ray/run.log").read_text()
    assert digests(tmp_path / "ray") == inline


def kill(study: Path, out: Path, arm: str) -> None:
    """Run on Ray until the arm's first round is kept, then SIGKILL the command; its child and Ray end by themselves."""
    run = Run(study, out, "engine.name=ray")
    assert run.until((out / f"deployments/{arm}-real-seed0-draw0-fold0/checkpoint.safetensors").exists, 120), run.said()
    run.process.send_signal(signal.SIGKILL)
    assert run.process.wait() == -signal.SIGKILL
    assert run.until_gone()
    assert not (out / "results.csv").exists()


def test_a_run_killed_in_mid_round_and_continued_gives_the_same_bytes(
    study: Path, tmp_path: Path, inline: dict[str, str]
) -> None:
    kill(study, tmp_path / "killed", "federated")
    run = Run(study, tmp_path / "killed", "engine.name=ray")
    assert run.finish() == 0, run.said()
    assert digests(tmp_path / "killed") == inline


def test_generators_on_ray_killed_while_they_train_and_while_they_are_used(study: Path, tmp_path: Path) -> None:
    """GANs, images sent to hospitals, and pretraining: inline, against Ray that is killed twice and continued."""
    settings = [
        "settings=[augmented, pretrained]",
        "synthesis={source: gan, images: 16, image_size: 32, width: 4, rounds: 4, local_steps: 3, batch: 4}",
        "synthesis.phantom_steps=4",
        "arms=[federated]",
        "federation.rounds=4",
    ]
    run = Run(study, tmp_path / "inline", *settings)
    assert run.finish() == 0, run.said()
    assert len(list((tmp_path / "inline/models").glob("generator-alone-*.safetensors"))) == 3
    out = tmp_path / "killed"
    for kept in ("generator-alone-hospitals-none-draw0", "federated-pretrained-seed0-draw0-fold0"):
        run = Run(study, out, "engine.name=ray", *settings)
        assert run.until((out / "deployments" / kept / "checkpoint.safetensors").exists, 120), run.said()
        run.process.send_signal(signal.SIGKILL)
        assert run.process.wait() == -signal.SIGKILL
        assert run.until_gone(), f"{kept}: left is {run.left()}"
        assert not (out / "results.csv").exists()
    run = Run(study, out, "engine.name=ray", *settings)
    assert run.finish() == 0, run.said()
    assert digests(out) == digests(tmp_path / "inline")


def test_under_a_budget_ray_killed_and_continued_releases_what_the_inline_grid_does(
    study: Path, tmp_path: Path
) -> None:
    """Given the same secrets: models, ledgers and what they say was spent; each round is in a ledger once."""
    settings = ["settings=[real-epsilon-6]", "privacy.secret_seed=1", "arms=[federated]", "federation.rounds=6"]
    run = Run(study, tmp_path / "inline", *settings)
    assert run.finish() == 0, run.said()
    out = tmp_path / "killed"
    run = Run(study, out, "engine.name=ray", *settings)
    assert run.until(
        (out / "deployments/federated-real-epsilon-6-seed0-draw0-fold0/checkpoint.safetensors").exists, 120
    )
    run.process.send_signal(signal.SIGKILL)
    assert run.process.wait() == -signal.SIGKILL
    assert run.until_gone(), f"left is {run.left()}"
    run = Run(study, out, "engine.name=ray", *settings)
    assert run.finish() == 0, run.said()
    assert digests(out) == digests(tmp_path / "inline")
    for hospital in ("A", "B", "C"):
        ledger = (out / f"hospitals/{hospital}/ledger/federated-real-epsilon-6-seed0-draw0-fold0.jsonl").read_text()
        assert [json.loads(line).get("round") for line in ledger.splitlines()] == [None, 1, 2, 3, 4, 5, 6]


@pytest.mark.long
def test_a_run_killed_in_every_arm_gives_the_same_bytes(study: Path, tmp_path: Path, inline: dict[str, str]) -> None:
    for arm in ("centralized", "local", "federated"):
        kill(study, tmp_path / "killed", arm)
    run = Run(study, tmp_path / "killed")
    assert run.finish() == 0, run.said()
    assert digests(tmp_path / "killed") == inline


def test_ctrl_c_ends_cleanly_within_seconds(study: Path, tmp_path: Path, inline: dict[str, str]) -> None:
    out = tmp_path / "interrupted"
    run = Run(study, out, "engine.name=ray")
    assert run.until((out / "deployments/local-real-seed0-draw0-fold0/checkpoint.safetensors").exists, 120), run.said()
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(timeout=30) == 130  # seconds, where nobody else uses the machine
    assert run.until_gone()
    assert "Traceback" not in run.said()
    assert f"--out {out} continues" in run.said().replace("\n", "")
    again = Run(study, out)
    assert again.finish() == 0, again.said()
    assert digests(out) == inline


@pytest.mark.long
def test_a_killed_ray_worker_is_replaced_and_nothing_changes(
    study: Path, tmp_path: Path, inline: dict[str, str]
) -> None:
    out = tmp_path / "worker"
    run = Run(study, out, "engine.name=ray")
    assert run.until((out / "deployments/centralized-real-seed0-draw0-fold0/checkpoint.safetensors").exists, 120), (
        run.said()
    )
    workers = [pid for pid in run.tree() if b"ray::ClientAppActor" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(workers[0], signal.SIGKILL)
    assert run.finish() == 0, run.said()
    assert digests(out) == inline


def test_a_cluster_of_two_nodes_gives_the_same_bytes(study: Path, tmp_path: Path, inline: dict[str, str]) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        run = Run(study, tmp_path / "cluster", "engine.name=ray", f"engine.address={cluster.address}")
        assert run.finish() == 0, run.said()
    finally:
        cluster.shutdown()
    assert digests(tmp_path / "cluster") == inline


SCRIPT = """
import sys
from pathlib import Path
import fedmammo

out = Path(sys.argv[2])
study = fedmammo.load_study(sys.argv[1])
try:
    fedmammo.run_study(study, out, lambda event: event["round"] == 2 and (out / "second").touch())
    raise SystemExit("was not interrupted")
except KeyboardInterrupt:
    (out / "second").unlink()
    print("continuing")
fedmammo.run_study(study, out)
"""


def test_a_script_that_is_interrupted_continues_in_the_same_process(
    study: Path, tmp_path: Path, inline: dict[str, str]
) -> None:
    """Its main module has no guard, and is not run a second time by the study's process."""
    (tmp_path / "script.py").write_text(SCRIPT)
    out = tmp_path / "out"
    script = Command([sys.executable, str(tmp_path / "script.py"), str(study), str(out)], tmp_path / "script.log")
    assert script.until((out / "second").exists, 120), script.said()
    script.process.send_signal(signal.SIGINT)
    assert script.finish() == 0, script.said()
    assert script.said() == "continuing\n"
    assert digests(out) == inline


def children() -> list[int]:
    """Return the processes that this one started and that are left."""
    tasks = Path("/proc/self/task").iterdir()
    return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]


def test_a_killed_child_is_an_error_and_what_was_finished_is_kept(study: Path, tmp_path: Path) -> None:
    """SIGKILL in the second round, as for want of memory; the environment of this process is left as it was."""
    before = children()

    def kill_child(event: Event) -> None:
        if event["stage"] == "train" and event["round"] == 2:
            for child in set(children()) - set(before):
                os.kill(child, signal.SIGKILL)

    config = load(study, ["federation.rounds=1000"])
    with pytest.raises(ChildError, match=r"process ended with -9 .*finished rounds are kept") as caught:
        run(config, tmp_path / "out", kill_child)
    assert caught.value.exit_code == 3
    assert (tmp_path / "out/deployments/centralized-real-seed0-draw0-fold0/checkpoint.safetensors").exists()
    assert children() == before
    assert not ENVIRONMENT.keys() & os.environ.keys() - {"CUBLAS_WORKSPACE_CONFIG"}


def test_what_the_caller_raises_ends_the_child(study: Path, tmp_path: Path) -> None:
    before = children()
    with pytest.raises(ZeroDivisionError):
        run(load(study, ["federation.rounds=1000"]), tmp_path / "out", lambda event: 1 // 0)
    assert children() == before
