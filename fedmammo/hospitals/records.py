"""What hospitals have on record: each image as their digitiser shows it, each label as they wrote it down."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from fedmammo.cohort.store import Cohort
from fedmammo.hospitals.digitiser import Digitiser


@dataclass(frozen=True, eq=False)
class Records:
    """The records of one holder, by row of the cohort's manifest; the same in every arm.

    Attributes:
        malignant: (images,) bool: the label on record; the truth but for the patients whose labels were exchanged.
        digitisers: one per image: that of the patient's hospital, or None for the image as the cohort holds it.
    """

    malignant: np.ndarray
    digitisers: tuple[Digitiser | None, ...]


def true_records(cohort: Cohort) -> Records:
    """Return records without error: true labels, images as the cohort holds them."""
    return Records(cohort.manifest["malignant"].to_numpy(dtype=bool), (None,) * len(cohort.manifest))


def records_of(cohort: Cohort, patients: pd.DataFrame, digitisers: dict[str, Digitiser]) -> Records:
    """Return what is on record of these patients; of all others, what is true.

    Args:
        cohort: where the images are.
        patients: indexed by patient: digitiser (its name, or empty), exchanged (whether the label on record is wrong).
        digitisers: by name.
    """
    holder = cohort.manifest["patient"]
    exchanged = patients.index[patients["exchanged"].astype(bool)]
    malignant = cohort.manifest["malignant"].to_numpy(dtype=bool) ^ holder.isin(exchanged).to_numpy()
    name_of = holder.map(patients["digitiser"]).fillna("")
    return Records(malignant, tuple(digitisers[name] if name else None for name in name_of))
