import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmammo.evaluation.thresholds import Thresholds, choose_thresholds

TIED = st.tuples(st.integers(0, 1), st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]))


@pytest.mark.parametrize(
    ("benign", "rank"), [(9, 9), (10, 10), (18, 18), (19, 18), (20, 19), (29, 27), (30, 28), (99, 90)]
)
def test_specific_cut_by_hand(benign: int, rank: int) -> None:
    """Benign scores 1 ... n thousandths, malignant ones around: the cut is the score of rank ceil(.9 (n + 1)).

    .9 x 10 = 9, .9 x 11 = 9.9, .9 x 19 = 17.1, .9 x 20 = 18, .9 x 21 = 18.9, .9 x 30 = 27, .9 x 31 = 27.9,
    .9 x 100 = 90.
    """
    score = np.append(np.arange(benign, 0, -1) / 1000, [0.0005, 0.5, 0.9])
    label = np.append(np.zeros(benign, dtype=np.int64), [1, 1, 1])
    assert choose_thresholds(label, score).specific == rank / 1000


@pytest.mark.parametrize("benign", [0, 1, 8])
def test_eight_benign_units_give_no_specific_cut(benign: int) -> None:
    label = np.repeat([0, 1], [benign, 5])
    assert np.isnan(choose_thresholds(label, np.linspace(0.1, 0.9, len(label))).specific)


@pytest.mark.parametrize(("benign", "exactly"), [(9, 9 / 10), (10, 10 / 11), (19, 18 / 20), (20, 19 / 21)])
def test_expected_specificity_is_at_least_nine_tenths_in_simulation(benign: int, exactly: float) -> None:
    """Of a uniform score the cut is the specificity. Rank k of n has the expectation k / (n + 1).

    4000 draws, to within four standard errors of at most .0015.
    """
    rng = np.random.default_rng(0)
    label = np.zeros(benign, dtype=np.int64)
    cuts = [choose_thresholds(label, rng.random(benign)).specific for _ in range(4000)]
    assert exactly >= 0.9
    assert np.mean(cuts) == pytest.approx(exactly, abs=0.006)


def test_balanced_cut_by_hand() -> None:
    """Benign .1, .2, .6; malignant .4, .5, .9. Over .2 all malignant and one benign: (1 + 2/3) / 2.

    Over .6 one of three malignant and nobody benign: (1/3 + 1) / 2.
    """
    label, score = np.array([0, 0, 0, 1, 1, 1]), np.array([0.1, 0.2, 0.6, 0.4, 0.5, 0.9])
    assert choose_thresholds(label, score).balanced == 0.2


def test_of_equally_good_cuts_the_smallest_is_taken() -> None:
    """Benign .1 and .3, malignant .2 and .4: .1 clears one and misses none, .3 clears both and misses one."""
    assert choose_thresholds(np.array([0, 1, 0, 1]), np.array([0.1, 0.2, 0.3, 0.4])).balanced == 0.1
    assert choose_thresholds(np.array([0, 1, 0]), np.array([0.5, 0.5, 0.5])).balanced == 0.5


@given(st.lists(TIED, max_size=25))
def test_balanced_cut_is_the_best_and_the_smallest_of_the_best(pairs: list[tuple[int, float]]) -> None:
    label, score = (np.array([0, 1, *(one[place] for one in pairs)]) for place in (0, 1))

    def counted(cut: float) -> int:
        """Sensitivity plus specificity, times the sizes of both classes."""
        over, malignant = score > cut, label == 1
        found, cleared = (over & malignant).sum(), (~over & ~malignant).sum()
        return int(found * (~malignant).sum() + cleared * malignant.sum())

    everything = {cut: counted(cut) for cut in score}
    cut = choose_thresholds(label, score).balanced
    assert everything[cut] == max(everything.values())
    assert cut == min(one for one, value in everything.items() if value == everything[cut])


@pytest.mark.parametrize(("label", "specific"), [([], np.nan), ([1] * 12, np.nan), ([0] * 12, 0.12)])
def test_one_class_gives_no_balanced_cut(label: list[int], specific: float) -> None:
    """Of 12 benign units the rank is ceil(.9 x 13) = 12."""
    found = choose_thresholds(np.array(label, dtype=np.int64), np.arange(1, len(label) + 1) / 100)
    assert found == pytest.approx(Thresholds(np.nan, specific, np.nan), nan_ok=True)
