"""TensorBoard: `tensorboard --logdir FOLDER` shows a line for each deployment."""

import shutil
import time
from pathlib import Path
from typing import Any

from fedmammo.tracking.tracker import ALWAYS, Round, TrackedRun, Tracker


class TensorBoard(Tracker):
    """Writes event files: `<run folder>/<deployment>-<id>/`. `place`: a folder."""

    def __init__(self, place: str) -> None:
        super().__init__()
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # an extra
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb
        from tensorboard.plugins.text.summary_v2 import text_pb
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._accumulator, self._writer = EventAccumulator, EventFileWriter
        self._event, self._summary, self._parameters, self._text = Event, Summary, hparams_pb, text_pb
        self._place = Path(place)
        self._writers: dict[str, Any] = {}

    def held(self, run: TrackedRun, rounds: list[Round]) -> dict[str, int]:
        """Read the event files of the run."""
        if not self._folder(run).is_dir():
            return {}
        events = self._accumulator(str(self._folder(run)), size_guidance={"scalars": 1}).Reload()
        stages = {tag.partition("/")[0] for tag in events.Tags()["scalars"]}
        return {stage: events.Scalars(f"{stage}/{ALWAYS}")[-1].step for stage in stages}

    def log(self, run: TrackedRun, rounds: list[Round]) -> None:
        """Add an event for each round; they are on the disk when this returns."""
        if run.id not in self._writers:
            self._writers[run.id] = self._open(run)
        for one in rounds:
            self._add(self._writers[run.id], self._scalars(one.numbers), one.number)
        self._writers[run.id].flush()

    def close(self, run: TrackedRun, last: dict[str, int], finished: bool) -> None:
        """Close the run's file."""
        if writer := self._writers.pop(run.id, None):
            writer.close()

    def conclude(self, run: TrackedRun, numbers: dict[str, float], text: str) -> None:
        """Write the results as scalars at step 0, and the text."""
        shutil.rmtree(self._folder(run), ignore_errors=True)
        writer = self._open(run)
        self._add(writer, self._scalars(numbers), 0)
        self._add(writer, self._text("verdicts", text), 0)
        writer.close()

    def _folder(self, run: TrackedRun) -> Path:
        return self._place / run.folder / f"{run.name}-{run.id[:8]}"

    def _open(self, run: TrackedRun) -> Any:
        new = not self._folder(run).exists()
        writer = self._writer(str(self._folder(run)))
        if new:
            self._add(writer, self._parameters(run.parameters), 0)
        return writer

    def _scalars(self, numbers: dict[str, float]) -> Any:
        return self._summary(
            value=[self._summary.Value(tag=name, simple_value=number) for name, number in numbers.items()]
        )

    def _add(self, writer: Any, summary: Any, step: int) -> None:
        writer.add_event(self._event(wall_time=time.time(), step=step, summary=summary))
