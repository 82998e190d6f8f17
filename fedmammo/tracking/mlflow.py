"""MLflow: an experiment for each study of a name, a run for each deployment."""

import logging
import os
import time
from pathlib import Path
from typing import Any

from fedmammo.tracking.tracker import ALWAYS, Round, TrackedRun, Tracker

MOST = 1000  # metrics in one call
TAG = "fedmammo.run"  # by which a run is found again
NOTE = "mlflow.note.content"  # what MLflow shows as a run's description, as Markdown
FINISHED = "FINISHED"


class MLflow(Tracker):
    """Writes to a database. `place`: its URI, `sqlite:///FILE`, or a folder in which it is `mlflow.db`."""

    def __init__(self, place: str) -> None:
        super().__init__()
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read on import
        from mlflow import MlflowClient  # an extra
        from mlflow.entities import Metric, Param

        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # says much of a new database
        self._client_of, self._metric, self._param = MlflowClient, Metric, Param
        self._place = place
        self._client: Any = None
        self._runs: dict[str, str] = {}  # MLflow's name of each run that is not finished

    def held(self, run: TrackedRun, rounds: list[Round]) -> dict[str, int]:
        """Ask for the run's metrics."""
        found = self._find(run)
        if found is None:
            return {}
        if found.info.status != FINISHED:
            self._runs[run.id] = found.info.run_id
            self._client.update_run(found.info.run_id, status="RUNNING")
        stages = {key.partition("/")[0] for key in found.data.metrics}
        history = {stage: self._client.get_metric_history(found.info.run_id, f"{stage}/{ALWAYS}") for stage in stages}
        return {stage: max(one.step for one in logged) for stage, logged in history.items()}

    def log(self, run: TrackedRun, rounds: list[Round]) -> None:
        """Log each round's numbers as metrics whose step is the round."""
        if run.id not in self._runs:
            found = self._find(run)
            self._runs[run.id] = self._create(run) if found is None else found.info.run_id
        now = int(1000 * time.time())
        metrics = [self._metric(key, value, now, one.number) for one in rounds for key, value in one.numbers.items()]
        for start in range(0, len(metrics), MOST):
            self._client.log_batch(self._runs[run.id], metrics[start : start + MOST])

    def close(self, run: TrackedRun, last: dict[str, int], finished: bool) -> None:
        """Say how the run ended."""
        if name := self._runs.pop(run.id, None):
            self._client.set_terminated(name, FINISHED if finished else "KILLED")

    def conclude(self, run: TrackedRun, numbers: dict[str, float], text: str) -> None:
        """Log the results that are new or differ as metrics, and the text as the run's description."""
        found = self._find(run)
        name, before = (self._create(run), {}) if found is None else (found.info.run_id, found.data.metrics)
        now = int(1000 * time.time())
        metrics = [self._metric(key, value, now, 0) for key, value in numbers.items() if before.get(key) != value]
        for start in range(0, len(metrics), MOST):
            self._client.log_batch(name, metrics[start : start + MOST])
        self._client.set_tag(name, NOTE, text)
        self._client.set_terminated(name, FINISHED)

    def _experiment(self, study: str) -> str:
        """Return MLflow's name of a study, which is made where it is not there yet, and the database with it."""
        if self._client is None:
            uri = self._place
            if not uri.startswith("sqlite:"):
                Path(uri).mkdir(parents=True, exist_ok=True)
                uri = f"sqlite:///{Path(uri).resolve() / 'mlflow.db'}"
            self._client = self._client_of(uri)
        found = self._client.get_experiment_by_name(study)
        return str(found.experiment_id if found else self._client.create_experiment(study))

    def _find(self, run: TrackedRun) -> Any:
        there = self._experiment(run.study)
        return next(iter(self._client.search_runs([there], f"tags.`{TAG}` = '{run.id}'")), None)

    def _create(self, run: TrackedRun) -> str:
        title, tags = f"{run.folder}/{run.name}", {TAG: run.id}
        name = str(self._client.create_run(self._experiment(run.study), run_name=title, tags=tags).info.run_id)
        self._client.log_batch(name, params=[self._param(key, str(value)) for key, value in run.parameters.items()])
        return name
