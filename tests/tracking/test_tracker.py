"""Rows of rounds.csv, summed up as a tracker shows them."""

from math import nan
from pathlib import Path
from typing import Any

import pytest

from fedmammo.run.folder import ROUND_COLUMNS
from fedmammo.tracking.tensorboard import TensorBoard
from fedmammo.tracking.tracker import Round, TrackedRun, rounds_of


def row(stage: str, number: int, hospital: str, **more: Any) -> dict[str, Any]:
    empty = dict.fromkeys(ROUND_COLUMNS) | {"status": "ok", "bytes_up": 0, "bytes_down": 0}
    return empty | {"stage": stage, "round": number, "hospital": hospital} | more


def test_a_round_sums_up_what_its_hospitals_did() -> None:
    """Losses and budgets are there or not: hospitals fail, and nobody tells a loss under a budget."""
    rows = [
        row("share", 0, "A", bytes_down=7),
        row("train", 1, "A", loss=0.5, bytes_up=10, bytes_down=20),
        row("train", 1, "B", loss=0.25, bytes_up=10, bytes_down=20),
        row("train", 1, "C", status="failed: it raised", loss=nan, bytes_down=20),
        row("train", 2, "A", epsilon_spent=1.5),
        row("train", 2, "B", epsilon_spent=2.0),
    ]
    share, first, second = rounds_of(rows)
    assert share.numbers == {"share/hospitals_answered": 1, "share/bytes_up": 0, "share/bytes_down": 7}
    assert (first.stage, first.number) == ("train", 1)
    assert first.numbers == {
        "train/hospitals_answered": 2,
        "train/bytes_up": 20,
        "train/bytes_down": 60,
        "train/mean_loss": 0.375,
        "train/loss/A": 0.5,
        "train/loss/B": 0.25,
    }
    answered = {"train/hospitals_answered": 2, "train/bytes_up": 0, "train/bytes_down": 0}
    assert second == Round("train", 2, answered | {"train/epsilon_spent": 2.0})


def test_a_tracker_goes_on_where_an_earlier_process_ended(tmp_path: Path) -> None:
    """Stages without rounds are of round 0."""
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = TrackedRun("0123456789abcdef", "small", "run", "one", {"arm": "federated"})
    rounds = rounds_of([row("share", 0, "A"), *(row("train", number, "A", loss=0.5) for number in (1, 2, 3))])
    for known, finished in ((2, False), (4, True), (4, True)):
        tracker = TensorBoard(str(tmp_path))
        tracker.write(run, rounds[:known])
        tracker.end(run, finished)
    events = EventAccumulator(str(tmp_path / "run/one-01234567")).Reload()
    steps = {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert steps["share/bytes_up"] == [0]
    assert steps["train/mean_loss"] == steps["train/hospitals_answered"] == [1, 2, 3]
    assert len(list((tmp_path / "run/one-01234567").iterdir())) == 2, "where nothing is new nothing is opened"
