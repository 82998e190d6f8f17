"""Tested patients who stay home, as a run knows of them: who keeps them, and what hospitals tell in their place."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from fedmammo.config.deployment import Deployment
from fedmammo.config.request import Request
from fedmammo.config.study import StudyConfig
from fedmammo.disk.files import write_text
from fedmammo.errors import InputError, StudyError
from fedmammo.evaluation.summaries import Summary, summary_of
from fedmammo.privacy.answer import Answer
from fedmammo.run.folder import HOW_TOLD
from fedmammo.run.predictions import recipes_of
from fedmammo.stages.score import KEPT

ROWS, SUMMARIES, NOT = "rows", "summaries", "not"
ASKED = "told/request.json"  # in the folder of a run; beside it what hospitals told, each in a file
TESTED = ["hospital", "scores", "minimum_count", "patients", "positives", "note"]
NOTHING = "the hospital tells nothing of its tested patients (scores: not)"


class AtHome:
    """How each hospital of a run tells of its tested patients.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._kinds = folder / HOW_TOLD
        self._asked = folder / ASKED

    @property
    def kinds(self) -> dict[str, str]:
        """Hospital → `rows`, `summaries` or `not`; empty where all give rows."""
        return dict(json.loads(self._kinds.read_text())) if self._kinds.exists() else {}

    def note(self, answers: Mapping[str, Answer], apart: bool = False) -> None:
        """Note by hospitals' answers to `score` how they tell.

        `apart`: whether models of single hospitals stay there, so that no model is scored everywhere, and hospitals
        are told of one by one even where all give rows. Raises StudyError where one tells otherwise than before.
        """
        kept = {name: answer.numbers.get(KEPT) for name, answer in answers.items()}
        kinds = {name: ROWS if one is None else SUMMARIES if one else NOT for name, one in kept.items()}
        before = self.kinds or (kinds if not self._kinds.exists() else {})
        for name, kind in kinds.items():
            if before.get(name) != kind:
                raise StudyError(
                    f"{name}: scores: {kind} now, {before.get(name)} before; a study needs one of them throughout"
                )
        if (apart or set(kinds.values()) != {ROWS}) and not self._kinds.exists():
            write_text(self._kinds, json.dumps(kinds) + "\n")

    def unasked(self) -> list[str]:
        """Return the hospitals that have still to be asked."""
        return [name for name, kind in self.kinds.items() if kind == SUMMARIES and not self._path(name).exists()]

    def keep(self, request: Request, answers: Mapping[str, str]) -> None:
        """Keep what hospitals told. Raises StudyError where it is no summary."""
        for name, text in answers.items():
            try:
                Summary.model_validate_json(text).check(len(request.deployments))
            except (ValidationError, ValueError) as error:
                raise StudyError(f"{name}: what it tells of its tested patients cannot be read") from error
        write_text(self._asked, request.model_dump_json() + "\n")
        for name, text in answers.items():
            write_text(self._path(name), text + "\n")

    def summaries(
        self, config: StudyConfig, deployments: Sequence[Deployment], predictions: pd.DataFrame
    ) -> dict[str, Summary]:
        """Return what is told of each hospital's tested patients, in the hospitals' order.

        Args:
            config: of the study.
            deployments: all of its, finished.
            predictions: rows of the hospitals that give them.
        """
        found, recipes = {}, recipes_of(deployments)
        evaluation = Request.of(list(deployments), config.evaluation).evaluation
        for name, kind in self.kinds.items():
            if kind == SUMMARIES:
                found[name] = Summary.model_validate_json(self._path(name).read_text())
            else:
                rows = predictions[predictions["hospital"] == name]
                found[name] = summary_of(rows, deployments, evaluation, recipes)
                if kind == NOT:
                    found[name] = found[name].model_copy(update={"note": NOTHING})
        return found

    def table(self, summaries: Mapping[str, Summary]) -> pd.DataFrame:
        """Return how each hospital tells, and of how many patients."""
        rows = []
        for name, summary in summaries.items():
            told = {"patients": summary.patients, "positives": summary.positives} if summary.patients else {}
            floor = summary.minimum_count if self.kinds[name] == SUMMARIES else pd.NA
            about = {"hospital": name, "scores": self.kinds[name], "minimum_count": floor, "note": summary.note}
            rows.append(about | told)
        table = pd.DataFrame(rows, columns=TESTED)
        return table.astype(dict.fromkeys(("minimum_count", "patients", "positives"), "Int64"))

    def _path(self, name: str) -> Path:
        return self._asked.parent / "hospitals" / f"{name}.json"


def refuse_growth(folder: Path, config: StudyConfig) -> None:
    """Raise InputError where a run's hospitals have told of their tested patients, and a study asks something else."""
    path = folder / ASKED
    if path.exists():
        before = Request.model_validate_json(path.read_text())
        if before != Request.of(list(config.deployments), config.evaluation):
            raise InputError(
                f"{folder}: hospitals told of their tested patients once, for what the study was: it does not grow, "
                "nor change what is compared; name another --out"
            )
