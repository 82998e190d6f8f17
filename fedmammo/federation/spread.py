"""Whole deployments side by side on Ray, each run inline by a worker: where what hospitals do is light."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fedmammo.config.sections import EngineConfig
from fedmammo.errors import StudyError
from fedmammo.federation.ray import start_ray

Report = Callable[[dict[str, Any]], None]
Deploy = Callable[[str, Report], None]
"""Runs a deployment, given as JSON, in the process that calls it. It must be possible to pickle."""
Failure = tuple[int, StudyError]
"""Which deployment failed, from 0, and why."""
FINISHED = "finished"  # the last stage that is reported of a deployment
SECONDS = 0.25  # how often what happens is passed on


class Board:
    """What workers report, until somebody takes it."""

    def __init__(self) -> None:
        self._events: list[dict[str, Any]] = []

    def post(self, event: dict[str, Any]) -> None:
        """Add an event."""
        self._events.append(event)

    def take(self) -> list[dict[str, Any]]:
        """Return all events since the last time."""
        taken, self._events = self._events, []
        return taken


def side_by_side(
    engine: EngineConfig, folder: Path, deployments: Sequence[str], deploy: Deploy, report: Report
) -> Failure | None:
    """Run deployments, given as JSON, as many at a time as the machine or the cluster has processors for.

    A worker that is killed is replaced, and its deployment goes on from its last checkpoint. Where deployments fail,
    those before the first of them are still finished, as if they ran one after the other; others are not begun.

    `folder`: as in `start_ray`.

    Returns:
        The first failure, if there is one: a deployment whose processes are killed again and again fails, too. Raises
        whatever else a deployment raises.
    """
    import ray
    from ray.exceptions import RayError, RayTaskError

    start_ray(engine, folder)
    board: Any = ray.remote(num_cpus=0)(Board).remote()
    task = ray.remote(num_cpus=engine.threads_per_hospital, max_retries=2)(_deploy)
    running = {task.remote(deploy, one, board): number for number, one in enumerate(deployments)}
    failure: Failure | None = None
    try:
        while running:
            done, _ = ray.wait(list(running), timeout=SECONDS)
            for event in ray.get(board.take.remote()):
                report(event)
            for reference in done:
                number = running.pop(reference)
                try:
                    reason = ray.get(reference)
                except RayTaskError as error:
                    raise error.cause from error  # Ray's own text is a traceback
                except RayError:
                    reason = "its process was ended again and again, perhaps for want of memory"
                if reason is not None and (failure is None or number < failure[0]):
                    failure = (number, StudyError(reason))
            for reference in [one for one, number in running.items() if failure is not None and number > failure[0]]:
                ray.cancel(reference)
                del running[reference]
        for event in ray.get(board.take.remote()):
            report(event)
    finally:
        ray.shutdown()
    return failure


def _deploy(deploy: Deploy, deployment: str, board: Any) -> str | None:
    """Run a deployment in a worker; returns why it failed, if it did."""
    last = 0.0  # when an event was passed on
    rows: list[dict[str, Any]] = []  # of events since

    def report(event: dict[str, Any]) -> None:
        nonlocal last, rows
        rows += event["rows"]
        failed = any(state != "ok" for state in event["hospitals"].values())
        if failed or event["stage"] == FINISHED or time.monotonic() > last + SECONDS:
            board.post.remote(event | {"rows": rows})
            last, rows = time.monotonic(), []

    try:
        deploy(deployment, report)
    except StudyError as error:
        return str(error)
    return None
