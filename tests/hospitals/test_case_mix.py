"""Whole numbers of patients that fit sizes and case mixes: oracles by hand, by enumeration, and properties."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmammo.hospitals.case_mix import MASSES, PREVALENCE, apportion, fit, known, nearest_whole, rake, targets
from fedmammo.hospitals.profiles import Profile

counts = st.integers(0, 40)


def hospitals(*targets: tuple[float | None, tuple[float, ...] | None]) -> list[Profile]:
    return [Profile(name=f"h{i}", prevalence=p, density=d) for i, (p, d) in enumerate(targets)]  # type: ignore[arg-type]


def two_labels(benign: int, malignant: int) -> np.ndarray:
    """Patients of density 2 only."""
    kinds = np.zeros((2, 5), dtype=np.int64)
    kinds[:, 2] = benign, malignant
    return kinds


def fit_masses(kinds: np.ndarray, profiles: list[Profile]) -> np.ndarray:
    """Fit patients by label and density (2 x 5), all of whose lesions are masses: hospitals x 2 x 5."""
    return fit(np.stack([0 * kinds, kinds, 0 * kinds], axis=2), profiles).sum(3)


def test_largest_remainder_by_hand() -> None:
    """10 patients by 5:3:3 are quotas 4.545, 2.727, 2.727: 4, 2, 2 and the two left go to the larger remainders."""
    assert apportion(10, [5, 3, 3]).tolist() == [4, 3, 3]
    assert apportion(5, [1, 1]).tolist() == [3, 2]
    assert apportion(3, [0.1, 0.1, 0.1]).tolist() == [1, 1, 1]


@given(st.integers(0, 5000), st.lists(st.floats(0.001, 1000), min_size=1, max_size=12))
def test_each_number_is_its_quota_rounded_down_or_up(total: int, shares: list[float]) -> None:
    numbers = apportion(total, shares)
    assert numbers.sum() == total
    assert (np.abs(numbers - total * np.array(shares) / sum(shares)) < 1 + 1e-6).all()


def test_raking_by_hand() -> None:
    """Asked: 80 and 20 malignant of 100 each, but only 80 are there.

    Raking divides both odds (4 and 1/4) by the same factor: 4k/(1 + 4k) + k/(4 + k) = 0.8 is
    4.8 k^2 + 3.4 k - 3.2 = 0, k = (sqrt(73) - 3.4) / 9.6 = 0.535834, hence prevalences .681867 and .118133.
    """
    table = rake(np.array([[20.0, 80.0], [80.0, 20.0]]), [100, 100], [120, 80])
    np.testing.assert_allclose(table[:, 1], [68.1867, 11.8133], atol=1e-4)
    np.testing.assert_allclose(table.sum(1), 100)


def test_rounding_by_hand() -> None:
    """Nearest is 2, 0 / 0, 2; where all four cells are one half, one of the two diagonals is taken."""
    assert nearest_whole(np.array([[1.6, 0.4], [0.4, 1.6]]), [2, 2], [2, 2]).tolist() == [[2, 0], [0, 2]]
    assert sorted(nearest_whole(np.full((2, 2), 0.5), [1, 1], [1, 1]).tolist()) == [[0, 1], [1, 0]]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=2, max_size=2), st.integers(0, 2**32))
def test_no_other_rounding_is_nearer(whole: list[list[int]], seed: int) -> None:
    """All tables of cells rounded down or up with the right sums are enumerated."""
    rows, columns = np.sum(whole, 1), np.sum(whole, 0)
    table = rake(np.random.default_rng(seed).uniform(0.1, 1, (2, 3)), rows, columns)
    rounded = nearest_whole(table, rows, columns)
    assert (rounded.sum(1) == rows).all()
    assert (rounded.sum(0) == columns).all()
    assert (np.abs(rounded - table) < 1 + 1e-6).all()
    low = np.floor(table + 1e-6)
    others = [low + np.reshape(up, (2, 3)) for up in itertools.product((0, 1), repeat=6)]
    valid = [other for other in others if (other.sum(1) == rows).all() and (other.sum(0) == columns).all()]
    assert ((rounded - table) ** 2).sum() <= min(((other - table) ** 2).sum() for other in valid) + 1e-6


def test_targets_that_add_up_are_met() -> None:
    """Two hospitals of 50: .6 and .2 need 30 + 10 = 40 malignant patients, which are there."""
    fitted = fit_masses(two_labels(60, 40), hospitals((0.6, None), (0.2, None)))
    assert fitted.sum(2).tolist() == [[20, 30], [40, 10]]


def test_a_hospital_without_targets_takes_what_is_left() -> None:
    assert fit_masses(two_labels(60, 40), hospitals((0.6, None), (None, None))).sum(2).tolist() == [[20, 30], [40, 10]]


def test_a_hospital_gets_all_there_are_where_it_asks_for_more() -> None:
    """45 malignant patients are asked for, 30 are there, and the other hospital does not mind having none."""
    assert fit_masses(two_labels(70, 30), hospitals((0.9, None), (None, None))).sum(2).tolist() == [[20, 30], [50, 0]]


def test_all_give_way_by_the_same_odds_where_targets_cannot_be_met() -> None:
    """As in the raking by hand: 68.2 and 11.8 are rounded."""
    assert fit_masses(two_labels(120, 80), hospitals((0.8, None), (0.2, None))).sum(2).tolist() == [[32, 68], [88, 12]]


def test_density_targets_that_add_up_are_met_beside_the_prevalence() -> None:
    """40 patients a hospital; 20 of each class. Asked: 15 of classes 1 and 2, 5 of 3 and 4, and the reverse."""
    kinds = np.zeros((2, 5), dtype=np.int64)
    kinds[:, 1:] = 10
    fitted = fit_masses(kinds, hospitals((0.75, (0.375, 0.375, 0.125, 0.125)), (0.25, (0.125, 0.125, 0.375, 0.375))))
    assert fitted.sum(2).tolist() == [[10, 30], [30, 10]]
    assert np.abs(fitted.sum(1)[:, 1:] - [[15, 15, 5, 5], [5, 5, 15, 15]]).max() <= 1


def test_unknown_densities_do_not_count_towards_the_density_target() -> None:
    """Each of two hospitals of 20 has 10 patients of known density; the first asks for class 1 only and gets all 10."""
    kinds = np.zeros((2, 5), dtype=np.int64)
    kinds[0, :3] = 20, 10, 10
    first, second = fit_masses(kinds, hospitals((None, (1, 0, 0, 0)), (None, (0, 1, 0, 0)))).sum(1)
    assert first.tolist() == [10, 10, 0, 0, 0]
    assert second.tolist() == [10, 0, 10, 0, 0]


def test_extreme_targets_and_a_single_label() -> None:
    """Everybody asks for malignant patients only, but there are none."""
    assert (
        fit_masses(two_labels(9, 0), hospitals((1, None), (1, (0, 0, 0, 1)), (0, None))).sum(2).tolist() == [[3, 0]] * 3
    )
    assert fit_masses(two_labels(0, 0), hospitals((1, None), (None, None))).sum() == 0


def test_hospitals_that_all_ask_for_one_label_share_the_other_by_size() -> None:
    """Sizes 4 and 12 of 8 benign and 8 malignant patients: equal targets leave equal prevalences."""
    profiles = [Profile(name="a", share=1, prevalence=1), Profile(name="b", share=3, prevalence=1)]
    assert fit_masses(two_labels(8, 8), profiles).sum(2).tolist() == [[2, 2], [6, 6]]


fractions = st.none() | st.floats(0, 1)
mixes = st.none() | st.sampled_from([(1, 0, 0, 0), (0.25, 0.25, 0.25, 0.25), (0.1, 0.2, 0.3, 0.4), (0, 0.5, 0.5, 0)])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(counts, min_size=10, max_size=10),
    st.lists(st.tuples(st.floats(0.01, 100), fractions, mixes), min_size=1, max_size=5),
)
def test_sizes_and_patients_always_add_up(
    kinds: list[int], asked: list[tuple[float, float, tuple[float, ...]]]
) -> None:
    profiles = [
        Profile(name=f"h{i}", share=share, prevalence=prevalence, density=density)  # type: ignore[arg-type]
        for i, (share, prevalence, density) in enumerate(asked)
    ]
    fitted = fit_masses(np.reshape(kinds, (2, 5)), profiles)
    assert (fitted >= 0).all()
    assert (fitted.sum(0) == np.reshape(kinds, (2, 5))).all()
    assert (fitted.sum((1, 2)) == apportion(sum(kinds), [profile.share for profile in profiles])).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).filter(any), min_size=2, max_size=5))
def test_prevalences_that_some_dealing_has_are_found_again(dealt: list[tuple[int, int]]) -> None:
    profiles = [
        Profile(name=f"h{i}", share=benign + malignant, prevalence=malignant / (benign + malignant))
        for i, (benign, malignant) in enumerate(dealt)
    ]
    benign, malignant = np.sum(dealt, 0)
    assert fit_masses(two_labels(benign, malignant), profiles).sum(2).tolist() == [list(pair) for pair in dealt]


@pytest.mark.parametrize("seed", range(5))
def test_case_mixes_that_some_dealing_has_are_nearly_found_again(seed: int) -> None:
    dealt = np.random.default_rng(seed).integers(2, 40, (4, 2, 5))
    profiles = [
        Profile(
            name=f"h{i}",
            share=table.sum(),
            prevalence=table[1].sum() / table.sum(),
            density=tuple(table[:, 1:].sum(0) / table[:, 1:].sum()),
        )
        for i, table in enumerate(dealt)
    ]
    fitted = fit_masses(dealt.sum(0), profiles)
    assert (np.abs(fitted.sum(2) - dealt.sum(2)) <= 1).all()
    of_density, asked = fitted[:, :, 1:].sum(1), dealt[:, :, 1:].sum(1)
    achieved, wanted = of_density / of_density.sum(1, keepdims=True), asked / asked.sum(1, keepdims=True)
    assert np.abs(achieved - wanted).max() < 0.02


# Types of lesions


def test_lesion_targets_are_met_beside_the_prevalence() -> None:
    """Two hospitals of 40; 40 masses and 40 calcifications, half of each malignant.

    Asked of the first: 30 masses, 24 malignant; of the second: 10 and 16. Together 40 and 40, which are there.
    """
    kinds = np.zeros((2, 5, 3), dtype=np.int64)
    kinds[:, 2, 1:] = 20
    profiles = [Profile(name="a", prevalence=0.6, masses=0.75), Profile(name="b", prevalence=0.4, masses=0.25)]
    fitted = fit(kinds, profiles)
    assert fitted.sum((2, 3)).tolist() == [[16, 24], [24, 16]]
    assert known(fitted, MASSES).tolist() == [[30, 10], [10, 30]]


def test_what_does_not_differ_is_not_asked_for() -> None:
    """All lesions are masses, but for one of unknown type; so a target for masses moves nobody."""
    kinds = np.zeros((2, 5, 3), dtype=np.int64)
    kinds[:, 2, 1] = 10
    kinds[0, 2, 0] = 4
    profiles = [Profile(name="a", prevalence=0.5, masses=0.1), Profile(name="b", masses=0.9)]
    without = [profile.model_copy(update={"masses": None}) for profile in profiles]
    assert fit(kinds, profiles).tolist() == fit(kinds, without).tolist()
    assert list(targets(kinds, profiles)) == [PREVALENCE]
    assert targets(kinds, profiles)[PREVALENCE][0].tolist() == [0.5, 0.5]
    assert np.isnan(targets(kinds, profiles)[PREVALENCE][1]).all()


@settings(max_examples=25, deadline=None)
@given(st.lists(counts, min_size=30, max_size=30), st.lists(st.tuples(fractions, fractions), min_size=1, max_size=4))
def test_types_of_lesions_add_up_too(kinds: list[int], asked: list[tuple[float | None, float | None]]) -> None:
    profiles = [Profile(name=f"h{i}", prevalence=p, masses=m, share=i + 1) for i, (p, m) in enumerate(asked)]
    fitted = fit(np.reshape(kinds, (2, 5, 3)), profiles)
    assert (fitted >= 0).all()
    assert (fitted.sum(0) == np.reshape(kinds, (2, 5, 3))).all()
    assert (fitted.sum((1, 2, 3)) == apportion(sum(kinds), [profile.share for profile in profiles])).all()
