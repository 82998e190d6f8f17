"""The engine with real processes: Ctrl-C, SIGKILL; always the same bytes."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fedmammo.commands.run import ENVIRONMENT, ChildError, Event, run
from fedmammo.config.study import load
from tests.commands.processes import Command, Run, digests


def test_generators_killed_while_they_train_and_on_ray_while_they_are_used(
    study: Path, tmp_path: Path, run_inline: Callable[..., Path]
) -> None:
    """GANs, images sent to hospitals, and pretraining: killed twice, continued on the other engine each time."""
    settings = [
        "settings=[augmented, pretrained]",
        "synthesis={source: gan, images: 16, image_size: 32, width: 4, rounds: 4, local_steps: 3, batch: 4}",
        "synthesis.phantom_steps=4",
        "arms=[federated]",
        "federation.rounds=4",
    ]
    undisturbed = run_inline(load(study, settings), tmp_path / "undisturbed")
    assert len(list((undisturbed / "models").glob("generator-alone-*.safetensors"))) == 3
    out = tmp_path / "killed"
    for engine, kept in (
        ("inline", "generator-alone-hospitals-none-draw0"),
        ("ray", "federated-pretrained-seed0-draw0-fold0"),
    ):
        run = Run(study, out, f"engine.name={engine}", *settings)
        assert run.until((out / "deployments" / kept / "checkpoint.safetensors").exists, 120), run.said()
        run.kill()
        assert not (out / "results.csv").exists()
    assert digests(run_inline(load(study, settings), out)) == digests(undisturbed)


def test_ctrl_c_ends_cleanly_within_seconds(
    study: Path, tmp_path: Path, inline: dict[str, str], run_inline: Callable[..., Path]
) -> None:
    out = tmp_path / "interrupted"
    run = Run(study, out, "engine.name=ray")
    assert run.until((out / "deployments/centralized-real-seed0-draw0-fold0/checkpoint.safetensors").exists, 120), (
        run.said()
    )
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(timeout=30) == 130  # seconds, where nobody else uses the machine
    assert run.until_gone()
    assert "Traceback" not in run.said()
    assert f"--out {out} continues" in run.said().replace("\n", "")
    assert digests(run_inline(load(study), out)) == inline


SCRIPT = """
import sys
from collections.abc import Callable
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
    checkpoint = tmp_path / "out/deployments/centralized-real-seed0-draw0-fold0/checkpoint.safetensors"

    def kill_child(event: Event) -> None:
        if checkpoint.exists():
            for child in set(children()) - set(before):
                os.kill(child, signal.SIGKILL)

    config = load(study, ["federation.rounds=100000"])
    with pytest.raises(ChildError, match=r"process ended with -9 .*finished rounds are kept") as caught:
        run(config, tmp_path / "out", kill_child)
    assert caught.value.exit_code == 3
    assert checkpoint.exists()
    assert children() == before
    assert not ENVIRONMENT.keys() & os.environ.keys() - {"CUBLAS_WORKSPACE_CONFIG"}


def test_what_the_caller_raises_ends_the_child(study: Path, tmp_path: Path) -> None:
    before = children()
    with pytest.raises(ZeroDivisionError):
        run(load(study, ["federation.rounds=1000"]), tmp_path / "out", lambda event: 1 // 0)
    assert children() == before
