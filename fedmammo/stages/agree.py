"""Agreement: a deployment travels once, hospitals declare their sizes, and each works out the plan by itself."""

import json
from typing import ClassVar

from pydantic import ValidationError

from fedmammo.config.deployment import Deployment
from fedmammo.hospitals.site import Site
from fedmammo.privacy.answer import Answer, Mark
from fedmammo.privacy.guard import Budget, Guard
from fedmammo.privacy.masks import Party
from fedmammo.privacy.plan import Plan
from fedmammo.privacy.reasons import ReasonName, RefusalError
from fedmammo.stages.planning import plan_of
from fedmammo.stages.stage import Incoming, Work
from fedmammo.synthesis.names import gan_name

STAYS = "stays"


class Declare:
    """A hospital reads what a deployment does, and declares its number of patients."""

    name: ClassVar[str] = "declare"
    fields: ClassVar[dict[str, Mark]] = {"num-examples": "public", STAYS: "public"}

    def at_hospital(self, work: Work, incoming: Incoming, guard: Guard) -> Answer:
        """Keep the deployment under its digest. Answers `stays`: 1, where tested patients' scores will stay home."""
        work.site.keep(work.deployment)
        stays = {STAYS: 1.0} if work.site.file.scores != "rows" else {}
        return Answer(numbers=work.declared | stays)


def read_deployment(text: str, digest: str, algorithms: list[str]) -> Deployment:
    """Read a deployment that a message brings.

    `algorithms`: import paths that the hospital allows; nothing else is imported. Raises RefusalError for a deployment
    that is not understood here, that has another digest, or that names an algorithm that is not allowed.
    """
    try:
        name = json.loads(text)["federation"]["strategy"]["name"]
        if ":" in name and name not in algorithms:
            raise RefusalError(f"refused: algorithm {name} is not in algorithms of the site file", "algorithms")
        deployment = Deployment.model_validate_json(text)
    except (ValidationError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RefusalError("refused: not a deployment that is understood here", "not_understood") from error
    if deployment.digest != digest:
        raise RefusalError("refused: the deployment is not the one that its digest names")
    return deployment


def check_deployment(work: Work) -> None:
    """Raise RefusalError where a hospital's own file, or what it agreed to before, forbids a deployment.

    Asked before every job: what was allowed when the deployment was declared may not be allowed any more.
    """
    for wrong, why, reason in _faults(work):
        if wrong:
            raise RefusalError(f"refused: {why}", reason)


def _faults(work: Work) -> list[tuple[bool, str, ReasonName]]:
    """List what a hospital's own file forbids of a deployment."""
    site, deployment, limits = work.site, work.deployment, work.site.limits
    budget, central = deployment.setting.epsilon, deployment.trust == "central"
    approval, protected = site.approval_of(deployment), site.odometer.protected
    return [
        (
            approval == "missing",
            f"study {deployment.study} is not approved; fedmammo site approve does so",
            "approval",
        ),
        (
            approval == "of another cohort",
            f"study {deployment.study} was approved with another cohort; look at it, and approve anew",
            "cohort",
        ),
        (
            not site.simulated and deployment.draw not in site.draws,
            f"draw {deployment.draw}: nobody deals a real hospital's patients; in another draw others would set "
            "thresholds, who train in this one",
            "not_agreed",
        ),
        *_needs_rows(site, deployment),
        (
            work.keeps_models and deployment.members == (site.name,),
            "local_models: home; a model of this hospital alone stays here",
            "local_models",
        ),
        (
            budget is None and limits.without_budget == "refused",
            "without_budget: refused; the hospital takes part in nothing but settings with a budget",
            "without_budget",
        ),
        (
            budget is not None and not 0 < budget <= limits.maximum_epsilon,
            f"epsilon {budget} is not between 0 and the maximum_epsilon of {limits.maximum_epsilon:g}",
            "maximum_epsilon",
        ),
        (
            central and limits.central_trust == "refused",
            "central_trust: refused; the server is not trusted to add noise",
            "central_trust",
        ),
        (
            deployment.trust == "secure" and not site.file.peers,
            "peers: no other hospital's key is there; have them from its people, who see them by fedmammo site key",
            "keys",
        ),
        (
            not site.simulated and budget is not None and deployment.dealing.folds > 0,
            "folds test every patient whom the budget protects",
            "folds",
        ),
        (
            budget is None and not protected.isdisjoint((*work.holder.trained, *work.holder.shown)),
            "patients are protected by a budget that was agreed to before; nothing of them leaves without one",
            "protected",
        ),
        (
            not protected.isdisjoint(work.holder.shown),
            "patients who are protected by a budget would be tested or would set thresholds",
            "protected",
        ),
    ]


def _needs_rows(site: Site, deployment: Deployment) -> list[tuple[bool, str, ReasonName]]:
    """List what cannot be done where a hospital's tested patients stay home."""
    stays = site.file.scores != "rows"
    kind, needs = f"scores: {site.file.scores}", "rows of tested patients"
    return [
        (stays and deployment.scored_every > 0, f"{kind}; curves need {needs}: take evaluation.every: 0", "scores"),
        (
            stays and deployment.arm.kind == "coalitions",
            f"{kind}; the arm coalitions needs {needs}: leave it out",
            "scores",
        ),
        (stays and not deployment.arm.trained, f"{kind}; the arm ensemble needs {needs}: leave it out", "scores"),
    ]


class Agree:
    """A hospital works out the plan from the deployment and everybody's declared number of patients, and agrees."""

    name: ClassVar[str] = "agree"
    fields: ClassVar[dict[str, Mark]] = {}

    def at_hospital(self, work: Work, incoming: Incoming, guard: Guard) -> Answer:
        """Write down the plan. Raises RefusalError where it is not the one that is asked for, or passes a limit."""
        site, deployment = work.site, work.deployment
        try:
            patients = {str(name): int(count) for name, count in json.loads(work.text).items()}
        except (ValueError, AttributeError, TypeError, RecursionError) as error:
            raise RefusalError("refused: the declared numbers of patients cannot be read") from error
        plan = plan_of(deployment, patients)
        if plan is None or plan.digest != work.job.plan:
            raise RefusalError("refused: the plan that is asked for is not the one that the hospital works out")
        plan.check(site.limits, site.name, len(work.holder.training))
        if plan.secure:
            _check_party(work, plan)
        guards = [
            guard_of(work, generator) for generator in ((False, True) if deployment.generator_share else (False,))
        ]
        if not all(guard.ledger.knows(plan) for guard in guards):  # else a part of it was spent already
            site.odometer.check([(one, one.steps) for one in plan.mechanisms])
        site.odometer.protect(work.holder.trained)
        for guard in guards:
            guard.agree(plan, site.limits, site.name)
        return Answer()


def _check_party(work: Work, plan: Plan) -> None:
    """Raise RefusalError where the plan's hospitals are not those with whom this one learns, and whose keys it has."""
    site, groups = work.site, work.deployment.groups(list(plan.patients))
    if not any(site.name in group.members and set(group.members) == set(plan.patients) for group in groups):
        raise RefusalError("refused: the plan's hospitals are not those that learn together", "keys")
    unknown = sorted(plan.patients.keys() - {site.name, *site.file.peers})
    if unknown:
        raise RefusalError(f"refused: the site file has no key of {', '.join(unknown)} under peers", "keys")


def guard_of(work: Work, generator: bool) -> Budget:
    """Return the guard of a deployment with a budget, or of the generator that it shares with others."""
    site, deployment = work.site, work.deployment
    shared = [site.name_of(deployment, gan_name(deployment, site.name))] if deployment.generator_share else []
    name, before = (shared[0], []) if generator else (site.name_of(deployment), shared)
    ledger = site.odometer.ledger(name, before)
    party = Party(site.name, site.file.peers, work.job.attempt, work.job.members)
    return Budget(ledger, site.odometer, site.secret, work.holder.trained, work.job.plan, party)
