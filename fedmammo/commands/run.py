"""Runs a study in a child process, so that it can be watched, interrupted and killed with everything it started.

The child ignores Ctrl-C and leads a session of its own: Ctrl-C reaches the parent alone, which ends the child and its
Ray workers. A child whose parent dies ends too. The child is a fresh Python that knows nothing of the parent's script:
this works in a notebook, in a thread and in a script alike.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from fedmammo.commands.child import GRACE_SECONDS
from fedmammo.config.study import StudyConfig
from fedmammo.errors import FedmammoError, InputError, StudyError

Event = dict[str, Any]
CHILD = ("-P", "-m", "fedmammo.commands.child")  # -P: a file of the working folder must not stand in for a library
ENVIRONMENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_worker_niceness": "0",  # Ray runs workers at low priority unless told
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # what deterministic sums need on a GPU
}


class ChildError(FedmammoError):
    """The child process was killed, or found a fault of the software; carries its message and exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def run(config: StudyConfig, out: Path, on_event: Callable[[Event], None]) -> None:
    """Run a study in a child process and pass on what it reports.

    Raises what the child met, InputError or StudyError, with its one-line message; ChildError where the child was
    killed or met a fault of the software; and KeyboardInterrupt after the child has ended.
    """
    request = {"study": config.model_dump_json(), "out": str(out), "parent": os.getpid()}
    child: subprocess.Popen[bytes] | None = None
    try:
        with _ctrl_c_later():
            child = subprocess.Popen(
                [sys.executable, *CHILD],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **ENVIRONMENT, "PYTHONPATH": _python_path()},
                start_new_session=True,
            )
        outcome = _follow(child, request, on_event)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(GRACE_SECONDS)  # not for ever: a simulation that crashed leaves threads that never end
    finally:
        if child is not None:
            _end(child)
    if outcome is None:
        raise ChildError(
            f"the study's process ended with {child.returncode} (-9: it was killed, perhaps for want of memory); "
            "finished rounds are kept, the same command with the same --out continues",
            StudyError.exit_code,
        )
    for kind in (InputError, StudyError):
        if outcome["exit_code"] == kind.exit_code:
            raise kind(outcome["failure"])
    if outcome["exit_code"]:
        raise ChildError(outcome["failure"], outcome["exit_code"])


def _python_path() -> str:
    """Return where this process looks for modules, in its order: the child must find the same ones."""
    return os.pathsep.join(path or str(Path.cwd()) for path in sys.path)


def _follow(child: subprocess.Popen[bytes], request: dict[str, Any], on_event: Callable[[Event], None]) -> Event | None:
    """Give the child its request and pass on what it reports; returns its last event, None where it had none."""
    assert child.stdin and child.stdout
    with contextlib.suppress(BrokenPipeError), child.stdin:  # it was killed already
        child.stdin.write(json.dumps(request).encode())
    for line in child.stdout:
        if not line.endswith(b"\n"):  # it was killed in the midst of it
            return None
        event = json.loads(line)
        if "exit_code" in event:
            return event
        on_event(event)
    return None


@contextlib.contextmanager
def _ctrl_c_later() -> Iterator[None]:
    """Hold back Ctrl-C until the end of the block; it reaches the main thread alone."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    held: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda *came: held.append(came))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            before(*held[0])


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child and all that it started; a second Ctrl-C must not keep it from that."""
    with _ctrl_c_later():
        if child.poll() is None:
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(GRACE_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        if child.stdout:
            child.stdout.close()
