"""Runs a study in a child process, so that it can be watched, interrupted and killed with everything it started.

The child ignores Ctrl-C and leads a session of its own: Ctrl-C reaches the parent alone, which ends the child and its
Ray workers. A child whose parent dies ends too.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmammo.config.study import StudyConfig
from fedmammo.errors import FedmammoError, StudyError

if TYPE_CHECKING:
    from flwr.serverapp import Grid

Event = dict[str, Any]
ENVIRONMENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_worker_niceness": "0",  # Ray runs workers at low priority unless told
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # what deterministic sums need on a GPU
}
GRACE_SECONDS = 5.0


class ChildError(FedmammoError):
    """The child process ended without a result; carries its message and exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def run(config: StudyConfig, out: Path, on_event: Callable[[Event], None]) -> None:
    """Run a study in a child process and pass on what it reports.

    Raises ChildError with the child's one-line message, and KeyboardInterrupt after the child has ended.
    """
    os.environ.update(ENVIRONMENT)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(config.model_dump_json(), str(out), theirs), daemon=False)
    with _ignoring_ctrl_c():  # which the child inherits
        child.start()
    theirs.close()
    outcome: Event | None = None
    try:
        while outcome is None:
            try:
                event = ours.recv()
            except (EOFError, OSError):  # between two messages, or in the midst of one that a killed child sent
                break
            if "exit_code" in event:
                outcome = event
            else:
                on_event(event)
        child.join(GRACE_SECONDS)  # not for ever: a simulation that crashed leaves threads that never end
    finally:
        _end(child)
    if outcome is None:
        raise ChildError(
            f"the study's process ended with {child.exitcode} (-9: it was killed, perhaps for want of memory); "
            "finished rounds are kept, the same command with the same --out continues",
            StudyError.exit_code,
        )
    if outcome["exit_code"]:
        raise ChildError(outcome["failure"], outcome["exit_code"])


@contextlib.contextmanager
def _ignoring_ctrl_c() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end(child: multiprocessing.process.BaseProcess) -> None:
    """End the child and all that it started; a second Ctrl-C must not keep it from that."""
    with _ignoring_ctrl_c():
        if child.is_alive():
            child.terminate()
            child.join(GRACE_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid or 0, signal.SIGKILL)
        child.join()


def _child(study: str, out: str, pipe: Connection) -> None:
    os.setsid()
    signal.signal(signal.SIGTERM, lambda *_: _leave())
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    see = ""
    try:
        from fedmammo.federation.grids import check_fits, on_grid  # heavy: torch, Flower
        from fedmammo.study import simulate

        config = StudyConfig.model_validate_json(study)
        check_fits(config.engine)

        def started(hospitals: Path, nodes: int, run: "Callable[[Grid], None]") -> None:
            nonlocal see
            _send_output_to(Path(out) / "run.log")
            see = f"; see {out}/run.log"
            on_grid(config.engine, hospitals, nodes, run)

        simulate(config, Path(out), pipe.send, started)
        pipe.send({"exit_code": 0})
    except FedmammoError as error:
        pipe.send({"failure": str(error), "exit_code": error.exit_code})
    except Exception as error:
        traceback.print_exc()
        pipe.send(_failure(error, see))
    pipe.close()


def _failure(error: BaseException, see: str) -> Event:
    """Describe what was not foreseen by its first cause: Flower wraps what happens in a simulation."""
    while error.__cause__:
        error = error.__cause__
    text = f"{type(error).__name__}: {' '.join(str(error).split())}{see}"
    machine = isinstance(error, OSError)  # a full disk, a cluster that went away
    return {"failure": text, "exit_code": StudyError.exit_code if machine else 1}


def _send_output_to(log: Path) -> None:
    """Send what this process and its children print to a file."""
    with log.open("a") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())


def _leave() -> None:
    """End this process and all that it started, at once: every file is whole at any moment."""
    threading.Timer(GRACE_SECONDS / 2, os.killpg, (0, signal.SIGKILL)).start()
    if ray := sys.modules.get("ray"):
        ray.shutdown()
    os.killpg(0, signal.SIGKILL)


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        _leave()
