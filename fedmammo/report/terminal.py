"""What the terminal shows: tables and live progress. Everything goes to standard error but tables."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from fedmammo.cohort.card import remarks
from fedmammo.cohort.show import summary
from fedmammo.cohort.store import SPLITS, Cohort
from fedmammo.config.study import StudyConfig
from fedmammo.federation.spread import FINISHED
from fedmammo.hospitals.dealing import hospitals_of
from fedmammo.hospitals.demands import check_demands, ignored_demands
from fedmammo.hospitals.summary import distances, holdings, side_by_side
from fedmammo.report.cells import cell_text
from fedmammo.report.part import Part

# names may hold [brackets] and :colons:, which are no markup here
out, status = (Console(stderr=to_stderr, highlight=False, markup=False, emoji=False) for to_stderr in (False, True))

WORD = 24  # letters that a column of words leaves whole


def table(frame: pd.DataFrame, title: str) -> None:
    """Print a frame as a table: numbers right, at most three digits after the point, empty cells empty."""
    shown = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=SIMPLE_HEAD)
    for column in frame.columns:
        numeric = pd.api.types.is_numeric_dtype(frame[column])
        words = [] if numeric else " ".join(map(cell_text, frame[column])).split()
        shown.add_column(
            str(column).replace("_", " "),
            justify="right" if numeric else "left",
            overflow="fold",  # where there is too little room for it, a word is broken, never cut
            min_width=min(max(map(len, words), default=0), WORD),
        )
    for row in frame.itertuples(index=False):
        shown.add_row(*(cell_text(value) for value in row))
    out.print(shown)


def page(parts: list[Part]) -> None:
    """Print a page part by part."""
    for part in parts:
        if part.table is None or part.table.empty:
            out.print(part.title, style="bold")
        else:
            table(part.table, part.title)
        for line in part.lines:
            out.print(line, soft_wrap=True)
        out.print()


@contextmanager
def working(text: str) -> Iterator[Callable[[str], None]]:
    """Show that something is being done; what it yields changes the text."""
    with status.status(Text(text)) as shown:
        yield lambda text: shown.update(Text(text))


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show how far something is, and how long it may take; what it yields is told parts done and parts in all."""
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(24), MofNCompleteColumn())
    with Bars(*columns, TimeRemainingColumn(), console=status, transient=True, disable=not status.is_terminal) as bars:
        task = bars.add_task(what, total=None)
        yield lambda done, rows: bars.update(task, completed=done, total=rows)


def cohort(shown: Cohort) -> None:
    """Print what a cohort holds."""
    tables = summary(shown)
    table(tables["splits"].T.reset_index(names=""), f"{shown.folder}")
    table(tables["counts"], "what was listed: rows = prepared + quarantined")
    if not tables["quarantine"].empty:
        table(tables["quarantine"], "quarantine (quarantine.csv has every row)")
    out.print(f"{len(shown.quarantine)} rows in quarantine")
    for remark in remarks(shown.facts, named=True):
        out.print(remark, soft_wrap=True)


def hospitals(shown: Cohort, config: StudyConfig) -> None:
    """Print who holds what in the study's first draw, and how far hospitals differ.

    Raises InputError where profiles ask for what these patients cannot give.
    """
    check_demands(shown.patients, config.hospitals)
    hospital_of = hospitals_of(shown.patients, config.hospitals, config.hospitals.draw)
    held = holdings(shown.patients, hospital_of, config.hospitals)
    for split in (split for split in SPLITS if split in set(held["split"])):
        part = held[held["split"] == split]
        table(side_by_side(part), f"who holds what: {split}")
    for line in ignored_demands(shown.patients, config.hospitals):
        out.print(line, soft_wrap=True)
    if len(config.hospitals.seed) > 1:
        out.print(f"draw {config.hospitals.draw}, the first of hospitals.seed: {config.hospitals.seed}")
    table(distances(shown.patients, hospital_of), "distance from all patients together (Jensen-Shannon, 0 to 1)")


class Progress:
    """Live progress of a study: deployments done; of each at work its place, stage and round; hospitals of the last."""

    def __init__(self, config: StudyConfig) -> None:
        repeats = len(config.seeds) * len(config.hospitals.seed) * max(1, config.evaluation.folds)
        deployments = len(config.arms) * len(config.settings) * repeats
        self._at_work: dict[str, tuple[str, TaskID]] = {}  # each deployment's stage, and its bar
        self._finished: set[str] = set()
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn())
        self._bars = Bars(*columns, TimeElapsedColumn(), TimeRemainingColumn())
        self._study = self._bars.add_task("study", total=deployments)
        self._hospitals = Text("starting", style="dim", overflow="ellipsis", no_wrap=True)
        self._live = Live(Group(self._bars, self._hospitals), console=status, transient=True)

    def __enter__(self) -> "Progress":
        """Start showing."""
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop showing."""
        self._live.stop()

    def update(self, event: dict[str, Any]) -> None:
        """Take up one report of the server (fedmammo.federation.server)."""
        if "message" in event:
            status.print(event["message"], soft_wrap=True)
        place = event["deployment"]
        name = place["name"]
        stage, bar = self._at_work.get(name, ("", None))
        if bar is not None and stage != event["stage"]:  # a bar does not forget how many rounds it had
            self._bars.remove_task(bar)
            del self._at_work[name]
        if event["stage"] == FINISHED:
            self._finished.add(name)
            self._bars.update(self._study, completed=len(self._finished))
            return
        states = event["hospitals"]
        part = f" · draw {place['draw']}" if place["draw"] else ""
        part += f" · fold {place['fold'] + 1}" if place["fold"] else ""
        where = f"{place['arm']} · {place['setting']} · seed {place['seed']}{part} · {event['stage']}"
        for hospital, state in states.items():
            if state != "ok":
                status.print(f"{where} {event['round']}: {hospital} {state}", style="yellow", soft_wrap=True)
        if name not in self._at_work:
            self._at_work[name] = (event["stage"], self._bars.add_task(where, total=event["rounds"] or None))
        self._bars.update(self._at_work[name][1], completed=event["round"])
        answered = sum(state == "ok" for state in states.values())
        if states:
            self._hospitals.plain = f"{answered}/{len(states)} answered: {', '.join(states)}"
