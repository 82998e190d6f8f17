"""What a privacy officer reads: the plan of a study before it runs, and the page of a run."""

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from fedmammo.cohort.store import Cohort
from fedmammo.config.arm import ALL
from fedmammo.config.deployment import Deployment
from fedmammo.config.study import StudyConfig
from fedmammo.disk.files import write_text
from fedmammo.errors import InputError
from fedmammo.hospitals.dealing import deal
from fedmammo.privacy.accounting import Spent, attack_power, epsilon, image_level, in_words, replace_one, spent_of
from fedmammo.privacy.ledger import spent_in
from fedmammo.privacy.limits import strictest
from fedmammo.privacy.mechanism import Mechanism
from fedmammo.privacy.plan import ADVERSARIES, DELTAS, RELATION, UNIT, Plan, RefusalError
from fedmammo.report.part import Part
from fedmammo.run.folder import HOSPITALS, RunFolder, read_config
from fedmammo.run.guarantees import NONE, Guarantee, guarantees, ledgers_of
from fedmammo.stages.hospital import STAGES
from fedmammo.stages.planning import plan_of

AUDIT_TABLE = "privacy-audit.csv"  # in a run's folder
SEEDED = "hospitals' secrets came from privacy.secret_seed: NOTHING here is private"
UNFINISHED = "hospitals' secrets still lie in this folder, and the study is not finished: keep the folder to yourself"
IMAGES = (1, 2, 6, 14)  # of a patient, for whom an image-level promise is worked out
ASSUMPTIONS = (
    "Noise and sampled patients come from 32 bytes of the operating system, kept in the hospital's folder in the run, "
    "and deleted when the run is finished, not before.",
    "A run knows of no other: the same study with another folder spends its budget again.",
    "Noise is drawn in integers, without floating point; what a patient adds depends on nobody computed beside it.",
    "Backbone weights, drawn patches and the choice of hyperparameters are taken to be public. Hyperparameters that "
    "were tuned on these patients are a release that is not counted.",
    "How long a hospital takes, that it fails, and with which message, is not counted.",
    "Patients are taken to be in one hospital each; patients in several would add up what these spend.",
    "This is a simulation on one machine: it proves nothing of TLS, authentication or secure aggregation.",
)


def plans_of(config: StudyConfig) -> list[tuple[Deployment, Plan]]:
    """Plan the first deployment of each arm and private setting; others differ in the hospitals' sizes at most.

    Raises InputError where no setting has a budget, the cohort is not there, or a hospital's limits forbid a plan.
    """
    config.check_budget()
    cohort = Cohort.open(Path(config.cohort.path))
    dealt = deal(cohort, config)
    limits = {profile.name: profile.privacy for profile in dealt.profiles}
    limits[ALL] = strictest(list(limits.values()))
    found = []
    for deployment in _private_deployments(config):
        held = dealt.held(cohort, deployment)
        members = [name for group in deployment.arm.groups(dealt.names) for name in group.members]
        plan = plan_of(deployment, {name: len(held[name].training) for name in members})
        if plan is None:
            continue
        for name in members:
            try:
                plan.check(limits[name], name, len(held[name].training))
            except RefusalError as error:
                raise InputError(f"{name}: {error}") from error
        found.append((deployment, plan))
    return found


def plan_page(config: StudyConfig) -> list[Part]:
    """Say what a study's private settings will do, and what it costs; nothing is run."""
    parts = []
    for deployment, plan in plans_of(config):
        spent = [(one, spent_of([(one, one.steps)])) for one in plan.mechanisms]
        whole = spent_of((one, one.steps) for one in plan.mechanisms)
        lines = [
            f"budget: epsilon {plan.budget:g} at delta {plan.delta:g} for each hospital; plan {plan.digest[:16]}",
            f"study {deployment.study}, which a real hospital's people agree to with fedmammo site approve",
            f"trust {plan.trust}: protects against {ADVERSARIES[plan.trust]}",
            "training patients: " + ", ".join(f"{name} {count}" for name, count in plan.patients.items()),
            f"{in_words(epsilon(whole, plan.delta), plan.delta)}: {_attack(whole, plan.delta)}",
            f"told from another patient, in place of from nothing: epsilon {replace_one(whole, plan.delta):.3g}",
            "were images clipped instead of patients, the same noise would mean for a patient with "
            + ", ".join(f"{count}: {image_level(whole, count, plan.delta):.3g}" for count in IMAGES)
            + " images",
        ]
        table = pd.DataFrame([*(_row(one.stage, one, cost) for one, cost in spent), _row("together", None, whole)])
        parts.append(Part(f"{deployment.arm_name}, {deployment.setting_name}", lines, table))
    about = [f"unit: {UNIT}", f"relation: {RELATION}"]
    return [Part("privacy plan", about), *parts]


def write_plans(path: Path, config: StudyConfig) -> None:
    """Write the plans of `plan_page` as JSON: by arm and setting, as hospitals will be asked to agree to them."""
    plans = [
        {
            "arm": deployment.arm_name,
            "setting": deployment.setting_name,
            "digest": plan.digest,
            **json.loads(plan.to_json()),
        }
        for deployment, plan in plans_of(config)
    ]
    write_text(path, json.dumps(plans, indent=2) + "\n")


def show_page(run: Path) -> list[Part]:
    """Say what a run spent, for whom, against whom, and on what assumptions; all figures from its ledgers.

    Raises InputError where there is no run, or none of its settings has a budget.
    """
    config, _ = read_config(run)
    if not _private_deployments(config):
        raise InputError(f"{run}: none of its settings has a budget of privacy: it promises patients nothing")
    folder = RunFolder(run)
    done = [deployment for deployment in config.deployments if folder.finished(deployment)]
    held = guarantees(run, config, done)
    costs = sorted({(one.epsilon, one.delta) for one in held.values() if one.epsilon > 0})
    left = [*run.glob("hospitals/*/secret"), *run.glob("server/secret")]
    parts = [
        Part(
            f"privacy of {run}",
            [
                *([SEEDED] if config.privacy.secret_seed is not None else []),
                *([UNFINISHED] if left else []),
                "simulated: each arm, setting and seed is a deployment that might have been, with a budget of its own",
                f"unit: {UNIT}",
                f"relation: {RELATION}",
                "protected: training patients of every hospital, in the settings with a budget",
                "not protected: patients who are tested on or set thresholds; metrics are declared releases, and "
                "predictions.csv is the simulation's own",
                *sorted({f"trust {trust}: against {ADVERSARIES[trust]}" for trust in _trusts(config)}),
            ],
        ),
        Part(
            "what each deployment guarantees (most over hospitals, seeds, draws and folds)",
            [f"epsilon {cost:.3g} at delta {delta:g}: {in_words(cost, delta)}" for cost, delta in costs],
            pd.DataFrame([_guarantee(place, one) for place, one in held.items()]),
        ),
        Part(
            "releases of the first seed, draw and fold of each arm and setting, and what they cost each hospital",
            table=pd.DataFrame(_releases(run, config)),
        ),
        Part("were every deployment published", _composed(run, config, held)),
    ]
    if (run / AUDIT_TABLE).exists():
        parts.append(Part("audit: lower bounds, not a proof", table=pd.read_csv(run / AUDIT_TABLE)))
    else:
        parts.append(Part("audit", [f"none: fedmammo privacy audit {run}"]))
    parts.append(Part("what leaves a hospital", table=pd.DataFrame(_fields())))
    return [*parts, Part("assumptions", list(ASSUMPTIONS))]


def _guarantee(place: tuple[str, str], one: Guarantee) -> dict[str, object]:
    arm, setting = place
    private = not pd.isna(one.epsilon)
    return {
        "arm": arm,
        "setting": setting,
        "epsilon": one.epsilon,
        "delta": f"{one.delta:g}" if private else "",
        "end to end": one.end_to_end,
        "best attack": f"{attack_power(one.epsilon, one.delta):.0%}" if private and one.epsilon else "",
    }


def _first_deployments(config: StudyConfig) -> list[Deployment]:
    found: dict[tuple[str, str], Deployment] = {}
    for deployment in config.deployments:
        found.setdefault((deployment.arm_name, deployment.setting_name), deployment)
    return list(found.values())


def _private_deployments(config: StudyConfig) -> list[Deployment]:
    return [deployment for deployment in _first_deployments(config) if deployment.privacy is not None]


def _trusts(config: StudyConfig) -> set[str]:
    return {deployment.privacy.trust for deployment in _private_deployments(config) if deployment.privacy}


def _fields() -> list[dict[str, str]]:
    """List every field that leaves a hospital, and under which mark."""
    return [
        {"stage": stage.name, "name": name, "mark": mark}
        for stage in STAGES.values()
        for name, mark in stage.fields.items()
    ]


def _attack(spent: Spent, delta: float) -> str:
    power = attack_power(epsilon(spent, delta), delta)
    return f"the best attack that is wrong on 1 % of other patients finds at most {power:.0%} of those who took part"


def _row(stage: str, one: Mechanism | None, spent: Spent) -> dict[str, object]:
    about = (
        {
            "clip": one.clipping_norm,
            "noise": one.noise_multiplier,
            "rate": one.rate,
            "rounds": one.rounds,
            "steps": one.steps,
        }
        if one
        else {}
    )
    return {"stage": stage, **about, **{f"at {delta:g}": epsilon(spent, delta) for delta in DELTAS}}


def _releases(run: Path, config: StudyConfig) -> Iterator[dict[str, object]]:
    """Yield what the first deployment of each arm and setting released, stage by stage; alike hospitals together."""
    for deployment in _private_deployments(config):
        by_release: dict[tuple[Mechanism, tuple[int, ...]], list[str]] = {}
        for folder in sorted((run / HOSPITALS).glob("*/")):
            taken = spent_in(ledgers_of(folder, deployment))
            for mechanism in dict.fromkeys(one for one, _ in taken):
                steps = tuple(count for one, count in taken if one == mechanism)
                by_release.setdefault((mechanism, steps), []).append(folder.name)
        for (mechanism, steps), hospitals in by_release.items():
            spent = spent_of([(mechanism, sum(steps))])
            yield {
                "deployment": f"{deployment.arm_name} {deployment.setting_name}",
                "who": hospitals[0] if len(hospitals) == 1 else f"{len(hospitals)} hospitals",
                "stage": mechanism.stage,
                "releases": len(steps),
                **{f"at {delta:g}": epsilon(spent, delta) for delta in DELTAS},
            }


def _composed(run: Path, config: StudyConfig, held: dict[tuple[str, str], Guarantee]) -> list[str]:
    """Compose all that the ledgers of one patient's hospitals hold, with those of the holder of all patients.

    In each draw the patient is taken to be in the hospital that spent most.
    """
    delta = config.privacy.delta
    whole: list[tuple[float, float, int]] = []
    folders = sorted((run / HOSPITALS).glob("*/"))
    for draw in config.hospitals.seed:
        deployments = [one for one in config.deployments if one.draw == draw and one.privacy is not None]
        of_all: list[Spent] = []
        others: list[Spent] = [()]
        for folder in folders:
            ledgers = dict.fromkeys(path for one in deployments for path in ledgers_of(folder, one))
            spent = spent_of(spent_in([path for path in ledgers if path.exists()]))
            (of_all if folder.name == ALL else others).append(spent)
        most = max(others, key=lambda spent: epsilon(spent, delta) if spent else 0.0)
        whole += [part for spent in (*of_all, most) for part in spent]
    if not whole:
        return ["nothing was released under a budget"]
    unbounded = sorted({setting for (_, setting), one in held.items() if one.end_to_end == NONE})
    return [
        f"a patient would have spent epsilon {epsilon(tuple(whole), delta):.4g} at delta {delta:g} in all deployments "
        "with a budget together",
        *([f"{', '.join(unbounded)}: without a bound, so all together have none"] if unbounded else []),
    ]
