"""What a run guarantees the patients whom it learned from, by arm and setting; read from hospitals' ledgers."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from fedmammo.config.setting import epsilon_of, kind_of
from fedmammo.config.study import StudyConfig
from fedmammo.errors import StudyError
from fedmammo.privacy.accounting import epsilon, spent_of
from fedmammo.privacy.ledger import spent_in
from fedmammo.privacy.officer import ledger_of
from fedmammo.synthesis.sources import NO_GUARANTEE, POOLS, POOLS_TABLE
from fedmammo.training.gan import gan_name
from fedmammo.training.task import Cell

NONE, PATIENT, NOBODY = "none", "patient", "no patient"  # end to end: no guarantee, one for patients, none needed


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


def guarantees(run: Path, config: StudyConfig, cells: Iterable[Cell]) -> dict[tuple[str, str], Guarantee]:
    """Return what holds for each arm and setting of a run.

    `cells`: finished ones. Raises StudyError where a ledger was altered, is gone, or holds less than was released.
    """
    pools = run / POOLS / POOLS_TABLE
    table = pd.read_csv(pools, dtype=str, na_filter=False) if pools.exists() else pd.DataFrame(columns=["guarantee"])
    found: dict[tuple[str, str], Guarantee] = {}
    for cell in cells:
        place = cell.arm, cell.setting
        study = config.for_cell(cell.arm, cell.setting, cell.draw)
        spent, delta = np.nan, np.nan
        if epsilon_of(cell.setting) is not None:
            delta = study.privacy.delta
            by_hospital = spent_by_hospital(run, study, cell, delta)
            _check_against_rounds(run, cell, by_hospital)
            spent = max(by_hospital.values(), default=0.0)
            if place in found:
                spent = max(spent, found[place].epsilon)
        found[place] = Guarantee(spent, delta, _end_to_end(study, cell, table))
    return found


def spent_by_hospital(run: Path, study: StudyConfig, cell: Cell, delta: float) -> dict[str, float]:
    """Return what each hospital (or `all`) has spent in a deployment: epsilon of what its ledgers say was drawn.

    `study`: as the deployment runs it. A generator that the deployment's images come from is in it.
    """
    found = {}
    for folder in sorted((run / "hospitals").glob("*/")):
        ledgers = ledgers_of(folder, study, cell)
        if ledgers[0].exists():
            found[folder.name] = epsilon(spent_of(spent_in(ledgers)), delta)
    return found


def _check_against_rounds(run: Path, cell: Cell, by_hospital: dict[str, float]) -> None:
    """Compare ledgers with what hospitals told the server: a ledger that was cut short is as sound as one that grew."""
    path = run / "cells" / cell.name / "rounds.csv"
    if not path.exists():
        return  # not finished
    if not by_hospital:
        raise StudyError(f"{run / 'hospitals'}: no ledger of {cell.name} is there; restore them")
    told = pd.read_csv(path).groupby("hospital")["epsilon_spent"].max().dropna()
    for hospital, least in told.items():
        if by_hospital.get(str(hospital), 0.0) < least * (1 - 1e-6):
            ledger = ledger_of(run / "hospitals" / str(hospital), cell.name)
            raise StudyError(f"{ledger}: holds less than was released (epsilon {least:g}); restore it")


def ledgers_of(folder: Path, study: StudyConfig, cell: Cell) -> list[Path]:
    """Return the ledgers of a deployment in a hospital's folder: its own, and that of its generator."""
    names = [cell.name]
    if study.private_generator:
        names.append(gan_name(cell, study, cell.arm == "centralized", folder.name))
    return [ledger_of(folder, name) for name in names]


def _end_to_end(study: StudyConfig, cell: Cell, pools: pd.DataFrame) -> str:
    kind, private = kind_of(cell.setting), epsilon_of(cell.setting) is not None
    if study.privacy.secret_seed is not None and private:
        return NONE  # whoever knows the seed can subtract the noise
    if kind != "real" and not study.private_generator and NO_GUARANTEE in set(pools["guarantee"]):
        return NONE
    if kind == "synthetic" and not private:
        return NOBODY
    return PATIENT if private else NONE


def mark(results: pd.DataFrame, by_place: dict[tuple[str, str], Guarantee]) -> pd.DataFrame:
    """Fill the columns epsilon, delta and end_to_end of rows of results."""
    held = [by_place[place] for place in zip(results["arm"], results["setting"], strict=True)]
    return results.assign(**{name: [getattr(one, name) for one in held] for name in Guarantee._fields})
