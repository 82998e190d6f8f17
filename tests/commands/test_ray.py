"""Ray, on this machine and on a cluster of two nodes, killed and continued; always the bytes of the inline grid."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.commands.processes import Run, digests


def kill(study: Path, out: Path, arm: str, setting: str = "real", *overrides: str) -> None:
    """Run on Ray until a round is kept, then SIGKILL the command; its child and Ray end by themselves."""
    run = Run(study, out, "engine.name=ray", *overrides)
    kept = out / f"deployments/{arm}-{setting}-seed0-draw0-fold0/checkpoint.safetensors"
    assert run.until(kept.exists, 120), run.said()
    run.process.send_signal(signal.SIGKILL)
    assert run.process.wait() == -signal.SIGKILL
    assert run.until_gone()
    assert not (out / "results.csv").exists()


def test_a_run_killed_in_mid_round_and_continued_gives_the_bytes_of_the_inline_grid(
    study: Path, tmp_path: Path
) -> None:
    """Under a budget, too, given the same secrets: models, ledgers, what was spent; each round is in a ledger once."""
    settings = ["settings=[real, real-epsilon-6]", "privacy.secret_seed=1", "arms=[federated]", "federation.rounds=6"]
    run = Run(study, tmp_path / "inline", *settings)
    assert run.finish() == 0, run.said()
    out = tmp_path / "killed"
    kill(study, out, "federated", "real-epsilon-6", *settings)
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
