"""What profiles ask for and no dealing of these patients can give."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fedmammo.cohort.store import MANIFEST_COLUMNS
from fedmammo.config.sections import HospitalsConfig
from fedmammo.errors import InputError
from fedmammo.hospitals.assignment import case_mix, in_training
from fedmammo.hospitals.case_mix import DENSITY, MASSES, PREVALENCE, fit, known, targets
from fedmammo.hospitals.profiles import load_profiles
from fedmammo.hospitals.rules import ByProfiles

TOLERANCE = 0.15  # by which a fraction may miss what is asked, beside _PATIENTS
_PATIENTS = 2  # patients are whole, and a small cohort is no sample of what a profile has in mind
_NAMES = {
    PREVALENCE: {1: "a prevalence"},  # the other column says the same
    DENSITY: {place: f"a fraction of density {place + 1}" for place in range(4)},
    MASSES: {0: "a fraction of masses"},
}


def check_demands(patients: pd.DataFrame, config: HospitalsConfig) -> None:
    """Refuse profiles whose case mix the training patients come nowhere near.

    A hospital's fraction may miss what its profile asks for by 15 percentage points and by two patients more.
    Raises InputError, in one line that names the profile, what it asks for, and the nearest that is possible beside
    the other profiles' demands.
    """
    if not isinstance(config.assignment, ByProfiles):
        return
    profiles = load_profiles(config.assignment.profiles)
    counts = case_mix(patients[in_training(patients)])
    fitted = fit(counts, profiles)
    for mix, asked in targets(counts, profiles).items():
        present = known(fitted, mix)
        for place, what in _NAMES[mix].items():
            for profile, wanted, of_class, everybody in zip(
                profiles, asked[:, place], present[:, place], present.sum(1), strict=True
            ):
                if np.isnan(wanted) or abs(of_class - wanted * everybody) <= TOLERANCE * everybody + _PATIENTS:
                    continue
                raise InputError(
                    f"profile {profile.name}: asks for {what} of {wanted:.2f}; the nearest possible for "
                    f"{everybody} of these {int(counts.sum())} training patients is {of_class / everybody:.2f}; "
                    "ask for that, or change the shares"
                )


def ignored_demands(patients: pd.DataFrame, config: HospitalsConfig) -> list[str]:
    """Say, a line each, which targets of the profiles are ignored: the training patients do not differ in them."""
    if not isinstance(config.assignment, ByProfiles):
        return []
    profiles = load_profiles(config.assignment.profiles)
    used = targets(case_mix(patients[in_training(patients)]), profiles)
    asking = {
        PREVALENCE: ("prevalence", {profile.prevalence for profile in profiles}),
        DENSITY: ("density", {profile.density for profile in profiles}),
        MASSES: ("masses", {profile.masses for profile in profiles}),
    }
    return [
        f"{what}: asked for, but ignored, because the training patients do not differ in it"
        for mix, (what, asked) in asking.items()
        if mix not in used and asked != {None}
    ]


def check_columns(patients: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise InputError where one of the user's own columns is another for every patient: such a column names patients.

    `columns`: those whose values leave the cohort beside scores; others than a cohort has are left out.
    """
    for column in (one for one in columns if one in patients and one not in MANIFEST_COLUMNS):
        counts = patients[column].value_counts()
        if len(counts) > 1 and (counts == 1).all():
            raise InputError(
                f"evaluation.subgroups: {column} is another for every patient, so tables of the run would tell who is "
                "who; choose a column whose values patients share"
            )
