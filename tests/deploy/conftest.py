"""Patients who are divided among hospitals, and the same patients joined: for studies at both."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from fedmammo.cohort.store import FACTS, KEY, MANIFEST_COLUMNS, PATCHES, Cohort, finish_cohort, write_header

NAMES = ("hospital-north", "hospital-south", "hospital-west")
COUNTED = ("size", "images", "patients", "quarantined", "digest")


def write_part(cohort: Cohort, folder: Path, patients: Sequence[str], column: Sequence[str] | None = None) -> None:
    """Write a cohort of some patients of another, under its key: pseudonyms stay.

    `column`: of the values of an attribute `hospital`, one for each image that is kept.
    """
    rows = cohort.manifest.index[cohort.manifest["patient"].isin(list(patients))]
    manifest = cohort.manifest.loc[rows].reset_index(drop=True)
    attributes = [name for name in manifest if name not in MANIFEST_COLUMNS]
    if column is not None:
        manifest["hospital"], attributes = list(column), [*attributes, "hospital"]
    folder.mkdir(parents=True)
    shutil.copy(cohort.folder / KEY, folder / KEY)
    with (folder / PATCHES).open("wb") as file:
        write_header(file, 0, cohort.patches.shape[1])
        file.write(cohort.patches[rows].tobytes())
    facts = {name: value for name, value in cohort.facts.items() if name not in COUNTED}
    finish_cohort(folder, manifest, attributes, [], cohort.patches.shape[1], facts)


@pytest.fixture(scope="session")
def joined(phantom_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """The phantom cohort with a column that says each patient's hospital: in turn, in every split and class."""
    patients = phantom_cohort.patients.sort_values(["split", "malignant"], kind="stable")
    hospital = dict(zip(patients.index, [name.removeprefix("hospital-") for name in NAMES] * len(patients), strict=False))
    column = phantom_cohort.manifest["patient"].map(hospital)
    folder = tmp_path_factory.mktemp("joined") / "cohort"
    write_part(phantom_cohort, folder, list(patients.index), column)
    return Cohort.open(folder)
