"""Who trains, sets thresholds and is tested, at each hospital and at the holder of all patients."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmammo.cohort.store import Cohort
from fedmammo.config.arm import ALL
from fedmammo.config.study import StudyConfig, parse
from fedmammo.errors import InputError
from fedmammo.hospitals.holder import Holder, holders, hospital_of_patients, names

Row = tuple[bool, int, str]


def cohort(patients: list[Row], shuffle: int = 0) -> Cohort:
    """A cohort of patients (malignant, images, split), whose images lie in any order."""
    rows = [
        {
            "patient": f"P_{number:05d}",
            "image": f"{number}-{image}",
            "malignant": malignant,
            "density": 2,
            "split": split,
        }
        for number, (malignant, images, split) in enumerate(patients)
        for image in range(images)
    ]
    manifest = pd.DataFrame(rows).sample(frac=1, random_state=shuffle).reset_index(drop=True)
    return Cohort(Path("nowhere"), manifest, np.empty(0), b"")  # type: ignore[arg-type]


def study(count: int = 3, **evaluation: Any) -> StudyConfig:
    return parse(
        {
            "name": "small",
            "cohort": {"path": "nowhere"},
            "hospitals": {"assignment": {"by": "uniform", "count": count}},
            "diagnosis": {"network": "test_vit", "image_size": 32, "optimizer": {"learning_rate": 0.1}},
            "federation": {"rounds": 1, "local_steps": 1},
            "evaluation": evaluation,
        },
        "small",
    )


def patients_of(cohort: Cohort, rows: np.ndarray) -> set[str]:
    return set(cohort.manifest["patient"].iloc[rows])


def training_rows(holder: Holder) -> np.ndarray:
    return np.sort(np.concatenate(holder.training))


def check_holders(
    of: Cohort, config: StudyConfig, found: dict[str, Holder], trained: set[str], tested: set[str]
) -> None:
    """Whole patients, each in one part of one hospital; `all` is the union of the hospitals."""
    hospital_of = hospital_of_patients(of, config)
    assert list(found) == [*names(of, config), ALL]
    for name, holder in found.items():
        own = set(hospital_of.index) if name == ALL else set(hospital_of.index[hospital_of == name])
        parts = [training_rows(holder), holder.validation, holder.test]
        patients = [patients_of(of, part) for part in parts]
        assert patients[0] | patients[1] == trained & own
        assert patients[2] == tested & own
        assert sum(map(len, patients)) == len(set.union(*patients)), "no patient in two parts"
        assert sum(map(len, parts)) == of.manifest["patient"].isin(set.union(*patients)).sum(), "patients are whole"
        for rows in holder.training:
            assert len(patients_of(of, rows)) == 1
        first = [of.manifest["patient"].iloc[rows[0]] for rows in holder.training]
        assert first == sorted(first)
        assert holder.rows.tolist() == sorted(np.concatenate(parts))
    hospitals = [found[name] for name in names(of, config)]
    for part in (training_rows, lambda holder: holder.validation, lambda holder: holder.test):
        assert part(found[ALL]).tolist() == sorted(np.concatenate([part(holder) for holder in hospitals]))


many_patients = st.lists(
    st.tuples(st.booleans(), st.integers(1, 4), st.sampled_from(["train", "train", "test", "val"])),
    min_size=12,
    max_size=60,
).map(lambda rows: [(True, 1, "train"), (False, 2, "train"), (True, 1, "train"), (False, 1, "test"), *rows])


@settings(max_examples=25, deadline=None)
@given(patients=many_patients, shuffle=st.integers(0, 9))
def test_without_folds_splits_say_who_trains_and_who_is_tested(patients: list[Row], shuffle: int) -> None:
    of, config = cohort(patients, shuffle), study()
    found = holders(of, config, seed=0, fold=0)
    split = of.patients["split"]
    check_holders(of, config, found, set(split.index[split == "train"]), set(split.index[split == "test"]))


@settings(max_examples=15, deadline=None)
@given(malignant=st.integers(8, 20), benign=st.integers(8, 20), folds=st.integers(2, 6), seed=st.integers(0, 9))
def test_folds_test_every_patient_once(malignant: int, benign: int, folds: int, seed: int) -> None:
    """Stratified: the counts of malignant patients differ by at most 1 between folds, and so do the benign ones."""
    splits = ["train", "test", "val"]
    of = cohort([(number < malignant, 1 + number % 3, splits[number % 3]) for number in range(malignant + benign)])
    config = study(count=2, folds=folds)
    everybody, tested = set(of.patients.index), []
    for fold in range(folds):
        found = holders(of, config, seed, fold)
        test = patients_of(of, found[ALL].test)
        check_holders(of, config, found, everybody - test, test)
        tested.append(test)
    assert sum(map(len, tested)) == len(set.union(*tested)) == len(everybody)
    for label in (True, False):
        counts = [int((of.patients["malignant"].loc[sorted(test)] == label).sum()) for test in tested]
        assert max(counts) - min(counts) <= 1


def test_folds_are_dealt_anew_for_each_seed_and_hospitals_are_not() -> None:
    of, config = cohort([(number % 2 == 0, 2, "train") for number in range(30)]), study(folds=3)
    first, again, other = (holders(of, config, seed, 0) for seed in (0, 0, 1))
    assert first[ALL].test.tolist() == again[ALL].test.tolist()
    assert first[ALL].test.tolist() != other[ALL].test.tolist()
    for name in names(of, config):
        assert patients_of(of, first[name].rows) == patients_of(of, other[name].rows)


def test_validation_is_the_same_in_every_arm_and_seed() -> None:
    """A fifth of each hospital's 10 training patients, 5 of them malignant: one benign and one malignant, or so."""
    of, config = cohort([(number % 2 == 0, 2, "train") for number in range(30)] + [(True, 1, "test")]), study()
    found, other = holders(of, config, 0, 0), holders(of, config, 7, 0)
    for name in names(of, config):
        assert len(patients_of(of, found[name].validation)) == 2
        assert found[name].validation.tolist() == other[name].validation.tolist()
        assert set(found[name].validation) <= set(found[ALL].validation)
    assert len(patients_of(of, found[ALL].validation)) == 6


@settings(max_examples=15, deadline=None)
@given(patients=many_patients, shuffle=st.integers(1, 9))
def test_patients_are_held_alike_whatever_the_order_of_images(patients: list[Row], shuffle: int) -> None:
    for config in (study(), study(folds=2)):
        first, second = cohort(patients, 0), cohort(patients, shuffle)
        try:
            found = holders(first, config, 0, 1)
        except InputError as refused:  # a fold may leave a small hospital nobody to train on
            with pytest.raises(InputError, match=re.escape(str(refused))):
                holders(second, config, 0, 1)
            continue
        for name, holder in found.items():
            other = holders(second, config, 0, 1)[name]
            assert patients_of(first, holder.test) == patients_of(second, other.test)
            assert patients_of(first, holder.validation) == patients_of(second, other.validation)


# Bad input


TEN = [(number % 2 == 0, 1, "train") for number in range(10)]


@pytest.mark.parametrize(
    ("patients", "evaluation", "expected"),
    [
        (TEN, {"test": "test"}, "evaluation.test: the cohort has no split 'test'; it has train"),
        (
            [*TEN, (True, 1, "val")],
            {"test": "tset"},
            "evaluation.test: the cohort has no split 'tset'; it has train, val",
        ),
        (TEN, {"test": "train"}, "evaluation.test: no patients are left to train on; the cohort has train"),
        ([(True, 1, "test")] * 4, {}, "evaluation.test: no patients are left to train on; the cohort has test"),
        (TEN, {"folds": 6}, "evaluation.folds: 6, but only 5 patients are of the rarer kind, benign or malignant"),
        (TEN, {"folds": 11}, "evaluation.folds: 11, but only 5 patients are of the rarer kind, benign or malignant"),
    ],
)
def test_nobody_to_train_or_to_test_on(patients: list[Row], evaluation: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        holders(cohort(patients), study(**evaluation), 0, 0)
    assert str(caught.value).startswith(expected)


def test_the_tested_split_does_not_matter_with_folds() -> None:
    found = holders(cohort(TEN), study(folds=5, test="train"), 0, 0)
    assert len(found[ALL].test) == 2


def test_a_hospital_whose_patients_are_all_tested_has_none_to_train_on() -> None:
    """Ten hospitals of one patient each: whoever is tested has nobody left."""
    with pytest.raises(InputError, match=r"^evaluation\.folds: fold 0 of seed 0 tests all patients of hospital-"):
        holders(cohort(TEN), study(count=10, folds=5), 0, 0)
