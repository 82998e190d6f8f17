"""Work done by a process that is killed at a moment of its own choosing: SIGKILL, which nothing can catch."""

import multiprocessing
import signal
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

PRELOADED = ["fedmammo.study", "fedmammo.models.transformer", "fedmammo.run.quality", "fedmammo.report.run_page"]
_fresh = multiprocessing.get_context("forkserver")
_fresh.set_forkserver_preload(PRELOADED)


def study(config: str, out: Path, told: Path) -> None:
    """Run a study, given as JSON, to its report, as `fedmammo run` does with the inline engine."""
    from fedmammo.config.study import StudyConfig
    from fedmammo.federation.client_app import app_of
    from fedmammo.federation.inline_grid import InlineGrid
    from fedmammo.report.run_page import write_report
    from fedmammo.run.results import Run
    from fedmammo.study import simulate
    from fedmammo.synthesis import radiomics

    radiomics.is_installed = lambda: False  # a quarter of a second for each image
    parsed = StudyConfig.model_validate_json(config)

    def on_grid(hospitals: Path, nodes: int, run: Callable[[Any], None]) -> None:
        run(InlineGrid(app_of(hospitals), nodes))
        _tell(told, "ended")

    simulate(parsed, out, lambda event: _tell(told, f"{event['deployment']['setting']} {event['stage']}"), on_grid)
    _tell(told, "report")
    write_report(Run(out, parsed))


def preparation(source: Path, out: Path, told: Path) -> None:
    """Prepare a cohort in one process."""
    from fedmammo.cohort.prepare import prepare

    prepare(source, out, report=lambda done, rows: _tell(told, f"{done}"))


def _tell(told: Path, what: str) -> None:
    with told.open("a") as file:
        file.write(f"{what}\n")


def whole(target: Callable[..., None], *arguments: Any, told: Path) -> float:
    """Let a process of its own finish; returns its seconds."""
    started = time.monotonic()
    process = _started(target, *arguments, told)
    process.join(300)
    assert process.exitcode == 0
    return time.monotonic() - started


def kill(
    target: Callable[..., None], *arguments: Any, told: Path, at: Callable[[list[str]], bool], after: float
) -> str:
    """Kill a process so many seconds after `at` holds of what it told; returns what it had told last.

    '' where it had finished before.
    """
    seen = len(told.read_text().splitlines()) if told.exists() else 0
    process = _started(target, *arguments, told)

    def lines() -> list[str]:
        return told.read_text().splitlines()[seen:] if told.exists() else []

    while process.is_alive() and not at(lines()):
        time.sleep(0.001)
    process.join(after)
    process.kill()  # nothing happens where it has ended
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return (lines() or ["begun"])[-1] if process.exitcode else ""


def _started(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    process = _fresh.Process(target=partial(target, *arguments))
    process.start()
    return process
