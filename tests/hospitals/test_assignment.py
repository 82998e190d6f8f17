"""Every rule deals every patient once, by the shares it promises, whatever the order of rows."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fedmammo.config.sections import HospitalsConfig
from fedmammo.errors import InputError
from fedmammo.hospitals.assignment import assign, hospital_names
from fedmammo.hospitals.summary import holdings

RULES: dict[str, dict[str, Any]] = {
    "profiles": {"by": "profiles", "profiles": ["university_hospital", "screening_centre", "rural_clinic"]},
    "uniform": {"by": "uniform", "count": 3},
    "size_skew": {"by": "size_skew", "count": 3, "ratio": 1.5},
    "dirichlet": {"by": "dirichlet", "count": 3, "alpha": 0.5},
    "attribute": {"by": "attribute", "attribute": "density"},
}
SPLITS = ("train", "val", "test")

Row = tuple[bool, int | None, str]


def config(rule: str, seed: int = 0, **changes: Any) -> HospitalsConfig:
    return HospitalsConfig.model_validate({"assignment": RULES[rule] | changes, "seed": seed})


def cohort(rows: list[Row]) -> pd.DataFrame:
    malignant, density, split = zip(*rows, strict=True)
    return pd.DataFrame(
        {
            "malignant": np.array(malignant, dtype=bool),
            "density": pd.array(density, dtype="Int64"),
            "split": list(split),
            "images": 2,
        },
        index=pd.Index([f"P_{number:05d}" for number in range(len(rows))], name="patient"),
    )


def drawn(patients: int, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    draw = generator.random((patients, 3))
    return cohort([(a < 0.4, int(5 * b), "train" if c < 0.8 else "val") for a, b, c in draw])


cohorts = st.lists(
    st.tuples(st.booleans(), st.none() | st.integers(0, 4), st.sampled_from(SPLITS)), min_size=1, max_size=60
).map(cohort)


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=20, deadline=None)
@given(patients=cohorts, seed=st.integers(0, 2**40), shuffle=st.integers(0, 2**32))
def test_every_patient_once_whatever_the_order(rule: str, patients: pd.DataFrame, seed: int, shuffle: int) -> None:
    try:
        hospital_of = assign(patients, config(rule, seed))
    except InputError as error:
        unshared = "hospitals.assignment.attribute: density is another for every training patient"
        assert str(error).startswith(("hospitals.assignment: no ", unshared))
        assume(False)
    assert hospital_of.index.equals(patients.index)
    names = hospital_names(config(rule, seed), patients)
    training = patients["split"].eq("train") if patients["split"].eq("train").any() else patients["split"].ne("")
    assert set(hospital_of[training]) == set(names)
    assert set(hospital_of) == set(names)

    shuffled = patients.sample(frac=1, random_state=shuffle % 2**31)
    again = assign(shuffled, config(rule, seed))
    assert again.index.equals(shuffled.index)
    assert again.loc[patients.index].equals(hospital_of)


@given(patients=cohorts, count=st.integers(1, 6), ratio=st.floats(1, 4))
@settings(max_examples=40, deadline=None)
def test_sizes_are_within_one_patient_of_the_shares_in_every_split(
    patients: pd.DataFrame, count: int, ratio: float
) -> None:
    for rule, changes in (("uniform", {}), ("size_skew", {"ratio": ratio})):
        chosen = config(rule, count=count, **changes)
        try:
            hospital_of = assign(patients, chosen)
        except InputError:
            continue
        weights = np.array([changes.get("ratio", 1.0) ** -number for number in range(count)])
        for _, members in patients.groupby("split"):
            sizes = hospital_of[members.index].value_counts().reindex(hospital_names(chosen, patients), fill_value=0)
            assert (np.abs(sizes - len(members) * weights / weights.sum()) < 1 + 1e-6).all()


def test_size_skew_by_hand() -> None:
    """70 patients by 4:2:1 are 40, 20 and 10."""
    patients = cohort([(False, 1, "train")] * 70)
    sizes = assign(patients, config("size_skew", ratio=2)).value_counts()
    assert sizes.to_dict() == {"hospital-1": 40, "hospital-2": 20, "hospital-3": 10}


def test_profiles_get_their_sizes_and_prevalences_in_every_split() -> None:
    """Shares 45:35:20 of 1000 patients; .60, .35 and .46 ask for 270 + 122.5 + 92 = 484.5 of 500 malignant patients.

    So all give way by the same odds, which near one half is 1.55 percentage points for each; a patient is up to .005.
    """
    rows: list[Row] = [(label, None, "train") for label in (False, True)] * 500
    rows += [(label, None, "val") for label in (False, True)] * 250
    patients = cohort(rows)
    hospital_of = assign(patients, config("profiles"))
    asked = pd.Series({"rural_clinic": 0.46, "screening_centre": 0.35, "university_hospital": 0.60})
    for split, total in (("train", 1000), ("val", 500)):
        groups = patients[patients["split"] == split].groupby(hospital_of)
        assert (groups.size() / total).tolist() == [0.2, 0.35, 0.45]
        assert (groups["malignant"].mean() - asked).between(0.010, 0.021).all()


def test_profiles_get_their_densities_where_the_cohort_has_them() -> None:
    """The cohort's classes 18 : 44 : 28 : 10 are what the three profiles ask for together, to the percent."""
    rows: list[Row] = []
    for density, count in enumerate((180, 440, 280, 100), start=1):
        rows += [(number % 25 < 12, density, "train") for number in range(count)]
    patients = cohort(rows)
    table = holdings(patients, assign(patients, config("profiles")), config("profiles"))
    for column in ("share", "prevalence", *(f"density {i}" for i in range(1, 5))):
        assert (table[column] - table[f"{column} asked"]).abs().max() < 0.015


def test_dirichlet_shares_are_the_same_in_every_split() -> None:
    """Splits of the same make-up are dealt the same numbers, though not the same at all hospitals."""
    rows: list[Row] = [(label, 1, split) for label in (False, True) for split in ("train", "val")] * 50
    patients = cohort(rows)
    hospital_of = assign(patients, config("dirichlet", seed=3))
    counts = pd.crosstab([patients["split"], patients["malignant"]], hospital_of)
    assert counts.loc["train"].equals(counts.loc["val"])
    assert counts.loc["train"].nunique(axis=1).gt(1).all()


def test_alpha_sets_how_much_hospitals_differ() -> None:
    patients = cohort([(i % 2 == 0, 1, "train") for i in range(400)])

    def spread(alpha: float) -> float:
        deals = [assign(patients, config("dirichlet", seed, alpha=alpha)) for seed in range(20)]
        return float(np.mean([patients.groupby(deal)["malignant"].mean().std() for deal in deals]))

    assert spread(1e6) < 0.01
    assert spread(10.0) < 0.5 * spread(0.3)


def test_dirichlet_leaves_no_hospital_without_training_patients() -> None:
    patients = drawn(400)
    training = patients["split"] == "train"
    for seed in range(20):
        hospital_of = assign(patients, config("dirichlet", seed, count=5, alpha=0.1))
        assert hospital_of[training].nunique() == 5


def test_density_hospitals_hold_their_density_and_unknown_ones_in_proportion() -> None:
    """10 patients of class 1, 20 of class 3, and 6 unknown ones, which go 2 and 4."""
    rows: list[Row] = [(False, 1, "train")] * 10 + [(False, 3, "train")] * 20
    rows += [(False, None, "train")] * 3 + [(False, 0, "train")] * 3
    patients = cohort(rows)
    hospital_of = assign(patients, config("attribute"))
    assert hospital_names(config("attribute"), patients) == ["density-1", "density-3"]
    assert (hospital_of[:10] == "density-1").all()
    assert (hospital_of[10:30] == "density-3").all()
    assert hospital_of[30:].value_counts().to_dict() == {"density-3": 4, "density-1": 2}


@pytest.mark.parametrize("rule", ["profiles", "uniform", "size_skew", "dirichlet"])
def test_the_seed_changes_who_holds_whom_and_nothing_else_does(rule: str) -> None:
    patients = drawn(100)
    first, again, other = (assign(patients, config(rule, seed)) for seed in (0, 0, 1))
    assert first.equals(again)
    assert not first.equals(other)


def test_one_split_is_dealt_the_same_whether_or_not_there_is_another() -> None:
    patients = drawn(100)
    training = patients[patients["split"] == "train"]
    assert assign(training, config("profiles")).equals(assign(patients, config("profiles"))[training.index])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("malignant", [False, True])
def test_a_cohort_of_one_label_is_dealt(rule: str, malignant: bool) -> None:
    patients = cohort([(malignant, 1 + number % 4, "train") for number in range(40)])
    assert len(assign(patients, config(rule))) == 40


@pytest.mark.parametrize(
    ("rule", "changes", "remedy"),
    [
        ("uniform", {"count": 4}, "for hospital-4; lower count (4)"),
        ("size_skew", {"ratio": 100}, "for hospital-2, hospital-3; lower count (3) or ratio (100)"),
        ("dirichlet", {"count": 4}, "raise alpha (0.5) or lower count (4)"),
        ("dirichlet", {"alpha": 1e-12, "count": 4}, "raise alpha (1e-12) or lower count (4)"),
    ],
)
def test_a_hospital_without_training_patients_is_an_error(rule: str, changes: dict[str, Any], remedy: str) -> None:
    patients = cohort([(False, 2, "train")] * 3 + [(True, 4, "val")] * 9)
    with pytest.raises(InputError) as error:
        assign(patients, config(rule, **changes))
    assert str(error.value).startswith("hospitals.assignment: no training patient (of 3) for ")
    assert remedy in str(error.value)


def test_more_profiles_than_patients_is_an_error() -> None:
    with pytest.raises(InputError, match="for rural_clinic; raise its share, or name fewer profiles"):
        assign(cohort([(False, 2, "train")] * 2), config("profiles"))


def test_no_density_at_all_is_an_error() -> None:
    with pytest.raises(InputError, match="no training patient of the cohort has a density; deal"):
        assign(cohort([(False, None, "train")]), config("attribute"))
