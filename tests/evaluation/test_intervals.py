import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betainc
from scipy.stats import norm
from scipy.stats import t as student

from fedmammo.evaluation import intervals
from fedmammo.evaluation.intervals import (
    FEWEST_DRAWS,
    FEWEST_PATIENTS,
    FEWEST_REPEATS,
    Interval,
    holm,
    interval_of,
    limits_around,
    patients_needed,
    verdict_of,
)
from fedmammo.evaluation.ranking import auroc
from fedmammo.evaluation.tested import Tested as Units  # a name that pytest takes for no test
from fedmammo.evaluation.variance import Sample

FAR = 2.093024  # 97.5 % of Student's t with 19 degrees of freedom, from a table
ONE_SIDED = 1.729133  # 95 %


@pytest.fixture(autouse=True)
def twenty_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the samples below, of twenty patients of a class, be no reason for caution."""
    monkeypatch.setattr(intervals, "CAUTIOUS", 20)


def test_few_patients_of_a_class_make_an_interval_cautious() -> None:
    for patients, note in ((19, "cautious"), (20, "")):
        assert interval_of(sample_of([[0.6]], patients=patients), "share").note == note


def sample_of(values: np.ndarray | list[list[float]], error: float = 0.02, patients: int = 20) -> Sample:
    """Repeats that share what patients do: half of `patients` malignant ones move them up, half down, by as much.

    n x a^2 x n / (n - 1) is the squared error, on n - 1 degrees of freedom; benign patients move nothing.
    """
    table = np.array(values, dtype=float)
    influence, has = np.zeros((*table.shape, 2, 2 * patients)), np.zeros((2, 2 * patients), dtype=bool)
    has[0, patients:], has[1, :patients] = True, True
    away = error * (patients - 1) ** 0.5 / patients
    influence[..., 1, :patients] = np.where(np.arange(patients) % 2, away, -away)
    return Sample(table, influence, has, patients)


def test_interval_of_a_number_by_hand() -> None:
    """.1 with an error of .02 on 19 degrees of freedom.

    p of t = 5 is the regularised incomplete beta function at 19 / (19 + t^2).
    """
    found = interval_of(sample_of([[0.1]]), "number")
    assert (found.low, found.high) == pytest.approx((0.1 - FAR * 0.02, 0.1 + FAR * 0.02), abs=1e-8)
    assert found.at_least == pytest.approx(0.1 - ONE_SIDED * 0.02, abs=1e-8)
    assert (found.error, found.of_repeats) == (pytest.approx(0.02), 0)
    assert found.p == pytest.approx(betainc(19 / 2, 1 / 2, 19 / 44))
    assert found.note == ""


@pytest.mark.parametrize("sign", [1, -1])
def test_p_is_5_percent_where_the_interval_ends_at_0(sign: int) -> None:
    """And 1 % at the 99.5 % quantile of the same table, 2.860935."""
    assert interval_of(sample_of([[sign * 2.860935 * 0.02]]), "number").p == pytest.approx(0.01, abs=1e-7)
    found = interval_of(sample_of([[sign * FAR * 0.02]]), "number")
    assert found.p == pytest.approx(0.05, abs=1e-6)
    assert (found.low if sign > 0 else found.high) == pytest.approx(0, abs=1e-7)


def test_interval_of_a_share_by_hand() -> None:
    """.8 with an error of .02: odds 4, their logarithm's error .02 / (.8 x .2) = .125: odds 4 times e^(-+.261628)."""
    found = interval_of(sample_of([[0.8]]), "share")
    odds = 4 * np.exp(np.array([-1, 1]) * FAR * 0.125)
    assert odds == pytest.approx([3.0792, 5.1962], abs=1e-4)
    assert (found.low, found.high) == pytest.approx(tuple(odds / (1 + odds)), abs=1e-8)
    least = 4 * np.exp(-ONE_SIDED * 0.125)
    assert found.at_least == pytest.approx(least / (1 + least), abs=1e-8)
    assert np.isnan(found.p) and found.note == ""


def test_a_share_near_its_end_stays_below_it() -> None:
    found = interval_of(sample_of([[0.99]], error=0.05), "share")
    assert 0 < found.low < 0.99 < found.high < 1


def without(found: Interval, note: str) -> None:
    assert np.isnan(found[:4]).all()
    assert found.note == note


@pytest.mark.parametrize("end", [0.0, 1.0])
def test_a_share_at_its_end_has_no_interval(end: float) -> None:
    without(interval_of(sample_of([[end]]), "share"), "no interval: at its end")
    assert interval_of(sample_of([[end]]), "number").note == ""


def test_too_few_patients_of_a_class() -> None:
    few = f"no interval: fewer than {FEWEST_PATIENTS} patients of a class"
    without(interval_of(sample_of([[0.5]], patients=FEWEST_PATIENTS - 1), "number"), few)
    assert interval_of(sample_of([[0.5]], patients=FEWEST_PATIENTS), "number").low < 0.5
    one, other = sample_of([[0.5]]), sample_of([[0.5]], error=0.1)
    lesser = Sample(other.values, other.influence, other.has, FEWEST_PATIENTS - 1)
    without(interval_of(one - lesser, "number"), few)


def test_nothing_varies_between_models_that_are_the_same() -> None:
    """Equal but for the last bits: no error to divide by, no p."""
    one = sample_of([[0.7, 0.7, 0.7, 0.7, 0.7, 0.7]])
    bits = Sample(one.values * (1 + 1e-15), one.influence * (1 + 1e-15), one.has, one.fewest)
    assert (bits.values != one.values).all() and (bits.influence != one.influence).any()
    without(interval_of(one - bits, "number"), "no interval: nothing varies")


def test_influences_that_are_not_known() -> None:
    one = sample_of([[0.1]])
    unknown = Sample(one.values, np.full_like(one.influence, np.nan), one.has, one.fewest)
    without(interval_of(unknown, "share"), "no interval: none is known for it")


@pytest.mark.parametrize("seeds", [1, 5])
@pytest.mark.parametrize("draws", [2, FEWEST_DRAWS - 1])
def test_few_draws_of_hospitals_have_no_interval(seeds: int, draws: int) -> None:
    values = np.linspace(0.6, 0.7, seeds * draws).reshape(seeds, draws)
    note = f"no interval: fewer than {FEWEST_DRAWS} draws of hospitals; each stands in its own row"
    for kind in ("number", "share"):
        without(interval_of(sample_of(values), kind), note)
    enough = interval_of(sample_of(np.linspace(0.6, 0.7, FEWEST_DRAWS)[None]), "number")
    assert enough.low < 0.65 < enough.high and enough.note == ""


def test_two_seeds_have_no_interval() -> None:
    note = "no interval: two seeds do not show how they differ"
    without(interval_of(sample_of([[0.1], [0.2]]), "number"), note)
    without(interval_of(sample_of([[0.1] * FEWEST_DRAWS, [0.2] * FEWEST_DRAWS]), "number"), note)


@pytest.mark.parametrize("seeds", [1, 3, 4, 5, 6, 7])
def test_three_to_five_seeds_have_a_cautious_interval_and_no_p(seeds: int) -> None:
    """One repeat speaks of patients alone, and has a p."""
    values = np.linspace(0.3, 0.4, seeds)[:, None]
    number, share = (interval_of(sample_of(values), kind) for kind in ("number", "share"))
    few = 1 < seeds < FEWEST_REPEATS
    assert np.isnan(number.p) == few
    assert number.note == (f"cautious; no p: fewer than {FEWEST_REPEATS} seeds" if few else "")
    assert share.note == ("cautious" if few else "")
    assert number.low < values.mean() < number.high and share.low < values.mean() < share.high


def test_repeats_and_patients_make_one_interval_by_hand() -> None:
    """Six seeds .55 and .65: variance of the mean .003 / 6 = .0005 on 5 degrees of freedom, of patients .0004 on 19.

    Error .03; degrees of freedom .0009^2 / (.0005^2 / 5 + .0004^2 / 19) = 13.865.
    """
    found = interval_of(sample_of([[0.55], [0.65]] * 3), "number")
    freedom = 0.81 / (0.25 / 5 + 0.16 / 19)
    assert freedom == pytest.approx(13.865, abs=1e-3)
    far = student.ppf(0.975, freedom) * 0.03
    assert (found.low, found.high) == pytest.approx((0.6 - far, 0.6 + far))
    assert found.p == pytest.approx(2 * student.sf(20, freedom))


@settings(max_examples=60)
@given(
    st.integers(1, 8),
    st.sampled_from([1, 6, 7]),
    st.integers(10, 30),
    st.floats(1e-4, 0.3),
    st.integers(0, 1000),
)
def test_limits_lie_around_the_value(seeds: int, draws: int, patients: int, error: float, seed: int) -> None:
    values = np.random.default_rng(seed).uniform(0.01, 0.99, (seeds, draws))
    sample = sample_of(values, error, patients)
    for kind in ("number", "share"):
        found = interval_of(sample, kind)
        if found.note.startswith("no interval"):
            assert np.isnan(found[:4]).all()
            continue
        assert found.low <= found.at_least <= values.mean() <= found.high
        assert kind == "number" or 0 <= found.low <= found.high <= 1
        if not np.isnan(found.p):
            assert 0 <= found.p <= 1 and (found.p < 0.05) == (not found.low <= 0 <= found.high)
        negated = interval_of(Sample(-values, -sample.influence, sample.has, patients), "number")
        if kind == "number":
            assert (negated.low, negated.high) == pytest.approx((-found.high, -found.low))
        else:
            other = interval_of(Sample(1 - values, -sample.influence, sample.has, patients), "share")
            assert (other.low, other.high) == pytest.approx((1 - found.high, 1 - found.low))


@pytest.mark.parametrize(("images", "within"), [(1, 0.0), (3, 0.3)])
def test_the_interval_covers_the_true_auroc_because_patients_stay_whole(images: int, within: float) -> None:
    """Binormal scores: benign N(0, 1 + w^2), malignant N(1, 1 + w^2), so the AUROC is Phi(1 / sqrt(2 (1 + w^2))).

    95 % must be met in 400 studies within 3 standard errors (.011 each). Three images of a patient are nearly one
    observation: an interval that takes images for patients would be much narrower and fall far short.
    """
    rng = np.random.default_rng(11)
    patients, none = 60, np.full(60 * images, np.nan)
    owner = np.repeat(np.arange(patients), images)
    label, fold = owner % 2, np.zeros(len(owner), dtype=np.int64)
    truth, covered = norm.cdf(1 / np.sqrt(2 * (1 + within**2))), {True: 0, False: 0}
    for _ in range(400):
        raw = label + rng.normal(size=patients)[owner] + within * rng.normal(size=len(label))
        found = auroc(Units(label, norm.cdf(raw), owner, fold, none, none, none))
        for whole in (True, False):
            group = owner if whole else np.arange(len(owner))
            influence = np.zeros((1, 1, 2, int(group.max()) + 1))
            for kind in (0, 1):
                np.add.at(influence[0, 0, kind], group[label == kind], found.influence[label == kind])
            has = np.zeros(influence.shape[2:], dtype=bool)
            has[label, group] = True
            interval = interval_of(Sample(np.array([[found.value]]), influence, has, 30), "share")
            covered[whole] += interval.low <= truth <= interval.high
    assert 0.917 <= covered[True] / 400 <= 0.983
    if images > 1:
        assert covered[False] / 400 < 0.85


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.001, 0.1, "superior"),
        (0.0, 0.1, "non-inferior"),
        (-0.049, 0.1, "non-inferior"),
        (-0.049, -0.01, "non-inferior"),  # surely worse, by less than would matter
        (-0.05, 0.1, "inconclusive"),
        (-0.2, -0.05, "inconclusive"),
        (-0.2, 0.3, "inconclusive"),
        (-0.2, -0.051, "inferior"),
        (np.nan, np.nan, "not assessable"),
    ],
)
def test_verdict_at_each_boundary(low: float, high: float, expected: str) -> None:
    """A loss of .05 would not matter."""
    assert verdict_of(low, high, 0.05) == expected


def test_without_a_margin_there_is_no_non_inferiority() -> None:
    assert verdict_of(0.0, 0.1, 0.0) == "inconclusive"
    assert verdict_of(-0.1, -0.01, 0.0) == "inferior"


@pytest.mark.parametrize(
    ("error", "of_repeats", "patients", "margin", "expected"),
    [
        (0.05, 0.0, 100, 0.05, 790),  # (2.8016 x .05 / .05)^2 x 100 = 784.9
        (0.05, 0.0, 100, 0.1, 200),  # a fourth: 196.2
        (0.02, 0.5, 400, 0.05, 680),  # .05^2 / 7.849 = .0003185, less .0002 of repeats: 400 x .0002 / .0001185
        (0.02, 0.8, 400, 0.05, np.nan),  # .00032 of repeats are too much for any number
        (0.02, 1.0, 400, 0.1, 130),  # .1^2 / 7.849 = .001274 is more than .0004: 400 x .0004 / .001274 = 125.6
        (np.nan, np.nan, 5, 0.05, np.nan),
        (0.02, 0.0, 40, 0.5, 20),  # .5 would do: no interval has fewer than ten of a class
        (0.05, 0.0, 10_000, 0.05, 79_000),
    ],
)
def test_patients_needed_by_hand(
    error: float, of_repeats: float, patients: int, margin: float, expected: float
) -> None:
    """1.959964 + .841621 = 2.801585, squared 7.848880: how often the squared error goes into the squared margin."""
    assert patients_needed(error, of_repeats, patients, margin) == pytest.approx(expected, nan_ok=True)


@given(st.floats(0.005, 0.2), st.floats(0, 0.9), st.integers(20, 5000), st.floats(0.01, 0.5))
def test_the_patients_that_are_needed_give_the_power_that_is_meant(
    error: float, of_repeats: float, patients: int, margin: float
) -> None:
    """With as many the squared error is at most the allowed one, and with a tenth less it would not be."""
    needed = patients_needed(error, of_repeats, patients, margin)
    if np.isnan(needed):
        assert of_repeats * error**2 >= (margin / 2.8015) ** 2 * 0.999
        return

    def power(count: float) -> float:
        fixed = of_repeats if count > patients else 0.0
        spread = error * np.sqrt(fixed + (1 - fixed) * patients / count)
        return float(norm.sf(norm.ppf(0.975) - margin / spread))

    assert needed == float(f"{needed:.1e}") and needed >= 20
    assert power(needed) >= 0.8 - 1e-9 and (needed == 20 or power(needed * 0.9 - 1) < 0.8)


def test_holm_by_hand() -> None:
    """Sorted .005 x 4, .01 x 3, .03 x 2, .04 x 1 = .02, .03, .06, .04, made monotone: .06 for the last."""
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.01, np.nan, 0.6])) == pytest.approx([0.02, np.nan, 0.6], nan_ok=True)
    assert holm(np.array([0.7, 0.8])) == pytest.approx([1.0, 1.0])
    assert holm(np.array([])).shape == (0,)


@given(st.lists(st.floats(1e-4, 1), min_size=1, max_size=8))
def test_holm_lies_between_no_adjustment_and_bonferroni_and_keeps_the_order(p: list[float]) -> None:
    raw = np.array(p)
    adjusted = holm(raw)
    assert (adjusted >= raw).all() and (adjusted <= np.minimum(1, raw * len(raw)) + 1e-15).all()
    assert (np.diff(adjusted[np.argsort(raw)]) >= 0).all()
    assert raw.tolist() == p


def test_limits_around_a_number_and_a_share_by_hand() -> None:
    """.6, error .02, 19 degrees. On log odds .02 / (.6 x .4) = .08333 around log 1.5."""
    assert limits_around(0.6, 0.02, 19, "number") == pytest.approx(
        (0.6 - FAR * 0.02, 0.6 + FAR * 0.02, 0.6 - ONE_SIDED * 0.02), abs=1e-7
    )
    odds = [1.5 * np.exp(far * 0.02 / 0.24) for far in (-FAR, FAR, -ONE_SIDED)]
    assert limits_around(0.6, 0.02, 19, "share") == pytest.approx([one / (1 + one) for one in odds], abs=1e-7)
