"""What a privacy officer reads: the plan of a study before it runs, and the page of a run."""

import json
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
from fedmammo.privacy.limits import strictest
from fedmammo.privacy.mechanism import Mechanism
from fedmammo.privacy.plan import DELTAS, RELATION, UNIT, Plan, adversary
from fedmammo.privacy.reasons import RefusalError
from fedmammo.report.part import Part
from fedmammo.report.privacy_words import ASSUMPTIONS, NOT_PROTECTED, PROTECTED, REAL, SEEDED, SIMULATED, UNFINISHED
from fedmammo.run.folder import RunFolder, read_config
from fedmammo.run.guarantees import NONE, check_ledgers, guarantees
from fedmammo.run.privacy import STRICT, guarantee_table, privacy_table
from fedmammo.run.results import Run
from fedmammo.stages.hospital import STAGES
from fedmammo.stages.planning import plan_of

IMAGES = (1, 2, 6, 14)  # of a patient, for whom an image-level promise is worked out
SHARES = (
    "the shares of {plan.shares} hospitals are the planned noise, of {plan.together} or more who are added up; as many "
    "rounds may be asked again as hospitals may drop out ({plan.dropouts}), which is paid for beforehand; in a "
    "simulation one machine holds all keys, and proves the arithmetic alone"
)
SAID = ("setting", "sentence")  # columns of guarantees.csv
PROMISED = ("arm", "setting", "epsilon", "delta", "end_to_end", "best_attack")
SPENT = {"deployment": "deployment", "hospital": "who", "stage": "stage", "releases": "releases",
         "epsilon": "epsilon", STRICT: "at 1e-6"}  # fmt: skip


def plans_of(config: StudyConfig) -> list[tuple[Deployment, Plan]]:
    """Plan the first deployment of each arm and private setting; others differ in the hospitals' sizes at most.

    Raises InputError where no setting has a budget, the cohort is not there, or a hospital's limits forbid a plan.
    """
    config.check_budget()
    cohort = Cohort.open(config.cohort_folder)
    dealt = deal(cohort, config)
    limits = {profile.name: profile.privacy for profile in dealt.profiles}
    limits[ALL] = strictest(list(limits.values()))
    found = []
    for deployment in _private_deployments(config):
        held = dealt.held(cohort, deployment)
        members = [name for group in deployment.groups(dealt.names) for name in group.members]
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
            f"trust {plan.trust}: protects against {plan.adversary}",
            *([SHARES.format(plan=plan)] if plan.secure else []),
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


def show_page(folder: Path) -> list[Part]:
    """Say what a run spent, for whom, against whom, and on what assumptions; all figures from its tables.

    Where it is not finished, from what its ledgers hold. Raises InputError where there is no run, or none of its
    settings has a budget, and StudyError where ledgers do not hold what was released.
    """
    run = Run(folder, read_config(folder)[0])
    config = run.study
    if not _private_deployments(config):
        raise InputError(f"{folder}: none of its settings has a budget of privacy: it promises patients nothing")
    promised, spent = _tables(run)
    left = [*folder.glob("hospitals/*/secret"), *folder.glob("server/secret")]
    parts = [
        Part(
            f"privacy of {folder}",
            [
                *([SEEDED] if config.privacy.secret_seed is not None else []),
                *([UNFINISHED] if left else []),
                REAL if config.at_sites else SIMULATED,
                f"unit: {UNIT}",
                f"relation: {RELATION}",
                PROTECTED,
                NOT_PROTECTED,
                *sorted({f"trust {trust}: against {against}" for trust, against in _trusts(config)}),
            ],
        ),
        Part(
            "what each deployment guarantees (most over hospitals, seeds, draws and folds)",
            [f"{row['setting']}: {row['sentence']}" for _, row in promised[[*SAID]].drop_duplicates().iterrows()],
            promised[[*PROMISED]],
        ),
        Part("what each hospital spent, in the seed, draw and fold that cost most", table=_alike(spent)),
        Part("were every deployment published", _published(promised, spent)),
    ]
    if run.has("privacy-audit"):
        parts.append(Part("audit: lower bounds, not a proof", table=run.privacy_audit))
    else:
        parts.append(Part("audit", [f"none: fedmammo privacy audit {folder}"]))
    parts.append(Part("what leaves a hospital", table=pd.DataFrame(_fields())))
    return [*parts, Part("assumptions", [f"{assumed} If not: {otherwise}" for assumed, otherwise in ASSUMPTIONS])]


def _tables(run: Run) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return guarantees.csv and privacy.csv of a finished run, whose ledgers are checked; else what they would be."""
    folder, config = RunFolder(run.folder), run.study
    deployments = list(config.deployments)
    done = [deployment for deployment in deployments if folder.finished(deployment)]
    if run.finished and run.has("guarantees") and run.has("privacy"):
        check_ledgers(run.folder, done)
        return run.guarantees, run.privacy
    held = guarantees(run.folder, config, done)
    return guarantee_table(run.folder, config, done, held), privacy_table(run.folder, config, deployments)


def _alike(spent: pd.DataFrame) -> pd.DataFrame:
    """Return what was spent, alike hospitals together."""
    own = spent[spent["arm"] != ALL]
    rows = own.groupby([name for name in own if name != "hospital"], sort=False, dropna=False)["hospital"]
    table = rows.agg(lambda names: names.iloc[0] if len(names) == 1 else f"{len(names)} hospitals").reset_index()
    return table.assign(deployment=table["arm"] + " " + table["setting"]).rename(columns=SPENT)[[*SPENT.values()]]


def _published(promised: pd.DataFrame, spent: pd.DataFrame) -> list[str]:
    whole = spent[spent["arm"] == ALL]
    if whole.empty:
        return ["nothing was released under a budget"]
    unbounded = sorted(set(promised.loc[promised["end_to_end"] == NONE, "setting"]))
    return [
        f"a patient would have spent epsilon {whole['epsilon'].iloc[0]:.4g} at delta {whole['delta'].iloc[0]:g} in all "
        "deployments with a budget together",
        *([f"{', '.join(unbounded)}: without a bound, so all together have none"] if unbounded else []),
    ]


def _first_deployments(config: StudyConfig) -> list[Deployment]:
    found: dict[tuple[str, str], Deployment] = {}
    for deployment in config.deployments:
        found.setdefault((deployment.arm_name, deployment.setting_name), deployment)
    return list(found.values())


def _private_deployments(config: StudyConfig) -> list[Deployment]:
    return [deployment for deployment in _first_deployments(config) if deployment.privacy is not None]


def _trusts(config: StudyConfig) -> set[tuple[str, str]]:
    """Return whom settings trust, and against whom they protect."""
    found = [(one.trust, one.privacy) for one in _private_deployments(config) if one.privacy]
    return {(trust, adversary(trust, privacy.dropouts, privacy.colluding)) for trust, privacy in found}


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
