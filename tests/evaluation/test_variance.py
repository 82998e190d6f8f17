from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from scipy.stats import t as student

from fedmammo.evaluation.ranking import auroc
from fedmammo.evaluation.tested import Flags, Floats
from fedmammo.evaluation.tested import Tested as Units  # a name that pytest takes for no test
from fedmammo.evaluation.variance import Sample, combined, covariance_of, spread_of

PUBLISHED = Path(__file__).parent / "published"


def auroc_sample(label: np.ndarray, scores: Sequence[np.ndarray], patient: np.ndarray) -> Sample:
    """The AUROC of several readers (one a repeat) of the same units."""
    count, none = len(label), np.full(len(label), np.nan)
    values, influence = np.empty((len(scores), 1)), np.zeros((len(scores), 1, 2, int(patient.max()) + 1))
    for reader, score in enumerate(scores):
        found = auroc(Units(label, score.astype(float), patient, np.zeros(count, dtype=np.int64), none, none, none))
        values[reader] = found.value
        for kind in (0, 1):
            np.add.at(influence[reader, 0, kind], patient[label == kind], found.influence[label == kind])
    has = np.zeros((2, influence.shape[-1]), dtype=bool)
    has[label, patient] = True
    return Sample(values, influence, has, int(has.sum(axis=1).min()))


@pytest.fixture(scope="module")
def van_dyke() -> list[Sample]:
    """Both treatments: five readers as five repeats."""
    table = pd.read_csv(PUBLISHED / "vandyke.csv")
    found = []
    for _, rows in table.groupby("treatment"):
        truth = rows[rows["reader"] == 1].sort_values("case")["truth"].to_numpy()
        scores = [own.sort_values("case")["rating"].to_numpy() / 5 for _, own in rows.groupby("reader")]
        found.append(auroc_sample(truth, scores, np.arange(114)))
    return found


def jackknifed(sample: Sample) -> Sample:
    """Scale influences so that their covariances are the jackknife's instead of DeLong's.

    Without case i of a class of m, the AUROC moves by influence / (1 - 1/m) exactly; the jackknife sums (N - 1) / N
    times such squares over all N cases, DeLong m / (m - 1) times squares of influences: a ratio of (N - 1) / N x m /
    (m - 1).
    """
    counts = sample.has.sum(axis=1)
    cases = counts.sum()
    scale = np.sqrt((cases - 1) / cases * counts / (counts - 1))
    return Sample(sample.values, sample.influence * scale[:, None], sample.has, sample.fewest)


def test_areas_of_van_dykes_readers(van_dyke: list[Sample]) -> None:
    """As MRMCaov prints them."""
    assert van_dyke[0].values[:, 0] == pytest.approx([0.91965, 0.85878, 0.90386, 0.97311, 0.82979], abs=5e-6)
    assert van_dyke[1].values[:, 0] == pytest.approx([0.94783, 0.90531, 0.92174, 0.99936, 0.92995], abs=5e-6)
    assert van_dyke[0].fewest == 45


def test_obuchowski_rockette_with_delongs_covariances(van_dyke: list[Sample]) -> None:
    """Difference, and each treatment alone: standard error and Hillis's degrees of freedom."""
    difference = spread_of(van_dyke[0] - van_dyke[1])
    assert difference.mean == pytest.approx(-0.04380032, abs=5e-9)
    assert difference.error == pytest.approx(0.0206825, abs=5e-8)
    assert difference.hillis == pytest.approx(15.06611, abs=5e-6)
    for sample, mean, error, freedom in (
        (van_dyke[0], 0.8970370, 0.03307642, 12.59597),
        (van_dyke[1], 0.9408374, 0.02150464, 12.56530),
    ):
        found = spread_of(sample)
        assert found.mean == pytest.approx(mean, abs=5e-8)
        assert found.error == pytest.approx(error, abs=5e-9)
        assert found.hillis == pytest.approx(freedom, abs=5e-6)


def test_obuchowski_rockette_with_the_jackknifes_covariances(van_dyke: list[Sample]) -> None:
    """As MRMCaov's readme prints it: the difference with its interval, each treatment, and mean covariances."""
    found = spread_of(jackknifed(van_dyke[0]) - jackknifed(van_dyke[1]))
    assert found.error == pytest.approx(0.020748618, abs=5e-10)
    assert found.hillis == pytest.approx(15.259674589, abs=5e-9)
    far = student.ppf(0.975, found.hillis) * found.error
    assert (found.mean - far, found.mean + far) == pytest.approx((-0.0879594986, 0.0003588544), abs=5e-10)
    assert 2 * student.sf(-found.mean / found.error, found.hillis) == pytest.approx(0.05166569, abs=5e-9)
    covariances = [covariance_of(jackknifed(sample)) for sample in van_dyke]
    apart = ~np.eye(5, dtype=bool)
    variance = np.mean([np.diag(one).mean() for one in covariances])
    assert variance == pytest.approx(0.0008022883, abs=5e-11)
    for one, expected in zip(covariances, (0.0004839618, 0.0002041879), strict=True):
        assert one[apart].mean() == pytest.approx(expected, abs=5e-11)
    alone = [spread_of(jackknifed(sample)) for sample in van_dyke]
    assert [one.error for one in alone] == pytest.approx([0.03317360, 0.02156637], abs=5e-9)
    assert [one.hillis for one in alone] == pytest.approx([12.74465, 12.71019], abs=5e-6)


def test_the_scale_between_delong_and_the_jackknife_is_exact(van_dyke: list[Sample]) -> None:
    """Reader 1 of treatment 1, left out case by case: (N - 1) / N times the sum of squares around their mean."""
    table = pd.read_csv(PUBLISHED / "vandyke.csv").query("treatment == 1 and reader == 1").sort_values("case")
    label, score = table["truth"].to_numpy(), table["rating"].to_numpy() / 5
    kept = [np.delete(np.arange(114), case) for case in range(114)]
    left = np.array([auroc_sample(label[one], [score[one]], np.arange(113)).values[0, 0] for one in kept])
    expected = 113 / 114 * ((left - left.mean()) ** 2).sum()
    assert covariance_of(jackknifed(van_dyke[0]))[0, 0] == pytest.approx(expected, rel=1e-12)


def test_patients_uncertainty_costs_degrees_of_freedom(van_dyke: list[Sample]) -> None:
    """Hillis's formula takes patients' covariances for known; 45 and 69 patients are not without end."""
    for sample in (*van_dyke, van_dyke[0] - van_dyke[1]):
        found = spread_of(sample)
        assert 4 < found.freedom < found.hillis
        assert 0 < found.of_repeats < 1
        alone = spread_of(Sample(sample.values[:1], sample.influence[:1], sample.has, sample.fewest))
        assert 44 <= alone.freedom <= 44 + 68


def test_delong_on_three_markers() -> None:
    """Variances and covariances of pROC's tests of `var` and `cov`; Z and p of its paired `roc.test` (normal)."""
    table = pd.read_csv(PUBLISHED / "asah.csv")
    label = (table["outcome"] == "Poor").to_numpy(dtype=np.int64)
    names = ["wfns", "s100b", "ndka"]
    scores = [table[name].to_numpy() / table[name].max() for name in names]
    found = covariance_of(auroc_sample(label, scores, np.arange(113)))
    assert np.diag(found) == pytest.approx([0.00146991470882363, 0.00266868245717244, 0.0031908105493913], abs=1e-15)
    expected = [0.00119615567376754, -0.000532967856762438, -0.000756164938056579]
    assert [found[0, 1], found[0, 2], found[1, 2]] == pytest.approx(expected, abs=1e-15)
    for one, other, statistic, p in (
        (0, 1, 2.20898359144091, 0.0271757822291882),
        (0, 2, 2.79777591868904, 0.00514557970691098),
        (2, 1, -1.39077002573558, 0.164295175223054),
    ):
        first, second = (auroc_sample(label, [scores[marker]], np.arange(113)) for marker in (one, other))
        spread = spread_of(first - second)
        assert spread.mean / spread.error == pytest.approx(statistic, abs=1e-10)
        assert 2 * norm.sf(abs(spread.mean) / spread.error) == pytest.approx(p, abs=1e-12)


def test_obuchowskis_clustered_example() -> None:
    """Two arteries of a patient: S10, S01 and S11 as printed make up each covariance, S10/M + S01/N + 2 S11/(MN).

    29 stenosed arteries of 23 patients, 36 others of 27, 36 patients in all. Printed too: areas .9837 and .9852, errors
    .0108 and .0097, difference .0014 with error .0066 and a normal p of .8271.
    """
    table = pd.read_csv(PUBLISHED / "mra.csv")
    scores = [(table[name].to_numpy() + 122) / 222 for name in ("reader1", "reader2")]
    sample = auroc_sample(table["truth"].to_numpy(), scores, table["cluster"].to_numpy() - 1)
    assert sample.has.sum(axis=1).tolist() == [27, 23] and sample.has.any(axis=0).sum() == 36
    assert sample.values[:, 0] == pytest.approx([0.9837, 0.9852], abs=5e-5)
    found = covariance_of(sample)
    for (one, other), malignant, benign, crossed in (
        ((0, 0), 0.0013151307, 0.0022375873, 2 * 0.0051785478),
        ((1, 1), 0.0009284122, 0.0022598583, 2 * -0.0005015760),
        ((0, 1), 0.0008484357, 0.0019241250, 0.0028648340 - 0.0015136931),
    ):
        expected = malignant / 29 + benign / 36 + crossed / (29 * 36)
        assert found[one, other] == pytest.approx(expected, abs=1e-11)
        assert found[other, one] == found[one, other]
    assert np.sqrt(np.diag(found)) == pytest.approx([0.0108, 0.0097], abs=5e-5)
    first, second = (Sample(sample.values[[one]], sample.influence[[one]], sample.has, 23) for one in (0, 1))
    spread = spread_of(second - first)
    assert (spread.mean, spread.error) == pytest.approx((0.0014, 0.0066), abs=5e-5)
    assert 2 * norm.sf(spread.mean / spread.error) == pytest.approx(0.8271, abs=5e-5)


def made(values: list[list[float]], benign: list[float] | Floats, malignant: list[float] | Floats) -> Sample:
    """Every repeat moves by the same influences: first benign patients, then malignant ones."""
    table = np.array(values)
    one = np.zeros((2, len(benign) + len(malignant)))
    one[0, : len(benign)], one[1, len(benign) :] = benign, malignant
    has: Flags = np.zeros(one.shape, dtype=bool)
    has[0, : len(benign)], has[1, len(benign) :] = True, True
    return Sample(table, np.broadcast_to(one, (*table.shape, *one.shape)).copy(), has, min(len(benign), len(malignant)))


def test_one_repeat_speaks_of_patients_by_hand() -> None:
    """Three benign patients: (.1^2 + .1^2) x 3/2 = .03 on 2 degrees of freedom. Two malignant: (.2^2 x 2) x 2 =
    .16 on 1. Welch and Satterthwaite: .19^2 / (.03^2 / 2 + .16^2 / 1).
    """
    found = spread_of(made([[0.7]], [0.1, -0.1, 0.0], [0.2, -0.2]))
    assert found.mean == 0.7
    assert found.error == pytest.approx(0.19**0.5)
    assert found.freedom == pytest.approx(0.0361 / 0.02605)
    assert (found.of_repeats, found.hillis) == (0, np.inf)


def test_classes_of_equal_size_and_spread_add_their_degrees_of_freedom() -> None:
    """Both (.1^2 x 4) x 4/3; (2a)^2 / (a^2 / 3 + a^2 / 3) = 6. One class without influence leaves the other's 3."""
    away = [0.1, -0.1, 0.1, -0.1]
    assert spread_of(made([[0.7]], away, away)).freedom == pytest.approx(6)
    assert spread_of(made([[0.7]], [0.0] * 4, away)).freedom == pytest.approx(3)


def test_a_patient_with_units_of_both_classes_by_hand() -> None:
    """Patient 0 has both: benign parts (.1, -.1) of patients 0 and 1, malignant (.2, -.2) of 0 and 2.

    Benign .02 x 2, malignant .08 x 2, and twice the products, 2 x .1 x .2 x 3/2 (three patients in all).
    """
    influence = np.array([[0.1, -0.1, 0], [0.2, 0, -0.2]])
    sample = Sample(np.array([[0.5]]), influence[None, None], influence != 0, 2)
    assert covariance_of(sample) == pytest.approx(np.array([[0.04 + 0.16 + 0.06]]))


def test_three_seeds_by_hand() -> None:
    """Values .4, .6, .8: variance .04, of their mean .04/3 on 2 degrees of freedom. Patients' covariance is .19, as
    above, its square over degrees of freedom .02605; in all (.04/3 + .19)^2 / ((.04/3)^2 / 2 + .02605).
    """
    found = spread_of(made([[0.4], [0.6], [0.8]], [0.1, -0.1, 0.0], [0.2, -0.2]))
    total = 0.04 / 3 + 0.19
    assert (found.mean, found.error) == pytest.approx((0.6, total**0.5))
    assert found.of_repeats == pytest.approx(0.04 / 3 / total)
    assert found.hillis == pytest.approx(total**2 / ((0.04 / 3) ** 2 / 2))
    assert found.freedom == pytest.approx(total**2 / ((0.04 / 3) ** 2 / 2 + 0.02605))
    across = spread_of(made([[0.4, 0.6, 0.8]], [0.1, -0.1, 0.0], [0.2, -0.2]))
    assert across == pytest.approx(found)


NOBODY = [0.0, 0.0, 0.0]


def test_seeds_and_draws_are_crossed_by_hand() -> None:
    """.5 .7 / .6 .9: rows .6 and .75, columns .55 and .8, mean .675; what is left is .025 everywhere.

    Mean squares: rows 2 x .01125 = .0225, columns 2 x .03125 = .0625, rest 4 x .025^2 = .0025, each on 1 degree of
    freedom. Their sum .0225 + .0625 - .0025 = .0825 over four values; .0825^2 / (.0225^2 + .0625^2 + .0025^2).
    """
    found = spread_of(made([[0.5, 0.7], [0.6, 0.9]], NOBODY, NOBODY))
    assert (found.mean, found.error**2) == pytest.approx((0.675, 0.0825 / 4))
    assert found.hillis == pytest.approx(0.00680625 / 0.00441875)
    assert found.of_repeats == 1


def test_crossed_factors_whose_interaction_outweighs_the_smaller_by_hand() -> None:
    """.5 .8 / .6 .7: rows both .65, columns .55 and .75: mean squares 0 and 2 x .02 = .04; left is .05 everywhere: .01.

    0 + .04 - .01 is less than .04, which stays, over four values. .6 .9 / .8 .7 / .7 .8: rows all .75, columns .7 and
    .8: 0 and 3 x .005 = .015; left is .1 four times, on 2 degrees of freedom: .02. 0 + .015 - .02 is less than 0.
    """
    for values, mean, square in (
        ([[0.5, 0.8], [0.6, 0.7]], 0.65, 0.04 / 4),
        ([[0.6, 0.9], [0.8, 0.7], [0.7, 0.8]], 0.75, 0.015 / 6),
    ):
        found = spread_of(made(values, NOBODY, NOBODY))
        assert (found.mean, found.error**2) == pytest.approx((mean, square))
        assert found.hillis == pytest.approx(1)


@pytest.mark.parametrize("values", [[[0.4], [0.6], [0.8]], [[0.5, 0.7], [0.6, 0.9]]])
def test_repeats_alone_have_their_own_degrees_of_freedom(values: list[list[float]]) -> None:
    """Where patients move nothing, Hillis's are all there are."""
    found = spread_of(made(values, NOBODY, NOBODY))
    assert found.freedom == pytest.approx(found.hillis)


@pytest.mark.parametrize("shape", [(3, 1), (1, 6), (2, 2), (2, 6)])
@pytest.mark.parametrize("value", [0.5, 0.7])
def test_repeats_that_are_identical_add_nothing(shape: tuple[int, int], value: float) -> None:
    """As a reader's are: nothing but one repeat's uncertainty over patients, and no division by 0."""
    one = spread_of(made([[value]], [0.1, -0.1, 0.0], [0.2, -0.2]))
    with np.errstate(all="raise"):
        found = spread_of(made(np.full(shape, value).tolist(), [0.1, -0.1, 0.0], [0.2, -0.2]))
    assert found.of_repeats == pytest.approx(0, abs=1e-15)
    assert found[:3] == pytest.approx(one[:3])


def test_neither_repeats_nor_patients_vary() -> None:
    found = spread_of(made([[0.5, 0.5], [0.5, 0.5]], NOBODY, NOBODY))
    assert (found.mean, found.error, found.of_repeats) == (0.5, 0, 0)


def test_crossed_repeats_share_patients_where_neither_seed_nor_draw_is_the_same() -> None:
    """Ten malignant patients: two move all repeats, two each those of seed 0, seed 1, draw 0, draw 1, by +.1 and -.1.

    Each pair is worth .02 x 10/9. A repeat has three, with another of its seed or of its draw it shares two, with the
    one that has neither in common one: that one is the part that stays with seeds and draws without end. Values .1 .5 /
    .5 .9: mean squares .16 of seeds and of draws, nothing left: .32 / 4 of the mean's square error come from repeats.
    """
    influence, has = np.zeros((2, 2, 2, 12)), np.zeros((2, 12), dtype=bool)
    has[1, :10], has[0, 10:] = True, True
    pair, worth = np.array([0.1, -0.1]), 0.02 * 10 / 9
    for seed, draw in product((0, 1), repeat=2):
        for first in (0, 2 + 2 * seed, 6 + 2 * draw):
            influence[seed, draw, 1, first : first + 2] = pair
    sample = Sample(np.array([[0.1, 0.5], [0.5, 0.9]]), influence, has, 2)
    assert covariance_of(sample)[0] == pytest.approx(worth * np.array([3, 2, 2, 1]))
    found = spread_of(sample)
    assert found.error**2 == pytest.approx(0.08 + worth)
    assert found.of_repeats == pytest.approx(0.08 / (0.08 + worth))
    alike = Sample(np.full((2, 2), 0.25), influence, has, 2)  # the mean of (3, 2, 2, 1) is the least that is said
    assert spread_of(alike).error ** 2 == pytest.approx(2 * worth)


def test_the_error_is_at_least_that_of_these_very_repeats() -> None:
    """Two seeds that are moved by other patients each: covariance 0 between them, (.16 + .16) / 4 of their mean.

    The mean of four covariances, two of them .04 x 2 x 4/3 and two 0, is .0533; their values, alike, say nothing.
    """
    influence = np.zeros((2, 1, 2, 6))
    influence[0, 0, 1, :2] = influence[1, 0, 1, 2:4] = [0.2, -0.2]
    has = np.zeros((2, 6), dtype=bool)
    has[1, :4], has[0, 4:] = True, True
    found = spread_of(Sample(np.array([[0.7], [0.7]]), influence, has, 2))
    assert found.error**2 == pytest.approx(0.04 * 2 * 4 / 3 * 2 / 4)
    assert found.of_repeats == 0
    little = spread_of(Sample(np.array([[0.69], [0.71]]), influence, has, 2))
    assert little.error == pytest.approx(found.error)
    assert little.of_repeats == pytest.approx(0.0002 / 2 / found.error**2)
    much = spread_of(Sample(np.array([[0.2], [1.0]]), influence, has, 2))
    assert much.error**2 == pytest.approx(0.32 / 2)


def test_a_difference_is_taken_repeat_by_repeat_on_the_same_or_other_patients() -> None:
    one, same = made([[0.6, 0.8]], [0.1, -0.1], [0.1, -0.1]), made([[0.5, 0.7]], [0.1, -0.1], [0.1, -0.1])
    found = spread_of(one - same)
    assert (found.mean, found.error) == pytest.approx((0.1, 0))
    other = Sample(same.values, same.influence[..., ::-1], ~same.has, 1)
    both = one - other
    assert both.has.all() and both.fewest == 1
    assert both.influence[0, 0, 0] == pytest.approx([0.1, -0.1, 0.1, -0.1])


def test_a_weighted_sum_by_hand() -> None:
    """Twice .6 and .8 less .5 and .7: .7 and .9. Weights of their own in each repeat: .6 + .7, then .8 alone."""
    one, other = made([[0.6, 0.8]], [0.1, -0.1], [0.1, -0.1]), made([[0.5, 0.7]], [0.3, -0.3], [0.1, -0.1])
    found = combined([one, other], np.array([2.0, -1.0]))
    assert found.values == pytest.approx(np.array([[0.7, 0.9]]))
    assert found.influence[0, 1, 0] == pytest.approx([-0.1, 0.1, 0, 0])
    assert found.has.tolist() == one.has.tolist() and found.fewest == 2
    difference = combined([one, other], np.array([1.0, -1.0]))
    assert difference.values == pytest.approx((one - other).values)
    assert difference.influence == pytest.approx((one - other).influence)
    each = combined([one, other], np.array([[[1.0, 1.0]], [[1.4, 0.0]]]))
    assert each.values == pytest.approx(np.array([[1.3, 0.8]]))
    assert each.influence[0, :, 0, 0] == pytest.approx([0.1 + 1.4 * 0.3, 0.1])


def test_a_ratio_is_that_of_the_means_over_repeats_by_hand() -> None:
    """.3 / .5 and .1 / 0: .2 / .25 = .8, around which .3 lies .1 below .8 x .5, and .1 by .1 above 0: .4 each way.

    A patient moves it by (.1 - .8 x .2) / .25.
    """
    above, below = made([[0.3], [0.1]], [0.0], [0.1]), made([[0.5], [0.0]], [0.0], [0.2])
    found = above / below
    assert found.values[:, 0] == pytest.approx([0.8 - 0.4, 0.8 + 0.4])
    assert found.influence[:, 0, 1, 1] == pytest.approx([-0.24, -0.24])
    alone = made([[0.3]], [0.0], [0.1]) / made([[0.5]], [0.0], [0.2])
    assert alone.values.item() == pytest.approx(0.6)


@settings(max_examples=40)
@given(st.integers(1, 4), st.integers(1, 7), st.integers(0, 1000))
def test_neither_the_order_of_seeds_nor_that_of_draws_nor_the_scale_matters(seeds: int, draws: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    influence = rng.normal(size=(seeds, draws, 2, 12)) * 0.02 + rng.normal(size=(1, 1, 2, 12)) * 0.05
    has = np.repeat([[True] * 5 + [False] * 7, [False] * 5 + [True] * 7], 1, axis=0)
    sample = Sample(rng.normal(0.5, 0.05, (seeds, draws)), influence * has, has, 5)
    found = spread_of(sample)
    rows, columns = rng.permutation(seeds), rng.permutation(draws)
    mixed = Sample(sample.values[rows][:, columns], sample.influence[rows][:, columns], has, 5)
    assert spread_of(mixed) == pytest.approx(found)
    turned = Sample(sample.values.T, sample.influence.swapaxes(0, 1), has, 5)
    assert spread_of(turned) == pytest.approx(found)
    larger = Sample(10 * sample.values, 10 * sample.influence, has, 5)
    assert spread_of(larger) == pytest.approx((10 * found.mean, 10 * found.error, *found[2:]))
    assert found.error > 0 and 0 <= found.of_repeats <= 1 and found.freedom <= found.hillis
