"""What every step of a study has: a job that asks for it, and two halves."""

import hmac
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from fedmammo.config.deployment import Deployment
from fedmammo.features.inputs import Inputs
from fedmammo.hospitals.holder import Holder
from fedmammo.hospitals.site import Site
from fedmammo.hospitals.site_file import NAME
from fedmammo.privacy.answer import Answer, Mark
from fedmammo.privacy.central import noised_mean
from fedmammo.privacy.guard import Guard, digest_of_tensors
from fedmammo.privacy.masks import unmasked_mean
from fedmammo.privacy.plan import Plan
from fedmammo.privacy.reasons import RefusalError
from fedmammo.privacy.secret import Secret
from fedmammo.stages.opened import inputs_of, inputs_with_pool
from fedmammo.strategies.base import BaseStrategy

DIGEST = re.compile("[0-9a-f]{64}")
Tensors = dict[str, Tensor]
Incoming = dict[str, Tensors]
"""Tensors of a message, by record: `arrays` is the model."""


@dataclass(frozen=True)
class Job:
    """What a message asks of a hospital: names and numbers, no path, no configuration, no secret.

    Attributes:
        stage: which step.
        deployment: digest of the deployment.
        round: 1 for the first round; 0 where there are none.
        part: which part of the work is this hospital's, from 0.
        parts: in how many parts hospitals do it between them; 1 where each does all.
        pool: digest of the synthetic images that the job is about.
        plan: digest of the plan that was agreed to, where the deployment has a budget.
        canary: whether it is done with drawn patients, in place of the hospital's own.
        attempt: of the round, from 1, where hospitals' sums are added up under masks; else 0.
        members: names of the hospitals whose sums are added up under masks.
        keep: whether the server will keep a checkpoint of this round, so that the hospital's state must last as long.
    """

    stage: str
    deployment: str
    round: int = 0
    part: int = 0
    parts: int = 1
    pool: str | None = None
    plan: str | None = None
    keep: bool = False
    canary: bool = False
    attempt: int = 0
    members: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Write as text."""
        return json.dumps({name: value for name, value in asdict(self).items() if value})

    @classmethod
    def from_json(cls, text: str) -> "Job":
        """Read what `to_json` wrote. Raises RefusalError for anything else."""
        try:
            content = json.loads(text)
            members = content.pop("members", [])
            if type(members) is not list:
                raise TypeError("members are a list of names")
            job = cls(**content, members=tuple(members))
            texts = (job.stage, job.deployment, job.pool or "", job.plan or "", *job.members)
            if (
                not all(type(value) is str for value in texts)
                or not type(job.round) is type(job.part) is type(job.parts) is type(job.attempt) is int
                or not type(job.keep) is type(job.canary) is bool
                or not (job.round >= 0 <= job.part < job.parts and job.attempt >= 0)
            ):
                raise TypeError("a value of another kind")
            if not all(value is None or DIGEST.fullmatch(value) for value in (job.deployment, job.pool, job.plan)):
                raise ValueError("what is named by a digest has another name")
            if not all(re.fullmatch(NAME, name) for name in job.members):
                raise ValueError("a member has a name that no hospital has")
            return job
        except (TypeError, ValueError, AttributeError, RecursionError) as error:
            raise RefusalError(f"refused: not a job that is understood here: {error}", "not_understood") from error


@dataclass(frozen=True)
class Work:
    """A job at a hospital: the hospital's own site, its own copy of the deployment."""

    site: Site
    deployment: Deployment
    job: Job
    text: str = ""  # of the one agreement

    @cached_property
    def holder(self) -> Holder:
        """Who trains, sets thresholds and is tested here."""
        return self.site.holder(self.deployment)

    @cached_property
    def inputs(self) -> Inputs:
        """What the hospital's network reads of its images, with those of the job's pool behind them."""
        return inputs_with_pool(self.site, self.deployment, self.job.pool) if self.job.pool else self.inputs_alone

    @cached_property
    def inputs_alone(self) -> Inputs:
        """What the hospital's network reads of its images."""
        return inputs_of(self.site, self.deployment)

    @property
    def of_pool(self) -> np.ndarray:
        """Rows of the pool's images."""
        inputs = self.inputs
        return np.arange(inputs.images_of_patients, len(inputs.malignant))

    @property
    def folder(self) -> Path:
        """Folder of what the hospital keeps of the deployment between rounds."""
        return self.site.folder / self.site.name_of(self.deployment)

    @cached_property
    def learned_from(self) -> str:
        """Name what the training patients' records are: images as they are shown, labels; other patients have no part.

        HMAC-SHA256 under the cohort's key. Who prepares the same patients anew is asked anew, and spends anew.
        """
        cohort, records = self.site.cohort, self.site.records(self.deployment.draw)
        named = hmac.new(cohort.key, digestmod="sha256")
        for rows in self.holder.training:
            for row in rows:
                digitiser = records.digitisers[row]
                named.update(cohort.digests_of_patches[row])
                named.update(f"{records.malignant[row]} {digitiser.digest if digitiser else ''} ".encode())
            named.update(b"next")
        return named.hexdigest()

    @property
    def keeps_models(self) -> bool:
        """Whether a model that learned from this hospital alone does not leave it; under a budget it may."""
        return self.site.file.local_models == "home" and self.deployment.privacy is None

    @property
    def declared(self) -> dict[str, float]:
        """The hospital's declared number of training patients, its weight in averages."""
        return {"num-examples": float(len(self.holder.training))}


class Stage(Protocol):
    """A step of a study, at a hospital. Neither half knows Flower."""

    name: ClassVar[str]
    fields: ClassVar[dict[str, Mark]]
    """What leaves a hospital, and under which mark; a field without a mark does not leave under a budget."""

    def at_hospital(self, work: Work, incoming: Incoming, guard: Guard) -> Answer:
        """Do a hospital's part. Raises RefusalError where it was not agreed to, StudyError where it cannot be done."""
        ...


class Turn(NamedTuple):
    """What the server has in hand when a group's answers to a round are there.

    Attributes:
        deployment: the deployment.
        plan: what was agreed to, where there is a budget.
        group: name of the group.
        number: of the round, from 1.
        model: the model that was sent.
        kept: what else the server keeps of the group, by name.
        answers: by hospital.
        mean: combines the answers' tensors as the strategy does.
        patients: declared training patients of all members, also of those that did not answer.
        secret: the server's own.
        device: where the server computes.
    """

    deployment: Deployment
    plan: Plan | None
    group: str
    number: int
    model: Tensors
    kept: Tensors
    answers: dict[str, Answer]
    mean: Callable[[], Tensors]
    patients: int
    secret: Secret
    device: torch.device

    @property
    def agreed(self) -> Plan:
        """The plan, where there is one. Raises ValueError where there is none."""
        if self.plan is None:
            raise ValueError("the deployment has no budget")
        return self.plan

    @property
    def sums(self) -> bool:
        """Whether hospitals answer sums, to be noised here or hidden by masks, and not models of their own."""
        return self.plan is not None and self.plan.trust != "local"

    def mean_of_sums(self, stage: str, divisor: float) -> Tensors:
        """Return the mean over patients of what hospitals answered: it is noised here where the server is trusted.

        `divisor`: the expected number of patients, and of images of nobody. Raises StudyError as `unmasked_mean` does.
        """
        plan, sums = self.agreed, [answer.tensors for answer in self.answers.values()]
        mechanism = plan.mechanism(stage)
        if plan.secure:
            return unmasked_mean(sums, mechanism, sum(plan.patients[name] for name in self.answers), divisor)
        return noised_mean(sums, mechanism, divisor, self.request, self.secret)

    @property
    def request(self) -> dict[str, Any]:
        """Name, for a stream of noise, what was answered to what."""
        who = {"deployment": self.deployment.digest, "group": self.group, "round": self.number}
        return who | {"answered": list(self.answers), "model": digest_of_tensors(self.model)}


class Rounds(Protocol):
    """The server's half of a step that is taken in rounds: what goes out, what is made of the answers."""

    name: ClassVar[str]

    def rounds(self, deployment: Deployment) -> int:
        """How many there are."""
        ...

    def averaged(self, deployment: Deployment) -> int:
        """Over how many last rounds the final model is averaged."""
        ...

    def strategy(self, deployment: Deployment) -> BaseStrategy:
        """How a federation's answers are combined."""
        ...

    def beside(self, deployment: Deployment, kept: Tensors, began: bool) -> Incoming:
        """Return what goes out beside the model. `began`: whether every member has answered a round before."""
        ...

    def at_server(self, turn: Turn) -> tuple[Tensors, Tensors]:
        """Return a group's new model, and what else the server keeps of the group."""
        ...
