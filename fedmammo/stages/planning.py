"""Plans a deployment's privacy: which mechanisms its stages ask for, and the noise that a budget wants of them."""

from collections.abc import Mapping
from typing import NamedTuple

from fedmammo.config.deployment import Deployment
from fedmammo.config.privacy import Privacy
from fedmammo.privacy.accounting import calibrate
from fedmammo.privacy.mechanism import Mechanism, Stage
from fedmammo.privacy.plan import Plan, cannot_share


class Asked(NamedTuple):
    """What a stage asks for, before its noise is known.

    Attributes:
        stage: its name.
        clipping_norm, rate, rounds, local_steps: as in `Mechanism`.
        share: of the budget.
    """

    stage: Stage
    clipping_norm: float
    rate: float
    rounds: int
    local_steps: int
    share: float


def asked_of(deployment: Deployment) -> list[Asked]:
    """List what a deployment's stages ask for, in the order in which they run; nothing without a budget."""
    privacy = deployment.privacy
    if privacy is None or not deployment.arm.trained:
        return []
    share, asked = deployment.generator_share, []
    if share:
        source, norm = deployment.gan, privacy.generator_clipping_norm
        if source.method == "mean_embedding":
            asked.append(Asked("embedding", norm, 1.0, 1, 1, share))
        else:
            steps = (source.rounds, source.local_steps)
            asked.append(Asked("generator", norm, privacy.generator_fraction, *steps, share))
    if deployment.setting.kind != "synthetic":
        federation, rate = deployment.federation, deployment.diagnosis.patient_fraction
        steps = (federation.rounds, federation.local_steps)
        asked.append(Asked("train", privacy.clipping_norm, rate, *steps, 1 - share))
    return asked


def plan_of(deployment: Deployment, patients: Mapping[str, int]) -> Plan | None:
    """Plan a deployment; none where it has no budget. Server and hospitals work out the same.

    `patients`: declared training patients of each holder, by name.
    """
    privacy, budget = deployment.privacy, deployment.setting.epsilon
    asked = asked_of(deployment)
    if privacy is None or budget is None or not asked:
        return None
    trust = deployment.trust
    dropouts, colluding = (privacy.dropouts, privacy.colluding) if trust == "secure" else (0, 0)
    steps = [(one.rounds + dropouts) * one.local_steps for one in asked]  # a round without a hospital is asked again
    noise = calibrate([(one.rate, of, one.share) for one, of in zip(asked, steps, strict=True)], budget, privacy.delta)
    mechanisms = tuple(
        Mechanism(one.stage, one.clipping_norm, sigma, one.rate, one.rounds, one.local_steps, spare=dropouts)
        for one, sigma in zip(asked, noise, strict=True)
    )
    return Plan(deployment.study, trust, budget, privacy.delta, mechanisms, dict(patients), dropouts, colluding)


def cannot_take_off(deployment: Deployment, members: int, fewest: int) -> str:
    """Say why masks could not be taken off of a deployment's sums; nothing where they can.

    `members`: how many hospitals learn together; `fewest`: of them in a round, as the study schedules it.
    """
    privacy = deployment.privacy or Privacy()
    why = cannot_share(members, privacy.dropouts, privacy.colluding)
    together = members - privacy.dropouts
    if not why and fewest < together:
        why = f"{fewest} of {members} hospitals are there in some round of hospitals.schedule, {together} are needed"
    return why
