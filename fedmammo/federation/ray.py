"""Ray, as a study starts it or joins a cluster: with nothing of the working folder in its workers' way."""

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

from fedmammo.config.sections import EngineConfig
from fedmammo.errors import StudyError

LONGEST = 107 - len("/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store")  # bytes of a socket's path


def start_ray(engine: EngineConfig, folder: Path, **more: Any) -> None:
    """Start Ray on this machine, or join the cluster at `engine.address`.

    Ray lets workers import from the working folder before anything else, where the user's own `statistics.py` would
    stand in for Python's: `folder`, which holds no code, is the working folder while Ray starts. `more`: of `ray.init`.

    Raises StudyError, in one line, where Ray does not start.
    """
    import ray

    with contextlib.chdir(folder):
        try:
            ray.init(address=engine.address or "local", include_dashboard=False, log_to_driver=False, **more)
        except Exception as error:  # whatever it is that Ray does not find here
            raise StudyError(f"Ray does not start: {' '.join(str(error).split())[:300]}; {_remedy(engine)}") from error


def python_path() -> dict[str, Any]:
    """Say where workers look for modules: where this process does, on every node of a cluster."""
    return {"env_vars": {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}}


def _remedy(engine: EngineConfig) -> str:
    if engine.address:
        return f"see that the cluster at {engine.address} runs the same Ray and Python"
    temporary = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    if len(os.fsencode(temporary)) > LONGEST:
        return f"the temporary folder's path is too long; set RAY_TMPDIR to one of at most {LONGEST} bytes"
    return "set HOME and RAY_TMPDIR to folders that can be written, or take --set engine.name=inline"
