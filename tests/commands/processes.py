"""Commands as processes of their own, with all that they start, and what they leave behind."""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

EXEMPT = {"timings.csv", "run.log", "config.yaml", "report.html"}  # the last two name the engine
COMMAND = Path(sys.executable).with_name("fedmammo")
OPEN = {"without_budget": "accepted", "central_trust": "accepted"}  # hospitals that take part in everything


def digests(run: Path) -> dict[str, str]:
    """SHA-256 of every file that must be the same in equal runs, hospitals' states among them.

    Hidden ones are left out: the lock, and what a process was about to write when it was killed.
    """
    files = [path for path in sorted(run.rglob("[!.]*")) if path.is_file() and path.name not in EXEMPT]
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def strange_place(folder: Path) -> dict[str, Any]:
    """Make a working folder with files called as modules are; gives it, and an environment that tells of no home."""
    for name in ("statistics.py", "numpy.py", "flwr.py"):
        (folder / name).write_text("raise SystemExit('the working directory was imported from')")
    home = ("HOME", "USER", "LOGNAME")
    return {"cwd": folder, "env": {name: value for name, value in os.environ.items() if name not in home}}


class Command:
    """A process of its own, whose whole tree is found again by a mark in the environment.

    `how`: more of subprocess.Popen, such as where it runs.
    """

    def __init__(self, words: list[str], log: Path, **how: Any) -> None:
        self.mark = uuid.uuid4().hex
        self.log = log.open("w")
        environment = how.pop("env", os.environ)
        self.process = subprocess.Popen(
            words,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            env={**environment, "FEDMAMMO_TEST_MARK": self.mark},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # background jobs ignore it
            **how,
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

    def kill(self) -> None:
        """End it and all that it started at once, as a machine does that loses power but for its disks."""
        self.process.kill()
        for pid in self.tree():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        assert self.until_gone(), f"left is {self.left()}"

    def said(self) -> str:
        return Path(self.log.name).read_text()


class Run(Command):
    """`fedmammo run`."""

    def __init__(self, study: Path, out: Path, *overrides: str, **how: Any) -> None:
        options = [word for override in overrides for word in ("--set", override)]
        words = [str(COMMAND), "run", str(study), "--out", str(out), *options]
        super().__init__(words, out.with_suffix(".log"), **how)
