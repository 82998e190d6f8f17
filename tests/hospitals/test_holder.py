"""Who trains, sets thresholds and is tested at one holder, worked out from its own patients."""

import hashlib
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmammo.config.deployment import Deployment
from fedmammo.config.study import parse
from fedmammo.errors import InputError
from fedmammo.hospitals.case_mix import apportion
from fedmammo.hospitals.holder import Holder, divide, hold

Row = tuple[bool, str]
Parts = tuple[list[str], list[str], list[str]]


@cache
def deployment(
    seed: int = 0, draw: int = 0, fold: int = 0, fraction: float = 0.2, budget: bool = False, **evaluation: Any
) -> Deployment:
    if evaluation.get("folds"):
        evaluation = {"folds_over": ["train", "val", "test"], **evaluation}
    study = {
        "name": "small",
        "cohort": {"path": "nowhere"},
        "hospitals": {"assignment": {"by": "uniform", "count": 3}, "validation_fraction": fraction},
        "diagnosis": {"network": "test_vit", "image_size": 32, "optimizer": {"learning_rate": 0.1}},
        "federation": {"rounds": 1, "local_steps": 1},
        "evaluation": evaluation,
        "settings": ["real", "real-epsilon-6"] if budget else ["real"],
    }
    return parse(study, "small").deployment("federated", "real", seed, draw, fold)


def tried(one: Deployment, folds: int) -> list[Deployment]:
    return one.model_copy(update={"inner_folds": folds}).tried


def patients_of(rows: list[Row], hospitals: int = 1) -> pd.DataFrame:
    """Patients (malignant, split), dealt to hospitals in turn; pseudonyms are in another order than patients."""
    names = [f"P_{number:05d}" for number in range(len(rows))]
    malignant, split = zip(*rows, strict=True)
    return pd.DataFrame(
        {
            "malignant": np.array(malignant, dtype=bool),
            "split": list(split),
            "hospital": [f"hospital-{1 + number % hospitals}" for number in range(len(rows))],
            "pseudonym": [hashlib.sha256(name.encode()).hexdigest()[:16] for name in names],
        },
        index=pd.Index(names, name="patient"),
    )


def rows_of(patients: pd.DataFrame, images: int = 3) -> dict[str, np.ndarray]:
    """Rows of a manifest in which each patient has one to three images, far from one another."""
    count = len(patients)
    return {name: at + count * np.arange(1 + at % images) for at, name in enumerate(patients.index)}


many_patients = st.lists(st.tuples(st.booleans(), st.sampled_from(["train", "train", "test", "val"])), max_size=50).map(
    lambda rows: [(True, "train"), (False, "train"), (True, "train"), (False, "test"), *rows]
)


# Without folds


@settings(max_examples=30, deadline=None)
@given(rows=many_patients, budget=st.booleans(), hospitals=st.integers(1, 3))
def test_splits_say_who_trains_and_who_is_tested(rows: list[Row], budget: bool, hospitals: int) -> None:
    """Whole patients, each in one part; nobody of another split."""
    patients = patients_of(rows, hospitals)
    images = rows_of(patients)
    found = hold("all", patients, images, deployment(budget=budget))
    pseudonym = patients["pseudonym"]
    of_row = {int(row): name for name, own in images.items() for row in own}
    trained = [of_row[int(own[0])] for own in found.training]
    validation, tested = ({of_row[int(row)] for row in part} for part in (found.validation, found.test))
    assert trained == sorted(trained) and validation.isdisjoint(trained)
    assert {*trained, *validation} == set(patients.index[patients["split"] == "train"])
    assert tested == set(patients.index[patients["split"] == "test"])
    for own, name in zip(found.training, trained, strict=True):
        assert own.tolist() == images[name].tolist()
    for part, names in ((found.validation, validation), (found.test, tested)):
        assert part.tolist() == sorted(int(row) for name in names for row in images[name])
    assert found.trained == tuple(sorted(pseudonym[trained]))
    assert found.shown == tuple(sorted(pseudonym[[*validation, *tested]]))
    everybody = {*trained, *validation, *tested}
    assert found.rows.tolist() == sorted(int(row) for name in everybody for row in images[name])


@settings(max_examples=40, deadline=None)
@given(rows=many_patients, fraction=st.floats(0.01, 0.99), draw=st.integers(0, 100), budget=st.booleans())
def test_validation_patients_are_the_fraction_of_the_hospital(
    rows: list[Row], fraction: float, draw: int, budget: bool
) -> None:
    """One patient always trains; benign and malignant ones in proportion, unless the study has a budget."""
    patients = patients_of(rows)
    training, validation, _ = divide("A", patients, deployment(draw=draw, fraction=fraction, budget=budget))
    count = (patients["split"] == "train").sum()
    assert len(validation) == min(round(fraction * count), count - 1)
    assert len(training) == count - len(validation)
    if not budget:
        labels = np.bincount(patients.loc[patients["split"] == "train", "malignant"], minlength=2)
        quotas = apportion(len(validation), labels)
        assert np.bincount(patients.loc[validation, "malignant"], minlength=2).tolist() == quotas.tolist()


@pytest.mark.parametrize("budget", [False, True])
def test_validation_is_the_same_in_every_seed_and_another_in_another_draw(budget: bool) -> None:
    patients = patients_of([(number % 2 == 0, "train") for number in range(30)])
    first, seed, draw = (
        divide("A", patients, deployment(budget=budget, **keys))[1] for keys in ({}, {"seed": 7}, {"draw": 1})
    )
    assert first == seed and len(first) == len(draw) == 6 and first != draw


def test_hospitals_draw_their_validation_patients_apart() -> None:
    """Of the same numbers of patients other ones; under a budget it is pseudonyms that tell patients apart."""
    patients = patients_of([(number % 2 == 0, "train") for number in range(30)])
    assert divide("A", patients, deployment())[1] != divide("B", patients, deployment())[1]


@pytest.mark.parametrize(("folds", "purpose", "seed"), [(0, "validation", 5), (3, "folds", 4)])
def test_under_a_budget_patients_are_in_the_order_of_a_hash(folds: int, purpose: str, seed: int) -> None:
    """SHA-256 of what it is for, the seed and the pseudonym: worked out here by itself."""
    patients = patients_of([(number % 3 == 0, "train") for number in range(20)])
    hashed = {
        name: hashlib.sha256(f"{purpose}/{seed}/{pseudonym}".encode()).hexdigest()
        for name, pseudonym in patients["pseudonym"].items()
    }
    order = sorted(patients.index, key=lambda name: hashed[name])
    if not folds:
        _, validation, _ = divide("A", patients, deployment(draw=5, budget=True))
        assert set(validation) == set(order[:4])
        return
    tested = [set(divide("A", patients, deployment(seed=4, fold=fold, budget=True, folds=3))[2]) for fold in range(3)]
    dealt = [{name for place, name in enumerate(order) if place % 3 == first} for first in range(3)]
    assert sorted(map(sorted, tested)) == sorted(map(sorted, dealt))


# With folds


@settings(max_examples=25, deadline=None)
@given(rows=many_patients, folds=st.integers(2, 6), seed=st.integers(0, 9), budget=st.booleans())
def test_folds_test_every_patient_once(rows: list[Row], folds: int, seed: int, budget: bool) -> None:
    """Their sizes differ by 1 at most; so do their malignant and their benign patients, unless there is a budget."""
    patients = patients_of(rows)
    parts = [
        divide("A", patients, deployment(seed=seed, fold=fold, budget=budget, folds=folds)) for fold in range(folds)
    ]
    everybody = sorted(patients.index)
    for part in parts:
        assert sorted(name for names in part for name in names) == everybody
    tested = [part[2] for part in parts]
    assert sorted(name for names in tested for name in names) == everybody
    counts = [list(map(len, tested))]
    if not budget:
        counts += [[int((patients.loc[names, "malignant"] == label).sum()) for names in tested] for label in (0, 1)]
    assert all(max(count) - min(count) <= 1 for count in counts)


@settings(max_examples=25, deadline=None)
@given(rows=many_patients, inner=st.integers(2, 5), fold=st.integers(0, 2))
def test_inner_folds_leave_every_training_patient_out_once(rows: list[Row], inner: int, fold: int) -> None:
    """The tested of the outer fold are tested still, and have no part; sizes differ by 1 at most."""
    patients, outer = patients_of(rows), deployment(fold=fold, folds=3, fraction=0.3)
    training, validation, tested = divide("A", patients, outer)
    parts = [divide("A", patients, one) for one in tried(outer, inner)]
    left_out = [part[1] for part in parts]
    alone = len(training + validation) < 2
    assert sorted(name for names in left_out for name in names) == ([] if alone else sorted(training + validation))
    for part in parts:
        assert part[0], "a hospital's only patient trains in all of them"
        assert sorted(part[0] + part[1]) == sorted(training + validation)
        assert part[2] == tested
    assert max(map(len, left_out)) - min(map(len, left_out)) <= 1


def test_inner_folds_are_others_in_another_outer_fold_and_seed() -> None:
    patients = patients_of([(number % 2 == 0, "train") for number in range(60)])
    found = {
        tuple(divide("A", patients, tried(deployment(folds=3, **keys), 2)[0])[1])
        for keys in ({}, {"fold": 1}, {"seed": 1})
    }
    assert len(found) == 3


@pytest.mark.parametrize("budget", [False, True])
def test_folds_are_dealt_anew_for_each_seed_and_not_for_each_draw(budget: bool) -> None:
    patients = patients_of([(number % 2 == 0, "train") for number in range(30)])
    first, again, draw, other = (
        divide("A", patients, deployment(budget=budget, folds=3, **keys))[2]
        for keys in ({}, {}, {"draw": 1}, {"seed": 1})
    )
    assert first == again == draw != other


def test_the_tested_split_does_not_matter_with_folds() -> None:
    patients = patients_of([(number % 2 == 0, "train") for number in range(10)])
    first, other = (divide("A", patients, deployment(folds=5, test=test)) for test in ("train", "test"))
    assert first == other and len(first[2]) == 2


@pytest.mark.parametrize(
    ("evaluation", "open_splits"),
    [
        ({}, {"train", "val"}),
        ({"test": "val"}, {"train", "test"}),
        ({"folds_over": ("train",)}, {"train"}),
        ({"test": "val", "folds_over": ("val", "train")}, {"train", "val"}),
    ],
)
def test_splits_that_are_no_part_of_folds_stay_shut(evaluation: dict[str, Any], open_splits: set[str]) -> None:
    """Without `folds_over` that is the one named as test; nobody of it trains, sets thresholds or is tested."""
    patients = patients_of([(number % 2 == 0, ("train", "val", "test")[number % 3]) for number in range(30)])
    for budget in (False, True):
        for fold in range(2):
            one = deployment(fold=fold, budget=budget, folds=2, **{"folds_over": None, **evaluation})
            parts = divide("A", patients, one)
            assert {patients["split"][name] for part in parts for name in part} == open_splits
            assert sum(map(len, parts)) == patients["split"].isin(open_splits).sum()


# Nobody else's patients, and under a budget nobody's label, has a part in it


@settings(max_examples=20, deadline=None)
@given(rows=many_patients, budget=st.booleans(), folds=st.sampled_from([0, 2]))
def test_who_holds_everybody_divides_each_hospital_as_it_does_itself(rows: list[Row], budget: bool, folds: int) -> None:
    patients = patients_of(rows, hospitals=3)
    one = deployment(budget=budget, folds=folds)
    images = rows_of(patients)
    groups = {name: group for name, group in patients.groupby("hospital") if len(group) >= 4}
    patients = pd.concat(groups.values()).sort_index() if groups else patients[:0]
    try:
        own = [hold(str(name), group, images, one) for name, group in groups.items()]
    except InputError:
        return
    if own:
        whole = hold("all", patients, images, one)
        assert whole.rows.tolist() == sorted(np.concatenate([holder.rows for holder in own]))
        for part in ("validation", "test"):
            assert getattr(whole, part).tolist() == sorted(np.concatenate([getattr(holder, part) for holder in own]))
        for part in ("trained", "shown"):
            assert getattr(whole, part) == tuple(sorted(name for holder in own for name in getattr(holder, part)))


def flipped(patients: pd.DataFrame, who: int) -> pd.DataFrame:
    malignant = patients["malignant"].to_numpy(copy=True)
    malignant[who % len(patients)] ^= True
    return patients.assign(malignant=malignant)


def parts_of(patients: pd.DataFrame, folds: int, fraction: float, budget: bool) -> list[Parts]:
    return [
        divide("A", patients, deployment(seed, draw, fold, fraction, budget, folds=folds))
        for seed, draw in ((0, 0), (1, 2))
        for fold in range(max(1, folds))
    ]


@settings(max_examples=40, deadline=None)
@given(
    rows=many_patients,
    who=st.integers(0, 60),
    folds=st.sampled_from([0, 2, 5]),
    fraction=st.floats(0.05, 0.6),
)
def test_a_label_moves_nobody_in_a_study_with_a_budget(rows: list[Row], who: int, folds: int, fraction: float) -> None:
    """Sizes are declared and scores of those who do not train leave: else they would tell a trained patient's label."""
    patients = patients_of(rows)
    assert parts_of(patients, folds, fraction, True) == parts_of(flipped(patients, who), folds, fraction, True)


@pytest.mark.parametrize("folds", [0, 3])
def test_a_label_does_move_patients_where_no_setting_has_a_budget(folds: int) -> None:
    """So that the property above is one of the rule, not of the test."""
    patients = patients_of([(number % 3 == 0, "train") for number in range(20)])
    moved = [
        who
        for who in range(20)
        if parts_of(patients, folds, 0.3, False) != parts_of(flipped(patients, who), folds, 0.3, False)
    ]
    assert moved


def test_every_setting_of_a_study_divides_alike() -> None:
    """Those without a budget too: their scores leave beside."""
    study = deployment(budget=True)
    patients = patients_of([(number % 3 == 0, "train") for number in range(20)])
    private = study.model_copy(update={"setting_name": "real-epsilon-6"})
    assert divide("A", patients, study) == divide("A", patients, private)


# Bad input


TEN: list[Row] = [(number % 2 == 0, "train") for number in range(10)]


def held(rows: list[Row], hospitals: int = 1, **keys: Any) -> Holder:
    patients = patients_of(rows, hospitals)
    return hold("A", patients, rows_of(patients), deployment(**keys))


@pytest.mark.parametrize(
    ("rows", "keys"),
    [
        (TEN, {"test": "train"}),
        ([(True, "test")] * 4, {}),
        ([(True, "val")] * 4, {"test": "test"}),
    ],
)
def test_nobody_to_train_on(rows: list[Row], keys: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"^A: no patient is left to train on in fold 0 of seed 0; use fewer"):
        held(rows, **keys)


def test_a_hospital_whose_only_patient_is_tested_has_none_to_train_on() -> None:
    """In one fold of five; in the other four it trains."""
    refused = 0
    for fold in range(5):
        try:
            assert len(held([(True, "train")], folds=5, fold=fold).training) == 1
        except InputError as error:
            assert str(error).startswith(f"A: no patient is left to train on in fold {fold} of seed 0; use fewer")
            refused += 1
    assert refused == 1


def test_nobody_to_test_is_no_error_at_one_hospital() -> None:
    assert len(held(TEN).test) == 0 and len(held(TEN).validation) > 0
