"""What a planner reads before anything is trained: how sure a study will be, what it needs, what it costs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fedmammo.cohort.store import Cohort
from fedmammo.config.arm import ALL, ArmName
from fedmammo.config.deployment import Deployment
from fedmammo.config.setting import Setting
from fedmammo.config.study import StudyConfig
from fedmammo.disk.files import write_text
from fedmammo.errors import InputError
from fedmammo.evaluation.metrics import PRIMARY
from fedmammo.evaluation.predictions import arrange
from fedmammo.evaluation.scoring import Scores
from fedmammo.hospitals.dealing import Dealt, deal
from fedmammo.hospitals.holder import Holder
from fedmammo.planning.assumptions import MEANING, Arms, Assumptions
from fedmammo.planning.bases import bases_of
from fedmammo.planning.costs import Member, bytes_of, costs_of, images_per_step
from fedmammo.planning.development import development_table
from fedmammo.planning.dictionary import TABLES
from fedmammo.planning.pilot import Pilot, pilots_of
from fedmammo.planning.precision import Repeats
from fedmammo.planning.privacy import privacy_rows, refused_without_budget
from fedmammo.planning.tables import answer, plan_table, power_table
from fedmammo.planning.tested import tested_at
from fedmammo.privacy.limits import strictest
from fedmammo.run.dictionary import explained
from fedmammo.run.folder import RunFolder, read_config

if TYPE_CHECKING:  # torch is loaded where something is timed
    from fedmammo.planning.calibration import Calibration

PAGE = "plan.html"
Held = Mapping[ArmName, Mapping[str, Holder]]  # by arm, then by holder


@dataclass(frozen=True)
class Planned:
    """What `fedmammo plan` tells.

    Attributes:
        study: the config.
        compared: what is compared, and how often, in a sentence.
        answer: what the study can show at each place, in a sentence each.
        tables: by name, such as `plan`; `fedmammo.planning.dictionary` explains them. None of them is empty.
        computing: what it takes on this machine, in sentences; empty where nothing was timed.
        refusals: which hospitals would refuse what, likewise.
        threshold: at which net benefit is to be known.
    """

    study: StudyConfig
    compared: str
    answer: list[str]
    tables: dict[str, pd.DataFrame]
    computing: list[str]
    refusals: list[str]
    threshold: float


def plan_study(
    config: StudyConfig,
    assume: list[str],
    pilot: Path | None,
    timed: bool,
    report: Callable[[str], None] = lambda _: None,
) -> Planned:
    """Plan a study; nothing is trained, no score of its own is looked at, and nothing is written.

    Args:
        config: the study.
        assume: numbers that differ from what is assumed otherwise, each as `auroc=.8`.
        pilot: folder of a finished run, whose scores say how patients and repeats differ; none without.
        timed: whether a few steps are timed for hours and bytes, which takes seconds.
        report: is told what is being done.

    Raises InputError where the cohort, the pilot or an assumption is not what it must be.
    """
    primary = config.evaluation.primary
    if primary.metric != PRIMARY:
        raise InputError(
            f"evaluation.primary.metric: {primary.metric}; plans are made for {PRIMARY}, take --set "
            f"evaluation.primary.metric={PRIMARY}"
        )
    assumed = Assumptions().changed(assume)
    told = {word.partition("=")[0] for word in assume}
    if primary.margin + assumed.true_difference <= 0:
        raise InputError(
            f"--assume true_difference={assumed.true_difference:g}: is worse than the margin of {primary.margin:g}, "
            "so that nothing could show it as non-inferior; assume less of a loss"
        )
    cohort = Cohort.open(config.cohort_folder)
    dealt = deal(cohort, config)
    places = tested_at(cohort.manifest, dealt.draws, dealt.names, config.evaluation)
    if not places[0].fewest:
        raise InputError(
            f"evaluation.test: {config.evaluation.test}: the tested patients of {config.cohort.path} have not both "
            "classes; name another split, or evaluation.folds"
        )
    repeats = Repeats(len(config.seeds), len(config.hospitals.seed))
    dealings = {tuple(table["hospital"]) for table in dealt.draws.values()}
    local = len(dealt.names) if "local" in (primary.arm, primary.against) else 0
    arms = Arms(local, len(dealings) > 1, repeats)
    pilots = None
    if pilot is not None:
        report(f"reading {pilot}")
        pilots = pilots_in(pilot, config)
    bases = bases_of(places, assumed, arms, pilots)
    first = _first_deployments(config)
    held = {one.arm_name: dealt.held(cohort, one) for one in first}
    plan = plan_table(bases, primary.margin, assumed.true_difference)
    training = {name: len(one.training) for name, one in next(iter(held.values())).items()}
    threshold = config.evaluation.thresholds[-1]
    tables = {
        "plan": plan,
        "power": power_table(bases, primary.margin, assumed.true_difference),
        "development": development_table(places, training, assumed.auroc, assumed.parameters, threshold),
    }
    found = _timed(config, first[0], report) if timed else None
    if found is not None:
        tables["costs"] = _costs(dealt, first, held, found)
    report("accounting for budgets")
    limits = {profile.name: profile.privacy for profile in dealt.profiles}
    limits[ALL] = strictest(list(limits.values()))
    rows = [row for one in first for row in privacy_rows(one, _patients(one, dealt, held), limits)]
    if rows:
        tables["privacy"] = pd.DataFrame(rows)
    tables["assumptions"] = _assumptions(assumed, told, pilots)
    budgets = {name: Setting.of(name).epsilon for name in config.settings}
    return Planned(
        config,
        _compared(config, repeats),
        answer(plan),
        tables,
        _computing(config, held, found) if found is not None else [],
        refused_without_budget(budgets, {name: own for name, own in limits.items() if name != ALL}),
        threshold,
    )


def pilots_in(run: Path, config: StudyConfig) -> dict[str, Pilot]:
    """Return what a finished run's scores say of the study's primary comparison.

    Raises InputError where there is no finished run, or it does not compare the two arms.
    """
    from fedmammo.run.predictions import tested_split  # and torch with it

    before, _ = read_config(run)
    primary, settings = config.evaluation.primary, [*before.settings]
    predictions = RunFolder(run).predictions()
    chosen = predictions["arm"].isin([primary.arm, primary.against])
    setting = primary.setting or next(iter(config.settings))
    if setting not in settings:
        raise InputError(f"{run}: has no setting {setting}; a pilot compares the arms in the study's own setting")
    if missing := {primary.arm, primary.against} - set(predictions["arm"]):
        raise InputError(f"{run}: has no arm {min(missing)}; a pilot has both arms of the primary comparison")
    used = predictions[chosen & (predictions["setting"] == setting)]
    return pilots_of(
        Scores(arrange(used, tested_split(before), config.evaluation.unit, config.evaluation.pooling)),
        config.evaluation,
    )


def write_tables(folder: Path, planned: Planned) -> None:
    """Write the tables of a plan, and what every column means. Raises InputError where the folder holds a run."""
    if (folder / "config.yaml").exists() or folder.is_file():
        raise InputError(f"--out {folder}: is no folder for a plan (a run, or a file); name another")
    for name, table in planned.tables.items():
        write_text(folder / f"{name}.csv", table[[*TABLES[f"{name}.csv"]]].to_csv(index=False))
    write_text(folder / "columns.csv", explained(TABLES).to_csv(index=False))


def _first_deployments(config: StudyConfig) -> list[Deployment]:
    found: dict[tuple[str, str], Deployment] = {}
    for deployment in config.deployments:
        found.setdefault((deployment.arm_name, deployment.setting_name), deployment)
    return list(found.values())


def _known(pilots: dict[str, Pilot]) -> dict[str, float]:
    """Return what a pilot measured of what is assumed: at its hospitals, where a local model is one model."""
    own = [one for name, one in pilots.items() if name != ALL] or [*pilots.values()]
    patients = [one.patients for one in own]
    return {
        name: float(np.average([getattr(one, name) for one in own], weights=patients))
        for name in ("auroc", "correlation")
    }


def _members(deployment: Deployment, dealt: Dealt) -> list[str]:
    return [name for group in deployment.arm.groups(dealt.names) for name in group.members]


def _patients(deployment: Deployment, dealt: Dealt, held: Held) -> dict[str, int]:
    own = held[deployment.arm_name]
    return {name: len(own[name].training) for name in _members(deployment, dealt)}


def _costs(dealt: Dealt, first: list[Deployment], held: Held, found: "Calibration") -> pd.DataFrame:
    profiles = {profile.name: profile for profile in dealt.profiles}
    rows = []
    for deployment in first:
        members = []
        for name in _members(deployment, dealt):
            own, profile = held[deployment.arm_name][name], profiles.get(name, dealt.profiles[0])
            count = sum(map(len, own.training))
            speeds = (profile.uplink_megabits_per_second, profile.images_per_second)
            members.append(Member(name, len(own.training), count, *speeds))
        rows += costs_of(deployment, members, bytes_of(found.shapes))
    return pd.DataFrame(rows)


def _timed(config: StudyConfig, first: Deployment, report: Callable[[str], None]) -> "Calibration":
    report("timing a few steps on made-up tensors")
    from fedmammo.planning.calibration import calibrate

    return calibrate(first.diagnosis, config.engine.threads_per_hospital)


def _computing(config: StudyConfig, held: Held, found: "Calibration") -> list[str]:
    from fedmammo.features.views import views_of
    from fedmammo.planning.calibration import computing

    everybody, deployments = next(iter(held.values()))[ALL], list(config.deployments)
    views = len(views_of(config.diagnosis.augmentation))
    read = images_per_step(sum(map(len, everybody.training)), deployments[0])
    tried = [part for one in deployments for part in one.tried]
    trained = [one for one in deployments if not one.arm.derived] + tried
    features, steps = computing(trained, read, len(everybody.rows) * views, found)
    what = "a linear head on a frozen network" if found.head else f"{config.diagnosis.train} of the network"
    numbers = sum(bytes_of({name: shape}) - bytes_of({name: (0,)}) for name, shape in found.shapes.items()) // 4
    lines = [
        f"trained: {what}, {numbers} numbers, {bytes_of(found.shapes) / 1e6:.3f} MB for each way of a round",
        f"estimated on one core of this machine: {_duration(features)} for what the frozen network makes of images, "
        f"once; {_duration(steps)} for the steps of all {len(trained)} deployments",
        "not counted: sending, scoring, reading and writing, generators; a GPU, or more cores",
    ]
    return lines


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    if not seconds:
        return "nothing"
    return "a second" if seconds < 1.5 else f"{seconds:.0f} seconds"


def _assumptions(assumed: Assumptions, told: set[str], pilots: dict[str, Pilot] | None) -> pd.DataFrame:
    measured = _known(pilots) if pilots else {}
    rows = [
        (name, value, "told" if name in told else "assumed", measured.get(name, np.nan), MEANING[name])
        for name, value in assumed.numbers().items()
    ]
    return pd.DataFrame(rows, columns=[*TABLES["assumptions.csv"]])


def _compared(config: StudyConfig, repeats: Repeats) -> str:
    primary = config.evaluation.primary
    setting = primary.setting or next(iter(config.settings))
    how = [f"{repeats.seeds} seed" + "s" * (repeats.seeds > 1), f"{repeats.draws} draw" + "s" * (repeats.draws > 1)]
    folds = f", {config.evaluation.folds} folds" if config.evaluation.folds else ""
    return (
        f"{primary.arm} against {primary.against}, setting {setting}: {primary.metric} per {config.evaluation.unit}, "
        f"margin {primary.margin:g}; {' x '.join(how)} of hospitals{folds}; nothing was trained"
    )
