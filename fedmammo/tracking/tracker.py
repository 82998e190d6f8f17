"""What a tracker is told of a study, and what it must be able to do."""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

Parameter = str | int | float | bool
ALWAYS = "hospitals_answered"  # what each round has


@dataclass(frozen=True)
class TrackedRun:
    """One run in a tracker: a deployment of a study, or the study with its results.

    Attributes:
        id: hexadecimal digits; the same when a study is continued, another where anything differs.
        study: the study's name.
        folder: name of the study's folder.
        name: of the deployment, or `study`.
        parameters: what was run, by dotted key.
    """

    id: str
    study: str
    folder: str
    name: str
    parameters: dict[str, Parameter]


@dataclass(frozen=True)
class Round:
    """One round of a stage, and its numbers, each under a name such as `train/mean_loss`.

    Rounds count from 1; a stage without rounds has one, 0.
    """

    stage: str
    number: int
    numbers: dict[str, float]


def rounds_of(rows: Iterable[Mapping[Any, Any]]) -> list[Round]:
    """Sum up rows of rounds.csv, in their order; a number that is not there is None or NaN."""
    together: dict[tuple[str, int], list[Mapping[Any, Any]]] = defaultdict(list)
    for row in rows:
        together[row["stage"], row["round"]].append(row)
    return [Round(stage, number, _numbers(stage, group)) for (stage, number), group in together.items()]


def _numbers(stage: str, rows: list[Mapping[Any, Any]]) -> dict[str, float]:
    numbers: dict[str, float] = {ALWAYS: sum(row["status"] == "ok" for row in rows)}
    numbers |= {key: sum(row[key] for row in rows) for key in ("bytes_up", "bytes_down")}
    if losses := _known(rows, "loss"):
        numbers["mean_loss"] = fmean(losses.values())
        numbers |= {f"loss/{hospital}": loss for hospital, loss in losses.items()}
    if spent := _known(rows, "epsilon_spent"):
        numbers["epsilon_spent"] = max(spent.values())
    return {f"{stage}/{name}": number for name, number in numbers.items()}


def _known(rows: list[Mapping[Any, Any]], key: str) -> dict[str, float]:
    return {row["hospital"]: row[key] for row in rows if row[key] is not None and row[key] == row[key]}


class Tracker(ABC):
    """Shows what a study does. It never holds a round twice, also where a study is continued.

    Made with the place that the study gives it. Raises ImportError where its library is not installed; opens and
    writes nothing before the first round.
    """

    def __init__(self) -> None:
        self._last: dict[str, dict[str, int]] = {}  # of each run that is open: the last round of each stage

    def write(self, run: TrackedRun, rounds: list[Round]) -> None:
        """Log the rounds of a run that are not logged yet; `rounds`: all that are known, each stage's in order."""
        if run.id not in self._last:
            self._last[run.id] = self.held(run, rounds)
        last = self._last[run.id]
        new = [one for one in rounds if one.number > last.get(one.stage, -1)]
        if new:
            self.log(run, new)
        last |= {one.stage: one.number for one in new}

    def end(self, run: TrackedRun, finished: bool) -> None:
        """Close a run if it is open; `finished`: nothing is left to do for it."""
        if last := self._last.pop(run.id, None):
            self.close(run, last, finished)

    @abstractmethod
    def held(self, run: TrackedRun, rounds: list[Round]) -> dict[str, int]:
        """Return the last round of each stage that an earlier process logged; `rounds`: all that are known now."""

    @abstractmethod
    def log(self, run: TrackedRun, rounds: list[Round]) -> None:
        """Log rounds that are new, and the run's parameters if it is new."""

    @abstractmethod
    def close(self, run: TrackedRun, last: dict[str, int], finished: bool) -> None:
        """Let go of a run, of which rounds up to the `last` of each stage are logged."""

    @abstractmethod
    def conclude(self, run: TrackedRun, numbers: dict[str, float], text: str) -> None:
        """Show a study's results, in place of those that the run may have already; `text` is Markdown."""
