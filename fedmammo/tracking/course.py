"""Tells the trackers that a study names what it does, while it runs."""

import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from fedmammo.config.arm import ALL
from fedmammo.config.deployment import Deployment
from fedmammo.config.study import StudyConfig
from fedmammo.errors import InputError
from fedmammo.federation.spread import FINISHED
from fedmammo.run.folder import read_config
from fedmammo.run.results import Run
from fedmammo.tracking.mlflow import MLflow
from fedmammo.tracking.tensorboard import TensorBoard
from fedmammo.tracking.tracker import Parameter, Round, TrackedRun, Tracker, rounds_of
from fedmammo.tracking.wandb import WandB

TRACKERS: dict[str, Callable[[str], Tracker]] = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB}
SECONDS = 1.0  # how often a deployment's rounds are written
PLACE = ("arm", "setting", "seed", "draw", "fold")
Place = tuple[Any, ...]
Rounds = dict[tuple[str, int], Round]  # by stage and number, each stage's in order
log = logging.getLogger(__name__)


class Course:
    """What a study's trackers are told; use it as a context, which closes what is open.

    A tracker that fails is left out from then on, with one line of warning; the study goes on.

    Args:
        study: the study.
        out: folder of its run.

    Raises InputError where a tracker's library is not installed; nothing was written then.
    """

    def __init__(self, study: StudyConfig, out: Path) -> None:
        self._study, self._out = study, out
        self._trackers = {name: _made(name, place) for name, place in study.engine.track if place is not None}
        deployments = study.deployments if self._trackers else ()
        self._deployments = {tuple(one.place.values()): one for one in deployments}
        self._runs: dict[Place, TrackedRun] = {}  # of deployments that were begun here
        self._rounds: dict[Place, Rounds] = defaultdict(dict)
        self._written: dict[Place, float] = {}

    def __enter__(self) -> "Course":
        """Begin; nothing is written before the first round."""
        return self

    def __exit__(self, *_: object) -> None:
        """Write what is known of deployments that were interrupted."""
        for place in list(self._rounds):
            self._write(place)
            self._end(place, finished=False)

    def update(self, event: dict[str, Any]) -> None:
        """Take up one report of the server (fedmammo.federation.server)."""
        if not self._trackers:
            return
        for place, rounds in self._by_place(event["rows"]).items():
            self._rounds[place] |= rounds  # a worker that was replaced tells some again
        place = tuple(event["deployment"][key] for key in PLACE)
        finished = event["stage"] == FINISHED
        if finished or time.monotonic() > self._written.get(place, 0.0) + SECONDS:
            self._write(place)
        if finished:
            self._end(place, finished=True)

    def conclude(self, run: Run) -> None:
        """Write what is missing of any deployment, the results of all test patients, and the verdicts."""
        if not self._trackers:
            return
        for place, rounds in self._by_place(run.rounds.to_dict("records")).items():
            self._rounds[place] = rounds
            self._write(place)
            self._end(place, finished=True)
        numbers, text = results_of(run), "\n".join(f"- {sentence}" for sentence in run.verdicts["sentence"])
        about = self._tracked("study", {}, [])
        for name in list(self._trackers):
            with self._going_on(name) as tracker:
                tracker.conclude(about, numbers, text)

    def _by_place(self, rows: Iterable[Mapping[Any, Any]]) -> dict[Place, Rounds]:
        """Sum up rows of rounds.csv by deployment; what is none of the study's, such as a generator's, is left out."""
        together: dict[Place, list[Mapping[Any, Any]]] = defaultdict(list)
        for row in rows:
            together[tuple(row[key] for key in PLACE)].append(row)
        return {
            place: {(one.stage, one.number): one for one in rounds_of(found)}
            for place, found in together.items()
            if place in self._deployments
        }

    def _write(self, place: Place) -> None:
        self._written[place] = time.monotonic()
        if rounds := list(self._rounds[place].values()):
            for name in list(self._trackers):
                with self._going_on(name) as tracker:
                    tracker.write(self._run(place), rounds)

    def _end(self, place: Place, finished: bool) -> None:
        if self._rounds.pop(place, None):
            for name in list(self._trackers):
                with self._going_on(name) as tracker:
                    tracker.end(self._run(place), finished)

    @contextmanager
    def _going_on(self, name: str) -> Iterator[Tracker]:
        """Leave a tracker out from now on if it fails."""
        try:
            yield self._trackers[name]
        except Exception as error:
            del self._trackers[name]
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            log.warning("engine.track.%s: left out from now on, the study goes on (%s)", name, reason)

    def _run(self, place: Place) -> TrackedRun:
        if place not in self._runs:
            deployment, digests = self._deployments[place], read_config(self._out)[1]
            # another run where its results may be others: the folder may have been emptied since
            what: list[Any] = [digests.get(name) for name in ("code", "cohort", "profiles")]
            what += [self._study.hospitals.assignment.model_dump(mode="json"), deployment.digest]
            self._runs[place] = self._tracked(deployment.name, parameters_of(deployment), what)
        return self._runs[place]

    def _tracked(self, name: str, parameters: dict[str, Parameter], what: list[Any]) -> TrackedRun:
        study, folder = self._study.name, self._out.resolve()
        identity = sha256(json.dumps([str(folder), name, *what], sort_keys=True).encode()).hexdigest()[:16]
        return TrackedRun(identity, study, folder.name, name, {"study": study, "folder": folder.name, **parameters})


def _made(name: str, place: str) -> Tracker:
    try:
        return TRACKERS[name](place)
    except ImportError as error:
        raise InputError(f"engine.track.{name}: needs pip install 'fedmammo[{name}]' ({error})") from error


def parameters_of(deployment: Deployment) -> dict[str, Parameter]:
    """Return what a deployment is, by dotted key; what has no value is left out, lists are JSON."""
    found: dict[str, Parameter] = dict(deployment.place)

    def add(key: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, one in value.items():
                add(f"{key}.{name}", one)
        elif value is not None:
            found[key] = value if isinstance(value, Parameter) else json.dumps(value)

    for key in ("diagnosis", "federation", "privacy", "source", "dealing"):
        add(key, deployment.model_dump(mode="json")[key])
    return found


def results_of(run: Run) -> dict[str, float]:
    """Return each metric of each arm and setting on all test patients, or over hospitals, with its 95 % interval.

    Keys are such as `federated/real/lesion/auroc/value`, `.../ci_low` and `.../ci_high`; what is not known is left out.
    """
    table = run.results
    numbers: dict[str, float] = {}
    everywhere = (table["seed"] == ALL) & (table["trained_at"] == ALL) & (table["tested_at"] == run.together)
    for row in table[everywhere].to_dict("records"):
        where = "/".join(str(row[key]) for key in ("arm", "setting", "unit", "metric"))
        numbers |= {f"{where}/{key}": row[key] for key in ("value", "ci_low", "ci_high") if row[key] == row[key]}
    return numbers
