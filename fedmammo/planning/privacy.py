"""privacy.csv of a study that has not run: the noise of each budget, beside what each hospital's patients can say."""

from collections.abc import Mapping

from fedmammo.config.deployment import Deployment
from fedmammo.privacy.accounting import attack_power, epsilon, in_words, spent_of
from fedmammo.privacy.limits import Limits
from fedmammo.privacy.plan import Plan
from fedmammo.privacy.reasons import RefusalError
from fedmammo.stages.planning import plan_of

SAYS = (
    "signal to noise: the norm of a step's clipped sum, were all patients to pull in one direction, over the standard "
    "deviation of the noise in that direction; it cannot be more. Over all steps it is the root of their number times "
    "as much, and over all directions of what is trained the noise is longer by the root of their number."
)


def privacy_rows(
    deployment: Deployment, patients: Mapping[str, int], limits: Mapping[str, Limits]
) -> list[dict[str, object]]:
    """Return a row for each holder and stage of a deployment with a budget; none without.

    Args:
        deployment: the first of its arm and setting.
        patients: that each member trains on, by name.
        limits: what each member allows.
    """
    plan = plan_of(deployment, patients)
    if plan is None:
        return []
    spent = spent_of((one, one.steps) for one in plan.mechanisms)
    cost = epsilon(spent, plan.delta)
    rows: list[dict[str, object]] = []
    for name, count in patients.items():
        together = deployment.trust != "local" and deployment.arm.federated
        pulled = sum(patients.values()) if together else count
        noises = len(patients) / plan.shares if plan.secure else 1.0
        for one in plan.mechanisms:
            signal = one.rate * pulled / (one.noise_multiplier * noises**0.5)
            rows.append({
                "arm": deployment.arm_name,
                "setting": deployment.setting_name,
                "hospital": name,
                "stage": one.stage,
                "patients": count,
                "noise_multiplier": one.noise_multiplier,
                "clipping_norm": one.clipping_norm,
                "steps": one.steps,
                "signal_to_noise": signal,
                "signal_to_noise_of_all_steps": signal * one.steps**0.5,
                "epsilon": cost,
                "delta": plan.delta,
                "best_attack": attack_power(cost, plan.delta),
                "protection": in_words(cost, plan.delta),
                "refuses": refusal(plan, limits[name], name, count),
            })  # fmt: skip
    return rows


def refusal(plan: Plan, limits: Limits, name: str, patients: int) -> str:
    """Say why a hospital would refuse a plan; nothing where it would not."""
    try:
        plan.check(limits, name, patients)
    except RefusalError as error:
        return str(error).removeprefix("refused: ")
    return ""


def refused_without_budget(settings: Mapping[str, float | None], limits: Mapping[str, Limits]) -> list[str]:
    """Say which hospitals take part in no setting without a budget, of which the study has some.

    `settings`: the budget of each setting, by name.
    """
    bare = [name for name, budget in settings.items() if budget is None]
    refusing = [name for name, own in limits.items() if own.without_budget == "refused"]
    if not (bare and refusing):
        return []
    return [f"{', '.join(refusing)}: would refuse {', '.join(bare)}, which {_has(bare)} no budget (without_budget)"]


def _has(names: list[str]) -> str:
    return "has" if len(names) == 1 else "have"
