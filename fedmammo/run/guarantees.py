"""What a run guarantees the patients whom it learned from, by arm and setting; read from hospitals' ledgers."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from fedmammo.config.arm import ALL
from fedmammo.config.deployment import Deployment
from fedmammo.config.study import StudyConfig
from fedmammo.errors import StudyError
from fedmammo.evaluation.scoring import READER
from fedmammo.privacy.accounting import epsilon, spent_of
from fedmammo.privacy.ledger import read_lines, spent_in
from fedmammo.privacy.odometer import ledger_of
from fedmammo.run.folder import HOSPITALS, RunFolder
from fedmammo.synthesis.names import gan_name
from fedmammo.synthesis.sources import NONE_NEEDED, POOLS, POOLS_TABLE

NONE, PATIENT, NOBODY = "none", "patient", "no patient"  # end to end: no guarantee, one for patients, none needed

BOUND = re.compile(r"epsilon [0-9][0-9.e+-]* at delta [0-9][0-9.e+-]* per patient")  # of a pool, in words


class Guarantee(NamedTuple):
    """What holds for everybody who trained in an arm and setting.

    Attributes:
        epsilon: the most that a hospital spent in a deployment, at `delta`; NaN where nothing was under a budget.
        delta: as configured; NaN likewise.
        end_to_end: `patient` where that is, given the configuration, all that a patient's data had to do with the
            model, `none` where it had more, `no patient` where no patient's data was used.
    """

    epsilon: float
    delta: float
    end_to_end: str


def guarantees(run: Path, config: StudyConfig, deployments: Iterable[Deployment]) -> dict[tuple[str, str], Guarantee]:
    """Return what holds for each arm and setting of a run.

    `deployments`: finished ones. Raises StudyError where a ledger was altered, is gone, or holds less than was
    released.
    """
    table = _table(run / POOLS / POOLS_TABLE)
    seeded = is_seeded(run, config)
    found: dict[tuple[str, str], Guarantee] = {}
    for one in deployments:
        place = one.arm_name, one.setting_name
        spent, delta = np.nan, np.nan
        if one.privacy is not None:
            delta = one.privacy.delta
            by_hospital = spent_by_hospital(run, one, delta)
            _check_against_rounds(run, one.learned_by, by_hospital)
            spent = max(by_hospital.values(), default=0.0)
            if place in found:
                spent = max(spent, found[place].epsilon)
        held = _end_to_end(one, table, seeded)
        if place in found and found[place].end_to_end != held:
            held = NONE  # the weakest counts
        found[place] = Guarantee(spent, delta, held)
    return found


def is_seeded(run: Path, config: StudyConfig) -> bool:
    """Whether a hospital's secret came from a number: the study told it, or a real hospital's own file."""
    ledgers = sorted((run / HOSPITALS).glob("*/ledger/*.jsonl"))
    lines = (line for path in ledgers for line in read_lines(path))
    return config.privacy.secret_seed is not None or (config.at_sites and any("seeded" in line for line in lines))


def _table(path: Path) -> pd.DataFrame | None:
    """Read who holds which pool; none where the table is not there, or is damaged."""
    try:
        return pd.read_csv(path, dtype=str, na_filter=False)
    except (OSError, ValueError):
        return None


def spent_by_hospital(run: Path, deployment: Deployment, delta: float) -> dict[str, float]:
    """Return what each hospital (or `all`) has spent in a deployment: epsilon of what its ledgers say was drawn.

    A generator that the deployment's images come from is in it.
    """
    found = {}
    for folder in sorted((run / HOSPITALS).glob("*/")):
        ledgers = ledgers_of(folder, deployment)
        if ledgers[0].exists():
            found[folder.name] = epsilon(spent_of(spent_in(ledgers)), delta)
    return found


def check_ledgers(run: Path, deployments: Iterable[Deployment]) -> None:
    """Check that ledgers still hold what the tables of a run were made of.

    `deployments`: finished ones. Raises StudyError where a ledger was altered, is gone, or holds less than was
    released.
    """
    for one in (deployment.learned_by for deployment in deployments):
        if one.privacy is not None:
            by_hospital = {}
            for folder in sorted((run / HOSPITALS).glob("*/")):
                ledgers = ledgers_of(folder, one)
                told = [line["epsilon"] for path in ledgers for line in read_lines(path) if "request" in line]
                if ledgers[0].exists():
                    by_hospital[folder.name] = max((cost[f"{one.privacy.delta:g}"] for cost in told), default=0.0)
            _check_against_rounds(run, one, by_hospital)


def _check_against_rounds(run: Path, deployment: Deployment, by_hospital: dict[str, float]) -> None:
    """Compare ledgers with what hospitals told the server: a ledger that was cut short is as sound as one that grew."""
    path = RunFolder(run).folder(deployment) / "rounds.csv"
    if not path.exists():
        return  # not finished
    if not by_hospital:
        raise StudyError(f"{run / HOSPITALS}: no ledger of {deployment.name} is there; restore them")
    told = pd.read_csv(path).groupby("hospital")["epsilon_spent"].max().dropna()
    for hospital, least in told.items():
        if by_hospital.get(str(hospital), 0.0) < least * (1 - 1e-6):
            ledger = ledger_of(run / HOSPITALS / str(hospital), deployment.name)
            raise StudyError(f"{ledger}: holds less than was released (epsilon {least:g}); restore it")


def ledgers_of(folder: Path, deployment: Deployment) -> list[Path]:
    """Return the ledgers of a deployment in a simulated hospital's folder: its own, and that of its generator."""
    names = [deployment.learned_by.name]
    if deployment.generator_share:
        names.append(gan_name(deployment, folder.name))
    return [ledger_of(folder, name) for name in names]


def _end_to_end(deployment: Deployment, pools: pd.DataFrame | None, seeded: bool) -> str:
    """Say what a deployment guarantees from end to end; what is missing, or not understood, guarantees nothing."""
    kind, private = deployment.setting.kind, deployment.privacy is not None
    if kind == "public":
        return NOBODY
    if seeded and private:
        return NONE  # whoever knows the seed can subtract the noise
    if kind == "real":
        return PATIENT if private else NONE
    needs_none = pools is not None and _all_need_none(pools, deployment)
    if kind == "synthetic" and not private:
        return NOBODY if needs_none else NONE
    if private and (
        needs_none or (deployment.generator_share and pools is not None and _all_bounded(pools, deployment))
    ):
        return PATIENT
    return NONE


def _own_pools(pools: pd.DataFrame, deployment: Deployment) -> list[str]:
    sole = deployment.setting_name if deployment.generator_share else ""
    seed = str(deployment.seed) if deployment.dealing.folds else ALL
    place = {"arm": deployment.arm_name, "sole_setting": sole, "seed": seed}
    place |= {"draw": str(deployment.draw), "fold": str(deployment.fold)}
    if not {*place, "guarantee"} <= set(pools):
        return []
    return list(pools.loc[(pools[list(place)] == pd.Series(place)).all(axis=1), "guarantee"])


def _all_need_none(pools: pd.DataFrame, deployment: Deployment) -> bool:
    own = _own_pools(pools, deployment)
    return bool(own) and set(own) == {NONE_NEEDED}


def _all_bounded(pools: pd.DataFrame, deployment: Deployment) -> bool:
    own = _own_pools(pools, deployment)
    return bool(own) and all(BOUND.fullmatch(one) for one in own)


def mark(results: pd.DataFrame, by_place: dict[tuple[str, str], Guarantee]) -> pd.DataFrame:
    """Fill the columns epsilon, delta and end_to_end of rows of results."""
    nobody = Guarantee(np.nan, np.nan, NOBODY)  # a reader learned from no patient here
    places = zip(results["arm"], results["setting"], strict=True)
    held = [nobody if place[0] == READER.arm else by_place[place] for place in places]
    return results.assign(**{name: [getattr(one, name) for one in held] for name in Guarantee._fields})
