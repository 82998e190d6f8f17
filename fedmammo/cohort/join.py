"""Joins prepared cohorts, one per hospital, into one cohort with a column `hospital`."""

import re
from pathlib import Path

import pandas as pd

from fedmammo.cohort.quarantine import Quarantined
from fedmammo.cohort.store import MANIFEST_COLUMNS, Cohort, write_cohort
from fedmammo.errors import InputError

HOSPITAL = "hospital"


def join(out: Path, folders: dict[str, Path]) -> Cohort:
    """Write the cohorts in `folders` (hospital → cohort) as one cohort to `out`.

    Patients, images and sources are called `<hospital>/<name>`: a name that two hospitals use stands for two patients.
    Attributes are those of all cohorts; a cohort that does not have one leaves it empty.

    Raises:
        InputError: fewer than two hospitals, a name that is no plain word, a folder that is no prepared cohort, patches
            of different sizes, a cohort that has hospitals already or is there twice, or `out` is occupied or cannot be
            written.
    """
    if len(folders) < 2:
        raise InputError("one cohort is nothing to join; name at least two, as NAME=COHORT")
    for name in folders:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise InputError(f"hospital {name!r}: expected letters, digits, dots, dashes and underscores")
    cohorts = {name: Cohort.open(folder) for name, folder in folders.items()}
    sizes = {name: cohort.patches.shape[1] for name, cohort in cohorts.items()}
    if len(set(sizes.values())) > 1:
        said = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise InputError(f"patches differ in size ({said} pixels); prepare all cohorts with the same --size")
    for name, cohort in cohorts.items():
        if HOSPITAL in cohort.manifest:
            raise InputError(f"{cohort.folder}: has hospitals already; join the cohorts that {name} consists of")
    names_of: dict[str, str] = {}
    for name, cohort in cohorts.items():
        other = names_of.setdefault(cohort.facts["digest"], name)
        if other != name:
            raise InputError(f"{other} and {name} are one cohort, whose patients would be there twice; name others")
    plan = pd.concat([_plan(name, cohort) for name, cohort in cohorts.items()], ignore_index=True)
    quarantine = [
        Quarantined(f"{name}/{entry['source']}", None if pd.isna(entry["row"]) else int(entry["row"]), entry["reason"])
        for name, cohort in cohorts.items()
        for entry in cohort.quarantine.to_dict("records")
    ]
    attributes = [str(column) for column in plan if column not in (*MANIFEST_COLUMNS, "listed_in", "listed_row")]
    facts = {
        "source": "join of cohorts",
        "counts": {
            f"{name}/{listed}": count
            for name, cohort in cohorts.items()
            for listed, count in cohort.facts["counts"].items()
        },
        "parts": {
            name: {key: value for key, value in cohort.facts.items() if key != "notes"}
            for name, cohort in cohorts.items()
        },
        "notes": {
            f"{name}/{image}": note for name, cohort in cohorts.items() for image, note in cohort.facts["notes"].items()
        },
    }
    write_cohort(
        out,
        plan,
        quarantine,
        lambda row: cohorts[row["listed_in"]].patches[row["listed_row"]],
        next(iter(sizes.values())),
        lambda: facts,
        attributes,
    )
    return Cohort.open(out)


def _plan(name: str, cohort: Cohort) -> pd.DataFrame:
    renamed = {column: f"{name}/" + cohort.manifest[column] for column in ("patient", "image", "source")}
    rows = range(len(cohort.manifest))
    return cohort.manifest.assign(**renamed, **{HOSPITAL: name}, listed_in=name, listed_row=rows)
