"""The commands of docs/deployment.md, run as they stand, in their order."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import fedmammo
from fedmammo.privacy.reasons import ReasonName
from tests.deploy.loopback import ENVIRONMENT, free_port

PAGE = Path(__file__).parents[2] / "docs/deployment.md"
FOLDERS = ("coordinator", "north", "south")


def blocks() -> list[tuple[str, str]]:
    """Return the page's blocks of commands that begin with the name of the folder where they are run."""
    found = re.findall(r"^```\n# (\w+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [(name, text) for name, text in found if name in FOLDERS]


def script() -> str:
    """Return the page as one script, whose SuperLink has a port that is free."""
    steps = [f"echo '>> {name}'\ncd {name}\n{text}cd ..\n" for name, text in blocks()]
    text = "set -euo pipefail\nset -x\nmkdir " + " ".join(FOLDERS) + "\n" + "".join(steps)
    return re.sub(r"\b8000\b", str(free_port()), text)


@pytest.mark.long
def test_the_page_runs_from_top_to_bottom(tmp_path: Path) -> None:
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, module in (("fedmammo", "fedmammo"), ("flower-superlink", "")):
        start = f"-m {module}" if module else "-c 'from flwr.superlink.cli import flower_superlink; flower_superlink()'"
        (commands / name).write_text(f'#!/bin/sh\nexec {sys.executable} -P {start} "$@"\n')
        (commands / name).chmod(0o755)
    path = os.pathsep.join([str(commands), str(Path(sys.executable).parent), os.environ["PATH"]])
    packages = str(Path(fedmammo.__file__).parents[1])
    (tmp_path / "commands").write_text(script())
    process = subprocess.Popen(
        ["bash", tmp_path / "commands"], cwd=tmp_path, stdin=subprocess.DEVNULL, text=True, start_new_session=True,
        stdout=(tmp_path / "said").open("w"), stderr=subprocess.STDOUT,
        env={**os.environ, **ENVIRONMENT, "PATH": path, "PYTHONPATH": packages, "HOME": str(tmp_path)},
    )  # fmt: skip
    try:
        assert process.wait(900) == 0, (tmp_path / "said").read_text()[-3000:]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    assert (tmp_path / "coordinator/run/results.csv").exists()


def test_every_reason_is_explained() -> None:
    said = re.findall(r"^\| `(\w+)` \| .+ \| .+ \|$", PAGE.read_text().partition("## Reasons")[2], re.MULTILINE)
    assert said == list(get_args(ReasonName))
