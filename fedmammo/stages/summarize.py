"""Summing up: what a hospital whose tested patients stay home tells of them, once, in the end."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from pydantic import ValidationError

from fedmammo.config.deployment import Deployment
from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.config.request import Request
from fedmammo.disk.files import alone, read_tensors, write_text
from fedmammo.privacy.answer import Answer, Mark
from fedmammo.privacy.guard import Guard
from fedmammo.privacy.plan import RefusalError
from fedmammo.stages.agree import check_deployment
from fedmammo.stages.score import kept_at
from fedmammo.stages.stage import Incoming, Work

if TYPE_CHECKING:  # scipy, which other messages do without
    from fedmammo.evaluation.summaries import Summary

SUMMARY = "summary"  # the tensor that holds it, as bytes of JSON
MOST_REPEATS = 20  # seeds times draws: each shows the same patients to other models


class Summarize:
    """Asked once, of all deployments of a study. What was answered is kept: the same request gets the same bytes.

    Another request about what people approved is refused, so that none tells more than the first.
    """

    name: ClassVar[str] = "summarize"
    fields: ClassVar[dict[str, Mark]] = {"tensors": "public"}  # of patients whom no budget covers

    def at_hospital(self, work: Work, incoming: Incoming, guard: Guard) -> Answer:
        """Answer `summary`: a `fedmammo.evaluation.summaries.Summary`, as bytes of JSON."""
        site = work.site
        if site.file.scores != "summaries":
            raise RefusalError(f"refused: scores: {site.file.scores}; nothing is summed up here", "scores")
        try:
            request = Request.model_validate_json(work.text)
            asked = request.evaluation
        except (ValidationError, ValueError, RecursionError) as error:
            raise RefusalError("refused: not a request of summaries understood here", "not_understood") from error
        deployments = _agreed(work, request)
        folder = site.folder / "summaries"
        with alone(folder):
            path = folder / f"{request.digest}.json"
            if not path.exists():
                _refuse_told(folder, deployments)
                told = _summary(work, deployments, asked).model_dump_json()
                studies = sorted({one.study for one in deployments})
                write_text(path, json.dumps({"request": request.model_dump(), "studies": studies, "answer": told}))
            answer = str(json.loads(path.read_text())["answer"])
        return Answer({SUMMARY: torch.from_numpy(np.frombuffer(answer.encode(), np.uint8).copy())})


def _agreed(work: Work, request: Request) -> list[Deployment]:
    """Return the deployments of a request. Raises RefusalError where one was not agreed to, or not to be told of so."""
    if work.job.deployment not in request.deployments or len(set(request.deployments)) < len(request.deployments):
        raise RefusalError("refused: the request does not name the job's deployment, or names one twice")
    deployments = [work.site.deployment(digest) for digest in request.deployments]
    for one in deployments:
        check_deployment(replace(work, deployment=one))
        if not set(request.subgroups) <= {*one.about}:
            raise RefusalError("refused: subgroups by columns that were not agreed to", "columns")
        if one.inner_fold is not None or one.dealing != deployments[0].dealing:
            raise RefusalError("refused: the deployments do not test the same patients")
    folds: dict[tuple[object, ...], set[int]] = {}
    for one in deployments:
        folds.setdefault((one.study, one.group, one.seed, one.draw), set()).add(one.fold)
    if any(named != {*range(max(1, deployments[0].dealing.folds))} for named in folds.values()):
        raise RefusalError("refused: not all folds of a deployment are named")
    if len({(one.seed, one.draw) for one in deployments}) > MOST_REPEATS:
        raise RefusalError(f"refused: more than {MOST_REPEATS} seeds and draws, each of which tells more of a patient")
    return deployments


def _refuse_told(folder: Path, deployments: list[Deployment]) -> None:
    """Raise RefusalError where something was told of these studies before, to another request."""
    told = {study for path in folder.glob("*.json") for study in json.loads(path.read_text())["studies"]}
    if not told.isdisjoint(one.study for one in deployments):
        raise RefusalError(
            "refused: of what was agreed to, the tested patients were told of before, in another request"
        )


def _summary(work: Work, deployments: list[Deployment], asked: EvaluationConfig) -> "Summary":
    """Sum up what was kept of deployments."""
    import pandas as pd

    from fedmammo.evaluation.summaries import summary_of
    from fedmammo.run.predictions import recipes_of, tabulate

    tables = []
    for one in deployments:
        path = kept_at(replace(work, deployment=one))
        if not path.exists():
            raise RefusalError(f"refused: {one.name} was not scored here")
        kept = Answer(read_tensors(path)[0])
        tables.append(tabulate(one, {work.site.name: kept}))
    predictions = pd.concat(tables, ignore_index=True)
    return summary_of(predictions, deployments, asked, recipes_of(deployments), work.site.file.minimum_count)
