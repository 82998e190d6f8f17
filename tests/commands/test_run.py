"""The engine with real processes: Ctrl-C, SIGKILL; always the same bytes."""

import json
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fedmammo.commands.run import ENVIRONMENT, ChildError, Event, run
from fedmammo.config.study import load
from tests.commands.processes import Command, Run, digests, strange_place


def test_generators_interrupted_on_ray_while_they_are_used(
    study: Path, tmp_path: Path, run_inline: Callable[..., Path]
) -> None:
    """GANs, images sent to hospitals, pretraining, a budget; Ctrl-C ends all within seconds.

    Continued on the inline grid; in the end each round is in a ledger once. Where it is run lies a `statistics.py`, and
    nobody has a home: neither is in Ray's way.
    """
    settings = [
        "settings=[augmented, pretrained, real-epsilon-6]",
        "synthesis={source: gan, images: 16, image_size: 32, width: 4, rounds: 2, local_steps: 2, batch: 4}",
        "synthesis.phantom_steps=4",
        "privacy.secret_seed=1",
        "arms=[federated]",
        "federation.rounds=4",
    ]
    undisturbed = run_inline(load(study, settings), tmp_path / "undisturbed")
    assert len(list((undisturbed / "models").glob("generator-alone-*.safetensors"))) == 3
    out = tmp_path / "interrupted"
    (tmp_path / "strange").mkdir()
    run = Run(study, out, "engine.name=ray", *settings, **strange_place(tmp_path / "strange"))
    kept = out / "deployments/federated-real-epsilon-6-seed0-draw0-fold0/checkpoint.safetensors"
    assert run.until(kept.exists, 300), run.said()
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(timeout=30) == 130  # seconds, where nobody else uses the machine
    assert run.until_gone()
    assert "Traceback" not in run.said() and "imported from" not in (out / "run.log").read_text()
    assert f"--out {out} continues" in run.said().replace("\n", "")
    assert not (out / "results.csv").exists()
    assert digests(run_inline(load(study, settings), out)) == digests(undisturbed)
    for name in "ABC":
        ledger = (out / f"hospitals/{name}/ledger/federated-real-epsilon-6-seed0-draw0-fold0.jsonl").read_text()
        assert [json.loads(line).get("round") for line in ledger.splitlines()] == [None, 1, 2, 3, 4]


SCRIPT = """
import sys
from collections.abc import Callable
from pathlib import Path
import fedmammo

out = Path(sys.argv[2])
study = fedmammo.load_study(sys.argv[1], ["arms=[federated]"])
try:
    fedmammo.run_study(study, out, lambda event: event["round"] == 2 and (out / "second").touch())
    raise SystemExit("was not interrupted")
except KeyboardInterrupt:
    (out / "second").unlink()
    print("continuing")
fedmammo.run_study(study, out)
"""


def test_a_script_that_is_interrupted_continues_in_the_same_process(
    study: Path, tmp_path: Path, run_inline: Callable[..., Path]
) -> None:
    """Its main module has no guard, and is not run a second time by the study's process; its input is closed."""
    (tmp_path / "script.py").write_text(SCRIPT)
    out = tmp_path / "out"
    words = ["sh", "-c", 'exec "$0" "$@" <&-', sys.executable, str(tmp_path / "script.py"), str(study), str(out)]
    script = Command(words, tmp_path / "script.log")
    assert script.until((out / "second").exists, 300), script.said()
    script.process.send_signal(signal.SIGINT)
    assert script.finish() == 0, script.said()
    assert script.said() == "continuing\n"
    assert digests(out) == digests(run_inline(load(study, ["arms=[federated]"]), tmp_path / "inline"))


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
    """In a thread, too, where no signal can be held back."""
    before = children()
    with ThreadPoolExecutor(1) as thread, pytest.raises(ZeroDivisionError):
        thread.submit(run, load(study, ["federation.rounds=1000"]), tmp_path / "out", lambda event: 1 // 0).result()
    assert children() == before
