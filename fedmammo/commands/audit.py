"""`fedmammo privacy audit`: attacks what each private setting of a run did, with its own code and patients."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from fedmammo.commands.privacy import AUDIT_TABLE
from fedmammo.config.arm import ALL
from fedmammo.config.setting import epsilon_of, kind_of
from fedmammo.config.study import StudyConfig
from fedmammo.disk.files import write_text
from fedmammo.errors import InputError
from fedmammo.evaluation.attacks import Bound, attack_bounds, canary_bounds, guesses_of
from fedmammo.hospitals.holder import holders
from fedmammo.privacy.accounting import attack_power, epsilon, mu_of, spent_of
from fedmammo.privacy.audit import attack_membership, plant_canaries
from fedmammo.privacy.plan import plan_of
from fedmammo.run.folder import read_config
from fedmammo.study import cells
from fedmammo.training.site import open_site

COLUMNS = ["setting", "audit", "measure", "value", "ci_low", "ci_high", "ceiling", "claimed"]


def audit(run: Path, canaries: int, models: int, seed: int, report: Callable[[str], None]) -> pd.DataFrame:
    """Audit every setting of a run that trains on patients, in its first arm; writes `privacy-audit.csv` there.

    All training patients are audited as one holder, in the steps of the classifier: the mechanism is the same for each
    hospital. What it learned from before, and generators, are not attacked. A setting without a budget is attacked
    too, for comparison. `ceiling` is the most that so many guesses can certify, `claimed` what the plan says of these
    steps; nothing is claimed of mu where patients are sampled. Raises InputError where there is no run, or none of its
    settings has a budget.
    """
    config, _ = read_config(run)
    if not any(epsilon_of(setting) for setting in config.settings):
        raise InputError(f"{run}: none of its settings has a budget of privacy: there is nothing to audit")
    rows: list[dict[str, object]] = []
    first = {cell.setting: cell for cell in reversed(list(cells(config)))}
    for setting in config.settings:
        if kind_of(setting) == "synthetic":
            continue
        cell = first[setting]
        study = config.for_cell(cell.arm, setting, cell.draw)
        report(f"auditing {setting}")
        rows += [{"setting": setting, **row} for row in _audit(study, cell.seed, cell.fold, canaries, models, seed)]
    table = pd.DataFrame(rows, columns=COLUMNS)
    write_text(run / AUDIT_TABLE, table.to_csv(index=False))
    return table


def _audit(
    study: StudyConfig, study_seed: int, fold: int, canaries: int, models: int, seed: int
) -> list[dict[str, object]]:
    site = open_site(study.model_dump_json())
    torch.set_num_threads(study.engine.threads_per_hospital)
    held = holders(site.cohort, study, study_seed, fold)
    patients = held[ALL].training
    site.inputs.compute(np.concatenate(patients))
    plan = plan_of(study, {name: len(one.training) for name, one in held.items()})
    steps = study.federation.rounds * study.federation.local_steps
    rows = []
    mechanism, claims = None, {}
    if plan is not None:
        mechanism = replace(plan.mechanism("train"), rounds=1, local_steps=steps)
        there, found = plant_canaries(site.inputs, patients, study.diagnosis, mechanism, canaries, seed)
        claimed = epsilon(spent_of([(mechanism, mechanism.steps)]), plan.delta)
        claims = {"epsilon is at least": claimed, "found at 1% false alarms": attack_power(claimed, plan.delta)}
        mu = mu_of(claimed, plan.delta)
        if mechanism.rate == 1:
            claims["mu"] = mu
        guesses = guesses_of(len(there), claimed, mu, plan.delta)  # from the claim, not from what was found
        name = f"{len(there)} canaries, {guesses} guessed, one run"
        rows += _rows(name, canary_bounds(there, found, guesses, plan.delta), claims)
    inside, ratios = attack_membership(site.inputs, patients, study.diagnosis, steps, mechanism, models // 2 * 2, seed)
    return rows + _rows(f"membership, {models // 2 * 2} models", attack_bounds(inside, ratios, seed), claims)


def _rows(name: str, bounds: dict[str, Bound], claims: dict[str, float]) -> list[dict[str, object]]:
    return [
        {
            "audit": name,
            "measure": measure,
            "value": bound.value,
            "ci_low": bound.low,
            "ci_high": bound.high,
            "ceiling": bound.ceiling,
            "claimed": claims.get(measure, np.nan),
        }
        for measure, bound in bounds.items()
    ]
