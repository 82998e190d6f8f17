"""Weights & Biases, offline: `wandb sync FOLDER/wandb/offline-run-*` sends what is there, if somebody asks it to."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from fedmammo.tracking.tracker import Round, TrackedRun, Tracker

WHOLE = "fedmammo.json"  # in an offline run's folder, once its deployment is finished: the last round of each stage


class WandB(Tracker):
    """Writes offline runs, `wandb/offline-run-<time>-<id>/`. `place`: a folder.

    An offline run cannot be continued. One that was interrupted is written anew, from its first round.
    """

    def __init__(self, place: str) -> None:
        super().__init__()
        os.environ["WANDB_ERROR_REPORTING"] = "false"  # read on import; it would send reports of its own faults
        import wandb  # an extra

        self._wandb = wandb
        self._settings = wandb.Settings(
            mode="offline",
            console="off",
            silent=True,
            save_code=False,
            disable_git=True,
            disable_code=True,
            x_disable_meta=True,  # user, command and machine
            x_disable_machine_info=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )
        self._place = Path(place)
        self._runs: dict[str, Any] = {}

    def held(self, run: TrackedRun, rounds: list[Round]) -> dict[str, int]:
        """Return all or nothing: a run that lacks some of these rounds is written anew."""
        known = {one.stage: one.number for one in rounds}
        whole = [json.loads((folder / WHOLE).read_text()) for folder in self._folders(run) if (folder / WHOLE).exists()]
        return known if known in whole else {}

    def log(self, run: TrackedRun, rounds: list[Round]) -> None:
        """Log each round; its number is the axis of its stage."""
        if run.id not in self._runs:
            self._runs[run.id] = self._begin(run)
            self._runs[run.id].define_metric("*", step_metric="round")
        for one in rounds:
            self._runs[run.id].log({"round": one.number, **one.numbers})

    def close(self, run: TrackedRun, last: dict[str, int], finished: bool) -> None:
        """End the offline run."""
        if open_run := self._runs.pop(run.id, None):
            open_run.finish(exit_code=0 if finished else 1)
            if finished:
                (self._folders(run)[-1] / WHOLE).write_text(json.dumps(last))

    def conclude(self, run: TrackedRun, numbers: dict[str, float], text: str) -> None:
        """Write the results as one step and as the summary, and the text as the run's notes."""
        begun = self._begin(run, notes=text)
        begun.log(numbers)
        begun.finish()

    def _folders(self, run: TrackedRun) -> list[Path]:
        return sorted(self._place.glob(f"wandb/offline-run-*-{run.id}"))

    def _begin(self, run: TrackedRun, notes: str | None = None) -> Any:
        for folder in self._folders(run):
            shutil.rmtree(folder)
        self._place.mkdir(parents=True, exist_ok=True)
        return self._wandb.init(
            dir=self._place,
            id=run.id,
            project=run.study,
            group=run.folder,
            name=run.name,
            notes=notes,
            config=run.parameters,
            reinit="create_new",  # deployments may run side by side, and runs of the caller's own are left alone
            settings=self._settings,
        )
