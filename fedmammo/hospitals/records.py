"""What hospitals have on record: each image as their digitiser shows it, each label as they wrote it down."""

from dataclasses import dataclass

import numpy as np

from fedmammo.cohort.store import Cohort
from fedmammo.config.study import StudyConfig
from fedmammo.hospitals.assignment import TRAIN, assign, hospital_names
from fedmammo.hospitals.digitiser import Digitiser, load_digitiser
from fedmammo.hospitals.profiles import profiles_of
from fedmammo.randomness import generator_of


@dataclass(frozen=True, eq=False)
class Records:
    """The records of all hospitals, by row of the cohort's manifest; the same in every arm.

    Attributes:
        malignant: (images,) bool: the label on record; the truth but for the patients whose labels were exchanged.
        digitisers: one per image: that of the patient's hospital, or None for the image as the cohort holds it.
    """

    malignant: np.ndarray
    digitisers: tuple[Digitiser | None, ...]


def true_records(cohort: Cohort) -> Records:
    """Return records without error: true labels, images as the cohort holds them."""
    return Records(cohort.manifest["malignant"].to_numpy(dtype=bool), (None,) * len(cohort.manifest))


def records_of(cohort: Cohort, config: StudyConfig) -> Records:
    """Return what the hospitals of a study have on record.

    Of the patients whom a hospital may train on, `label_noise` of its profile (a fraction, rounded to the nearest
    whole number of patients) have their labels exchanged, benign for malignant, in all their images; which ones
    depends on `hospitals.seed`. Raises InputError for a profile or a digitiser that cannot be loaded.
    """
    patients = cohort.patients.sort_index()
    hospital_of = assign(patients, config.hospitals)
    in_training = (patients["split"] == TRAIN) | bool(config.evaluation.folds)
    exchanged: set[str] = set()
    digitiser_of: dict[str, Digitiser | None] = {}
    for profile in profiles_of(config.hospitals, hospital_names(config.hospitals, patients)):
        digitiser_of[profile.name] = load_digitiser(profile.digitiser) if profile.digitiser else None
        own = patients.index[in_training & (hospital_of == profile.name)]
        generator = generator_of(config.hospitals.draw, "hospitals", "label noise", profile.name)
        exchanged.update(generator.permutation(own)[: round(profile.label_noise * len(own))])
    holder = cohort.manifest["patient"]
    malignant = cohort.manifest["malignant"].to_numpy(dtype=bool) ^ holder.isin(exchanged).to_numpy()
    return Records(malignant, tuple(digitiser_of[name] for name in hospital_of.loc[holder]))
