"""flow.csv and holdings.csv: where patients went, from what a cohort's source listed to who was tested.

Of a simulation, whose dealer knows all patients; a real deployment has neither, as hospitals do not tell.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from fedmammo.cohort.store import SPLITS, Cohort
from fedmammo.config.arm import ALL
from fedmammo.config.study import StudyConfig
from fedmammo.disk.files import write_text
from fedmammo.hospitals.dealing import Dealt
from fedmammo.hospitals.summary import distances, holdings
from fedmammo.run.predictions import tested_split
from fedmammo.run.results import HELD

FLOW = ("stage", "name", "patients", "images", "malignant", "note")
HOLDINGS = (
    "draw", "hospital", "split", "digitiser", "patients", "images", "benign", "malignant", "unknown_density",
    *HELD,
)  # fmt: skip


def write_patients(folder: Path, config: StudyConfig, dealt: Dealt) -> None:
    """Write both tables to the folder of a run; the same study writes the same files."""
    cohort = Cohort.open(config.cohort_folder)
    for name, table in (("flow", flow_of(cohort, dealt, config)), ("holdings", holdings_of(cohort, dealt, config))):
        write_text(folder / f"{name}.csv", table.to_csv(index=False))


def flow_of(cohort: Cohort, dealt: Dealt, config: StudyConfig) -> pd.DataFrame:
    """Return a row for each step of the patients' way; hospitals and what follows are of the first draw and seed."""
    facts, patients, draw = cohort.facts, cohort.patients, config.hospitals.draw
    reasons = cohort.quarantine["reason"].str.split(":").str[0].value_counts()
    origin = [facts.get("licence") and f"licence {facts['licence']}", facts.get("citation")]
    rows = [
        *(("listed", name, None, count["rows"], None, "") for name, count in facts.get("counts", {}).items()),
        ("listed", ALL, None, facts["images"] + facts["quarantined"], None, "rows of tables, or files of a folder"),
        *(("quarantined", reason, None, count, None, "") for reason, count in reasons.items()),
        ("quarantined", ALL, None, facts["quarantined"], None, ""),
        _row("prepared", f"{facts['source']}", patients, "; ".join(part for part in origin if part)),
    ]
    splits = [split for split in SPLITS if (patients["split"] == split).any()]
    rows += [_row("split", split, patients[patients["split"] == split]) for split in splits]
    table = dealt.draws[draw]
    which = f"draw {draw}"
    rows += [_row("hospital", name, table[table["hospital"] == name], which) for name in dealt.names]
    parts = _parts(cohort, dealt, config)
    one_of = f"{which}, seed {config.seeds[0]}"
    note = f"{one_of}; in one fold or more of {config.evaluation.folds}" if config.evaluation.folds else one_of
    rows += [
        _row(stage, tested_split(config) if stage == "tested" else ALL, patients[patients.index.isin(members)], note)
        for stage, members in parts.items()
    ]
    whole = dict.fromkeys(("patients", "images", "malignant"), "Int64")
    return pd.DataFrame(rows, columns=list(FLOW)).astype(whole)


def _row(stage: str, name: str, patients: pd.DataFrame, note: str = "") -> tuple[str, str, int, int, int, str]:
    return stage, name, len(patients), int(patients["images"].sum()), int(patients["malignant"].sum()), note


def _parts(cohort: Cohort, dealt: Dealt, config: StudyConfig) -> dict[str, set[str]]:
    """Return who trains, sets thresholds and is tested in some fold of the first draw and seed, and who in none."""
    arm, setting = next(iter(config.arms)), next(iter(config.settings))
    found: dict[str, set[str]] = {"trained": set(), "thresholds": set(), "tested": set()}
    of_row = cohort.manifest["patient"].to_numpy()
    for fold in range(max(1, config.evaluation.folds)):
        deployment = config.deployment(arm, setting, config.seeds[0], config.hospitals.draw, fold)
        own = dealt.held(cohort, deployment)[ALL]
        for stage, rows in zip(found, (np.concatenate(own.training), own.validation, own.test), strict=True):
            found[stage].update(of_row[rows])
    found["no part"] = set(cohort.patients.index) - set().union(*found.values())
    return found


def holdings_of(cohort: Cohort, dealt: Dealt, config: StudyConfig) -> pd.DataFrame:
    """Return a row for each draw, hospital and split, and one for all splits, which has the hospital's distances."""
    patients = cohort.patients
    order = {name: number for number, name in enumerate((*SPLITS, ALL))}
    parts = []
    for draw, table in dealt.draws.items():
        hospital_of = table["hospital"]
        shown = table.groupby("hospital")["digitiser"].first()
        looks = shown.map({name: one.name for name, one in dealt.digitisers.items()}).fillna("")
        differing = distances(patients, hospital_of).drop(columns="patients").assign(split=ALL)
        held = pd.concat(
            [holdings(some, hospital_of, config.hospitals) for some in (patients, patients.assign(split=ALL))]
        )
        held = held.merge(differing, on=["hospital", "split"], how="left").rename(
            columns=lambda name: name.replace(" ", "_")
        )
        held = held.assign(
            draw=draw, digitiser=held["hospital"].map(looks), benign=held["patients"] - held["malignant"]
        )
        parts.append(held.sort_values("split", key=lambda splits: splits.map(order), kind="stable"))
    return pd.concat(parts, ignore_index=True).reindex(columns=list(HOLDINGS))
