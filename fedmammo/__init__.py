"""Federated hospital simulation for multi-site mammography studies, as a library.

    study = fedmammo.load_study("configs/quickstart.yaml", ["federation.rounds=3"])
    run = fedmammo.run_study(study, "runs/first")
    run.results  # a pandas DataFrame

Importing it is cheap: pandas is loaded where a table is read, torch and Flower where a study is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmammo.errors import FedmammoError, InputError, StudyError

if TYPE_CHECKING:
    from fedmammo.commands.run import ChildError
    from fedmammo.config.study import StudyConfig
    from fedmammo.run.results import Run

    __version__: str

__all__ = [
    "ChildError",
    "FedmammoError",
    "InputError",
    "Run",
    "StudyConfig",
    "StudyError",
    "__version__",
    "load_study",
    "open_run",
    "run_study",
]
_HOMES = {
    "ChildError": "fedmammo.commands.run",
    "Run": "fedmammo.run.results",
    "StudyConfig": "fedmammo.config.study",
}  # of what is imported when it is first asked for


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("fedmammo")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)


def load_study(path: str | Path, overrides: Sequence[str] = ()) -> StudyConfig:
    """Read a study from a YAML file and check it.

    Args:
        path: the file; see `configs/`.
        overrides: keys that get other values, each as `federation.rounds=3`, whose value is YAML. The last one wins.

    Raises InputError, in one line, for a missing file, bad YAML, an unknown key or a value of the wrong kind.
    """
    from fedmammo.config.study import load

    return load(Path(path), list(overrides))


def run_study(study: StudyConfig, out: str | Path, on_event: Callable[[dict[str, Any]], None] | None = None) -> Run:
    """Run a study in a process of its own: all arms, settings and seeds; then compare them.

    The same study with the same folder continues after the last finished round; in the end `report.html` is there.
    Works in scripts, threads and notebooks; Ctrl-C, or a notebook's interrupt, ends the study's process and all that it
    started.

    Args:
        study: what `load_study` read.
        out: folder of the run; new, empty, or of an earlier run of the same study.
        on_event: called as the study goes on, in the calling thread, with a dictionary: `deployment` (the one at
            work: `name`, `arm`, `setting`, `seed`, `draw`, `fold`), `stage`, `round` (from 1), `rounds` (0: not
            known), `hospitals` (name: `ok`, or why there is no answer) and `rows` (of rounds.csv, as dictionaries, once
            their round is done). What it raises ends the study.

    Trackers that `engine.track` names are told in this process, too.

    Raises InputError where the study asks for what is not there, or the folder holds something else; nothing was
    written then. Raises StudyError where the study could not go on, and ChildError where its process was killed or the
    software has a fault; finished rounds are kept.
    """
    from fedmammo.commands.run import run
    from fedmammo.report.run_page import write_report
    from fedmammo.run.results import Run
    from fedmammo.tracking.course import Course

    done = Run(Path(out), study)
    with Course(study, Path(out)) as course:

        def report(event: dict[str, Any]) -> None:
            course.update(event)
            if on_event is not None:
                on_event(event)

        run(study, Path(out), report)
        course.conclude(done)
    write_report(done)
    return done


def open_run(folder: str | Path) -> Run:
    """Open what a run left in its folder, finished or not. Raises InputError where the folder holds no run."""
    from fedmammo.run.folder import read_config
    from fedmammo.run.results import Run

    return Run(Path(folder), read_config(Path(folder))[0])
