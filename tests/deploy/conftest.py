"""Patients who are divided among hospitals, and the same patients joined: for studies at both."""

from collections.abc import Callable

import pytest

from fedmammo.cohort.store import Cohort

NAMES = ("hospital-north", "hospital-south", "hospital-west")


@pytest.fixture(scope="session")
def joined(phantom_cohort: Cohort, write_part: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """The phantom cohort with a column that says each patient's hospital: in turn, in every split and class."""
    patients = phantom_cohort.patients.sort_values(["split", "malignant"], kind="stable")
    named = [name.removeprefix("hospital-") for name in NAMES] * len(patients)
    hospital = dict(zip(patients.index, named, strict=False))
    column = phantom_cohort.manifest["patient"].map(hospital)
    folder = tmp_path_factory.mktemp("joined") / "cohort"
    write_part(phantom_cohort, folder, list(patients.index), column)
    return Cohort.open(folder)
