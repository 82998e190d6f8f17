"""What one holder of patients has for a deployment: who trains, who sets thresholds, who is tested."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fedmammo.config.deployment import Dealing, Deployment
from fedmammo.errors import InputError
from fedmammo.hospitals.case_mix import apportion
from fedmammo.randomness import generator_of

TRAIN = "train"


@dataclass(frozen=True)
class Holder:
    """Rows of the cohort's manifest; every patient is whole.

    Attributes:
        name: the hospital's name, or `all`.
        training: one array of rows per training patient, patients in sorted order.
        validation: rows of the patients that set thresholds.
        test: rows of the tested patients.
        trained: the training patients, by pseudonym, sorted.
        shown: the patients whose scores may leave: validation and test, likewise.
    """

    name: str
    training: tuple[np.ndarray, ...]
    validation: np.ndarray
    test: np.ndarray
    trained: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()

    @property
    def rows(self) -> np.ndarray:
        """All rows, sorted."""
        return np.sort(np.concatenate([*self.training, self.validation, self.test]))


def hold(name: str, patients: pd.DataFrame, rows_of: dict[str, np.ndarray], deployment: Deployment) -> Holder:
    """Divide a holder's own patients for a deployment. Nobody else's patients have a part in it.

    Args:
        name: of the holder.
        patients: its patients, indexed by patient in sorted order: malignant, split, hospital (of origin), pseudonym.
        rows_of: rows of the cohort's manifest by patient.
        deployment: says how.

    Raises InputError where nobody is left to train on.
    """
    training: list[str] = []
    validation: list[str] = []
    tested: list[str] = []
    for origin, group in patients.groupby("hospital", sort=True):
        parts = divide(str(origin), group, deployment)
        for found, part in zip((training, validation, tested), parts, strict=True):
            found.extend(part)
    if not training:
        raise InputError(
            f"{name}: no patient is left to train on in fold {deployment.fold} of seed {deployment.seed}; use fewer "
            "hospitals, more folds or another hospitals.seed"
        )

    def rows(of: Sequence[str]) -> np.ndarray:
        return np.sort(np.concatenate([rows_of[patient] for patient in of] or [np.empty(0, dtype=np.int64)]))

    pseudonym = patients["pseudonym"]
    return Holder(
        name,
        tuple(rows_of[patient] for patient in sorted(training)),
        rows(validation),
        rows(tested),
        tuple(sorted(pseudonym[training])),
        tuple(sorted(pseudonym[[*validation, *tested]])),
    )


def divide(hospital: str, patients: pd.DataFrame, deployment: Deployment) -> tuple[list[str], list[str], list[str]]:
    """Return a hospital's training, validation and tested patients.

    Without folds, those of the split `train` train and those of `test` are tested. With folds, patients of the splits
    `folds_over` are dealt to folds anew for each study seed: fold `fold` is tested, all others train; patients of other
    splits have no part.

    An inner fold of a deployment holds validation patients in place of those that `validation_fraction` takes.

    Of those who are left to train a study may take a fraction, by a hash too.

    Stratified, benign and malignant patients are dealt alike, at random. Else by a hash of seed and pseudonym: which
    patients train depends on nobody's label.
    """
    dealing = deployment.dealing
    if dealing.folds:
        patients = patients[patients["split"].isin(dealing.folds_over)]
        number = _folds(hospital, patients, dealing.stratified, dealing.folds, ("folds", deployment.seed))
        is_tested = number == deployment.fold
        is_training = ~is_tested
    else:
        is_tested = (patients["split"] == dealing.test).to_numpy()
        is_training = (patients["split"] == TRAIN).to_numpy() & ~is_tested
    training = patients[is_training]
    wanted = max(0, min(round(dealing.validation_fraction * len(training)), len(training) - 1))
    if deployment.inner_fold is not None:
        stream = ("inner folds", deployment.seed, deployment.fold)
        number = _folds(hospital, training, dealing.stratified, deployment.inner_folds, stream)
        left_out = training.index[number == deployment.inner_fold]
        chosen = set(left_out[: len(training) - 1])  # a hospital's only patient trains in all of them
    elif dealing.stratified:
        chosen = _of_both_labels(training, wanted, generator_of(deployment.draw, "hospitals", "validation", hospital))
    else:
        chosen = set(_by_hash(training, "validation", deployment.draw)[:wanted])
    left = training[~training.index.isin(chosen)]
    return (
        list(left.index[left.index.isin(_first(left, dealing, deployment.draw))]),
        [patient for patient in training.index if patient in chosen],
        list(patients.index[is_tested]),
    )


def _first(patients: pd.DataFrame, dealing: Dealing, draw: int) -> set[str]:
    """Return the fraction of patients that train: those of a smaller one are among those of a larger one.

    Stratified, of benign and of malignant patients alike; at least one of each.
    """
    if dealing.fraction == 1:
        return set(patients.index)
    kinds = [group for _, group in patients.groupby("malignant")] if dealing.stratified else [patients]
    chosen: set[str] = set()
    for kind in kinds:
        chosen.update(_by_hash(kind, "fraction", draw)[: max(1, round(dealing.fraction * len(kind)))])
    return chosen


def _folds(
    hospital: str, patients: pd.DataFrame, stratified: bool, folds: int, stream: tuple[str, *tuple[int, ...]]
) -> np.ndarray:
    """Number each patient's fold: folds differ by one patient at most. `stream`: what they are dealt for, and seeds."""
    generator = generator_of(*stream, hospital)
    if stratified:
        malignant = patients["malignant"].to_numpy(dtype=bool)
        parts = [generator.permutation(np.flatnonzero(malignant == label)) for label in (False, True)]
        order = np.concatenate(parts)
    else:
        position = {patient: number for number, patient in enumerate(patients.index)}
        order = np.array([position[patient] for patient in _by_hash(patients, *stream)], dtype=np.int64)
    number = np.empty(len(patients), dtype=np.int64)
    number[order] = (np.arange(len(patients)) + generator.integers(folds)) % folds
    return number


def _of_both_labels(patients: pd.DataFrame, wanted: int, generator: np.random.Generator) -> set[str]:
    """Choose patients at random, benign and malignant in proportion."""
    malignant = patients["malignant"].to_numpy(dtype=bool)
    chosen: set[str] = set()
    if not wanted:
        return chosen
    for label, count in enumerate(apportion(wanted, np.bincount(malignant, minlength=2))):
        chosen.update(generator.permutation(patients.index[malignant == label])[:count])
    return chosen


def _by_hash(patients: pd.DataFrame, purpose: str, *seeds: int) -> list[str]:
    """Order patients by the hash of purpose, seeds and pseudonym."""
    stream = "/".join(map(str, (purpose, *seeds)))

    def key(patient: str) -> str:
        return hashlib.sha256(f"{stream}/{patients['pseudonym'][patient]}".encode()).hexdigest()

    return sorted(patients.index, key=key)
