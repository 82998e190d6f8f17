"""Hospitals by what is recorded of a patient's first lesion: one for each value, rare values together."""

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedmammo.errors import InputError
from fedmammo.hospitals.rules import ByAttribute

OTHER = "other"
_NO_ATTRIBUTES = ("images", "split", "image", "source")  # the last two would make hospitals' names of identities
_LONGEST = 60  # of a hospital's name, which is the name of a folder too


def hospitals_by_attribute(
    patients: pd.DataFrame, training: NDArray[np.bool_], rule: ByAttribute
) -> tuple[list[str], NDArray[np.int64]]:
    """Return the hospitals' names, and each patient's hospital as a number, -1 where the patient has no value.

    Values ascend. Those with fewer than `minimum_patients` patients in `training` (a mask of `patients`) share the
    last hospital, `<attribute>-other`; if none of them trains, they count as no value. Empty text is no value, nor is
    density 0.

    Raises InputError where the cohort has no such column, no training patient has a value, or each has another: such a
    column names patients, and hospitals' names go into every table of a run.
    """
    values = _values(patients, rule.attribute)
    counts = values[training].value_counts()
    frequent = sorted(counts.index[counts >= rule.minimum_patients])
    if len(frequent) > 1 and (counts == 1).all():
        raise InputError(
            f"hospitals.assignment.attribute: {rule.attribute} is another for every training patient, so hospitals "
            "would be called by patients; choose a column whose values patients share, or raise minimum_patients"
        )
    rare = values.notna() & ~values.isin(frequent)
    if not frequent and not rare[training].any():
        raise InputError(
            f"hospitals.assignment: no training patient of the cohort has a {rule.attribute}; "
            "deal patients by another rule"
        )
    labels = [str(value) for value in frequent]
    numbers = values.map({value: number for number, value in enumerate(frequent)}).fillna(-1).to_numpy(np.int64)
    if rare[training].any():
        numbers[rare] = len(labels)
        labels.append(OTHER)
    return _names(rule.attribute, labels), numbers


def _values(patients: pd.DataFrame, attribute: str) -> pd.Series:
    """Return the patients' values of a column, missing where it says nothing."""
    columns = [column for column in patients.columns if column not in _NO_ATTRIBUTES]
    if attribute not in columns:
        raise InputError(
            f"hospitals.assignment.attribute: the cohort has no column {attribute!r}; expected one of "
            + ", ".join(columns)
        )
    values = patients[attribute]
    return values.mask(values == 0) if attribute == "density" else values.mask(values.astype("str").str.strip() == "")


def _names(attribute: str, labels: list[str]) -> list[str]:
    """Name hospitals so that a folder can be called so, and no two alike (2, 3... are appended)."""
    names: list[str] = []
    for label in labels:
        safe = re.sub(r"[^A-Za-z0-9_]+", "-", f"{attribute}-{label}").strip("-_")[:_LONGEST] or "hospital"
        number = 2
        name = safe
        while name in names:
            name, number = f"{safe}-{number}", number + 1
        names.append(name)
    return names
