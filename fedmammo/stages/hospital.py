"""A hospital at work: does a job on its own site, through the guard of its patients."""

import torch

from fedmammo.hospitals.canary import canary_of
from fedmammo.hospitals.site import Site
from fedmammo.privacy.answer import Answer
from fedmammo.privacy.guard import Guard, Open
from fedmammo.privacy.reasons import RefusalError
from fedmammo.stages.agree import Agree, Declare, check_deployment, guard_of, read_deployment
from fedmammo.stages.alone import Alone
from fedmammo.stages.count import Count
from fedmammo.stages.embedding import Embedding
from fedmammo.stages.faults import with_faults
from fedmammo.stages.features import Features
from fedmammo.stages.finish import Finish
from fedmammo.stages.generator import Generator
from fedmammo.stages.personalize import Personalize
from fedmammo.stages.score import Score
from fedmammo.stages.share import Share
from fedmammo.stages.stage import Incoming, Job, Rounds, Stage, Work
from fedmammo.stages.summarize import Summarize
from fedmammo.stages.train import Train

STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Declare(),
        Agree(),
        Features(),
        Share(),
        Count(),
        Generator(),
        Embedding(),
        Train(),
        Alone(),
        Personalize(),
        Score(),
        Finish(),
        Summarize(),
    )
}
ROUNDS: dict[str, Rounds] = {stage.name: stage for stage in (Generator(), Embedding(), Train(), Personalize())}
LEARNING = ("count", "alone", *ROUNDS)  # from which something of training patients leaves
OF_GENERATOR = ("count", "generator", "embedding")  # whose budget is the generator's, which other deployments may share


def work(site: Site, job: Job, incoming: Incoming, text: str = "") -> Answer:
    """Do a job: a function of the hospital's site, what a message brings, and the hospital's own state.

    Args:
        site: the hospital's.
        job: what is asked.
        incoming: tensors, by record.
        text: of the agreement, which travels once.

    Raises RefusalError for whatever was not agreed to or is not for others to see, StudyError where the work cannot be
    done; the hospital's state stays as it was.
    """
    stage = STAGES.get(job.stage)
    if stage is None:
        raise RefusalError("refused: nobody knows this stage here", "not_understood")
    site.check_runs()
    if job.canary:
        site = canary_of(site)
    torch.set_num_threads(site.file.threads)
    declared = job.stage == Declare.name
    deployment = (
        read_deployment(text, job.deployment, site.file.algorithms) if declared else site.deployment(job.deployment)
    )
    asked = Work(site, deployment, job, text)
    check_deployment(asked)
    if deployment.privacy is None and job.stage in ROUNDS:  # else the plan says it
        agreed = ROUNDS[job.stage].rounds(deployment)
        if not 1 <= job.round <= agreed:
            raise RefusalError(f"refused: round {job.round} was asked for, {agreed} were agreed to")

    def answer() -> Answer:
        guard = _guard(asked)
        found = stage.at_hospital(asked, incoming, guard)
        guard.check(stage.name, stage.fields, found)
        return found

    return with_faults(asked, incoming, answer)


def _guard(asked: Work) -> Guard:
    """Return the guard of a job: the deployment says whether there is a budget, and the hospital has its own copy."""
    deployment, stage = asked.deployment, asked.job.stage
    if deployment.privacy is None:
        if stage in LEARNING:
            asked.site.odometer.expose(asked.holder.trained)
        return Open()
    if stage in OF_GENERATOR and not deployment.generator_share:
        raise RefusalError(f"refused: the budget has no part for stage {stage}")
    return guard_of(asked, generator=stage in OF_GENERATOR)
