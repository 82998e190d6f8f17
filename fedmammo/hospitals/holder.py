"""Holders of patients: each hospital, and `all` hospitals as one (the centralised arm)."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold

from fedmammo.cohort.store import Cohort
from fedmammo.config.sections import ALL
from fedmammo.config.study import StudyConfig
from fedmammo.errors import InputError
from fedmammo.hospitals.assignment import assign, hospital_names, validation_patients
from fedmammo.hospitals.demands import check_demands
from fedmammo.randomness import seed_of


@dataclass(frozen=True)
class Holder:
    """Who holds which images, as row numbers of the cohort's manifest; every patient is whole.

    Attributes:
        name: the hospital's name, or `all`.
        training: one array of rows per training patient, patients in sorted order.
        validation: rows of the patients that set thresholds.
        test: rows of the tested patients.
    """

    name: str
    training: tuple[np.ndarray, ...]
    validation: np.ndarray
    test: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """All rows, sorted."""
        return np.sort(np.concatenate([*self.training, self.validation, self.test]))


def hospital_of_patients(cohort: Cohort, config: StudyConfig) -> pd.Series:
    """Assign every patient of the cohort to a hospital, by the study's rule."""
    return assign(cohort.patients, config.hospitals)


def names(cohort: Cohort, config: StudyConfig) -> list[str]:
    """List the hospitals in the order of their nodes."""
    return hospital_names(config.hospitals, cohort.patients)


def holders(cohort: Cohort, config: StudyConfig, seed: int, fold: int) -> dict[str, Holder]:
    """Return every hospital's holdings by name, in order, and those of `all`.

    Without folds, training patients are the split `train` and tested ones the split `evaluation.test`. With k folds,
    patients of all splits are dealt to folds, stratified by malignancy, anew for each study seed: fold `fold` is
    tested and all others train.

    Raises InputError where nobody is left to train or to test on, for more folds than benign or malignant patients,
    and where the profiles ask for what these patients cannot give (`check_demands`).
    """
    patients = cohort.patients
    if config.evaluation.folds:
        fewest = int(patients["malignant"].value_counts().min())
        if config.evaluation.folds > fewest:
            raise InputError(
                f"evaluation.folds: {config.evaluation.folds}, but only {fewest} patients are of the rarer kind, "
                "benign or malignant; every fold needs one"
            )
        dealer = StratifiedKFold(config.evaluation.folds, shuffle=True, random_state=seed_of("folds", seed) % 2**32)
        tested = patients.index[list(dealer.split(patients.index, patients["malignant"]))[fold][1]]
        trained = patients.index.difference(tested)
    else:
        tested = patients.index[patients["split"] == config.evaluation.test]
        trained = patients.index[patients["split"] == "train"].difference(tested)
    splits = ", ".join(sorted(patients["split"].unique()))
    if tested.empty:
        raise InputError(f"evaluation.test: the cohort has no split {config.evaluation.test!r}; it has {splits}")
    if trained.empty:
        raise InputError(f"evaluation.test: no patients are left to train on; the cohort has {splits}")

    check_demands(patients, config.hospitals)
    hospital_of = hospital_of_patients(cohort, config)
    validation = validation_patients(patients.loc[trained], hospital_of.loc[trained], config.hospitals)
    rows_of = {patient: rows.to_numpy() for patient, rows in cohort.manifest.groupby("patient").groups.items()}

    def rows(of: pd.Index) -> np.ndarray:
        return np.sort(np.concatenate([rows_of[patient] for patient in of] or [np.empty(0, dtype=np.int64)]))

    found = {}
    for name in [*names(cohort, config), ALL]:
        own = hospital_of.index if name == ALL else hospital_of.index[hospital_of == name]
        found[name] = Holder(
            name=name,
            training=tuple(rows_of[patient] for patient in own if patient in trained and patient not in validation),
            validation=rows(own[own.isin(validation)]),
            test=rows(own.intersection(tested)),
        )
        if not found[name].training:
            raise InputError(
                f"evaluation.folds: fold {fold} of seed {seed} tests all patients of {name} and leaves it none to "
                "train on; use fewer hospitals, more folds or another hospitals.seed"
            )
    return found
