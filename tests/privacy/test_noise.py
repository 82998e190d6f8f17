"""Noise in integers: the sampler's distribution, the grid, and what a patient adds to a sum."""

from fractions import Fraction
from math import frexp, log, sqrt

import numpy as np
import pytest
import torch
from dp_accounting.pld.privacy_loss_distribution import from_discrete_gaussian_mechanism
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import chi2, chi2_contingency, chisquare, ks_2samp, kstest
from torch import Tensor

from fedmammo.privacy.accounting import calibrate, epsilon
from fedmammo.privacy.noise import (
    Grid,
    below,
    bernoulli,
    bernoulli_exp,
    clipped_sum,
    discrete_gaussian,
    from_grid,
    noised,
    square_over,
    successes,
)
from fedmammo.privacy.secret import Stream

DELTA = 1e-4
SURE = 1e-4  # p-values below this are no accident; all streams have fixed keys


def stream_of(number: int) -> Stream:
    return Stream(number.to_bytes(32, "little"))


class Chosen(Stream):
    """A stream that begins with chosen words."""

    def __init__(self, *chosen: int) -> None:
        super().__init__(bytes(32))
        self.chosen = list(chosen)

    def words(self, count: int) -> NDArray[np.uint64]:
        taken, self.chosen = self.chosen[:count], self.chosen[count:]
        return np.concatenate([np.array(taken, dtype=np.uint64), super().words(count - len(taken))])


def p_value(counts: NDArray[np.int64], chances: NDArray[np.float64]) -> float:
    """Of the chi-square test; what is expected less than ten times is one cell, which is left out where it is empty."""
    expected = counts.sum() * chances / chances.sum()
    rare = expected < 10
    cells = [np.append(part[~rare], part[rare].sum()) for part in (counts, expected)]
    used = cells[1] > 1e-9
    assert not cells[0][~used].any()
    return float(chisquare(cells[0][used], cells[1][used]).pvalue)


@pytest.mark.parametrize("bound", [2, 3, 7, 1000, 2**40 + 15, 2**63 - 1, 2**63, 2**63 + 1, 3 * 2**62, 2**64 - 1])
def test_integers_below_a_bound_are_equally_likely(bound: int) -> None:
    """In `bound` or 64 cells as equal as integers allow; just above 2^63, nearly every second word is drawn again."""
    drawn = below(stream_of(bound), bound, 20_000)
    cells = min(bound, 64)
    edges = [-(-cell * bound // cells) for cell in range(cells + 1)]
    assert int(drawn.max()) < bound
    counts = np.bincount(np.searchsorted(np.array(edges[1:], dtype=np.uint64), drawn, side="right"), minlength=cells)
    assert p_value(counts, np.diff(edges) / bound) > SURE


def test_words_that_would_make_some_integers_likelier_are_drawn_again() -> None:
    """Thirds of 2^64 - 1 words; below 2^63 + 1 each word stands for itself."""
    third = (2**64 - 1) // 3
    chosen = [0, third - 1, third, 2 * third, 2**64 - 2, 2**64 - 1]
    assert below(Chosen(*chosen, 5), 3, 6).tolist() == [0, 0, 1, 2, 2, 0]
    assert below(Chosen(*chosen), 1, 5).tolist() == [0] * 5
    assert below(Chosen(2**63, 2**63 + 1, 7, 2**64 - 1, 8), 2**63 + 1, 3).tolist() == [2**63, 8, 7]


def test_fractions_happen_as_often_as_they_say() -> None:
    """A third of the words at one numerator; never at 0, always at the denominator."""
    third = (2**64 - 1) // 3
    one = np.ones(4, dtype=np.int64)
    assert bernoulli(Chosen(0, third - 1, third, 2**64 - 2), one, 3).tolist() == [True, True, False, False]
    assert not bernoulli(stream_of(1), 0 * one, 2**55).any() and bernoulli(stream_of(1), one * 2**55, 2**55).all()


@pytest.mark.parametrize(
    ("numerator", "denominator"), [(0, 5), (1, 1), (1, 2), (2, 3), (10**16, 2 * 10**16), (1, 10**4)]
)
def test_exponentials_happen_as_often_as_they_say(numerator: int, denominator: int) -> None:
    count = 50_000
    happened = bernoulli_exp(stream_of(numerator), np.full(count, numerator), denominator).sum()
    chance = np.exp(-numerator / denominator)
    assert abs(happened - count * chance) <= 4 * sqrt(count * chance * (1 - chance))


def test_successes_are_geometric() -> None:
    assert p_value(np.bincount(successes(stream_of(0), 100_000), minlength=40), np.exp(-np.arange(40))) > SURE


def test_the_series_of_1_over_e_goes_on_where_a_word_does_not_decide() -> None:
    """20! e^-1 rounds to 895 014 631 192 902 121, the permutations of 20 things that leave none in place.

    Seven words stand for each of 20! values. After 0, trial 21 decides: one that fails is a success, as 21 is odd.
    """
    odd, last = 895_014_631_192_902_121, 2**64 - 1
    failure = 7 * odd
    assert successes(Chosen(failure), 1) == 0
    assert successes(Chosen(failure - 1, failure), 1) == 1
    assert successes(Chosen(7, last, failure), 1) == 1
    assert successes(Chosen(6, 0, last - 20, failure), 1) == 1
    assert successes(Chosen(6, 0, 0, 0, last - 20), 1) == 0


@given(scale=st.integers(1, 10**8), part=st.fractions(0, 1), whole=st.integers(-1, 10**6))
def test_squares_too_large_for_64_bits_are_divided(scale: int, part: Fraction, whole: int) -> None:
    rest = min(int(part * scale), scale - 1)
    quotient, remainder = square_over(np.array([rest]), np.array([whole]), scale)
    assert (int(quotient[0]), int(remainder[0])) == divmod((rest + scale * whole) ** 2, 2 * scale**2)


@pytest.mark.parametrize("deviation", [1, 2, 5, 17])
def test_small_deviations_have_the_exact_distribution(deviation: int) -> None:
    drawn = discrete_gaussian(stream_of(deviation), deviation, 200_000)
    most = 12 * deviation
    weights = np.exp(-(np.arange(-most, most + 1.0) ** 2) / (2 * deviation**2))
    assert p_value(np.bincount(drawn + most, minlength=2 * most + 1), weights) > SURE


@pytest.mark.parametrize("deviation", [10**3, 10**6, 10**8])
def test_large_deviations_have_the_moments(deviation: int) -> None:
    """Of a normal distribution, which a grid so fine cannot be told from; the last digits are equally likely."""
    count = 200_000
    drawn = discrete_gaussian(stream_of(deviation), deviation, count)
    scaled = drawn / deviation
    assert abs(scaled.mean()) < 4 / sqrt(count)
    assert SURE < chi2.cdf((scaled**2).sum(), count) < 1 - SURE
    assert abs((scaled**4).mean() - 3) < 4 * sqrt(96 / count)
    assert kstest(scaled, "norm").pvalue > SURE
    assert chisquare(np.bincount(drawn % 10)).pvalue > SURE
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 4 / sqrt(count)


@pytest.mark.parametrize(("deviation", "count"), [(17, 20_000), (10**6, 20_000)])
def test_agrees_with_opendp(deviation: int, count: int) -> None:
    """Two samples of one distribution, of which theirs is new each time."""
    opendp = pytest.importorskip("opendp.prelude", reason="opendp, whose sampler is compared with, is not installed")
    opendp.enable_features("contrib")
    domain = opendp.vector_domain(opendp.atom_domain(T="i64"))
    measurement = opendp.m.make_gaussian(domain, opendp.l2_distance(T="i64"), scale=float(deviation))
    theirs, ours = np.array(measurement([0] * count)), discrete_gaussian(stream_of(5), deviation, count)
    assert ks_2samp(ours, theirs).pvalue > 1e-6
    if deviation < 100:
        most = 2 * deviation
        cells = [np.bincount(np.clip(drawn, -most, most) + most, minlength=2 * most + 1) for drawn in (ours, theirs)]
        assert chi2_contingency(cells).pvalue > 1e-6


def test_a_key_gives_its_numbers_and_no_others() -> None:
    first, again, other = (discrete_gaussian(stream_of(key), 10**6, 40_000) for key in (1, 1, 2))
    assert first.dtype == np.int64 and first.tobytes() == again.tobytes()
    assert abs(np.corrcoef(first, other)[0, 1]) < 4 / sqrt(40_000)
    assert discrete_gaussian(stream_of(1), 3, 0).shape == (0,)
    stream = stream_of(1)
    assert not np.array_equal(discrete_gaussian(stream, 10**6, 50), discrete_gaussian(stream, 10**6, 50))


@pytest.mark.parametrize("deviation", [0, -1, 1.5, 10**8 + 1])
def test_what_is_no_deviation(deviation: int) -> None:
    with pytest.raises(ValueError, match="is not a whole number from 1 to 100000000"):
        discrete_gaussian(stream_of(0), deviation, 1)


# Clipping norm, multiplier, numbers; step, sensitivity and deviation by hand. In turn: a root that is whole, and a step
# that just fits; 6 / 1024 is between 2^-8 and 2^-7; 2 / (1024 sqrt 65) is just below 2^-12; a half that rounds up; a
# root just above a whole number; 1e5 steps of sensitivity at most, so 2 / (8 x 1e4) in place of 2 / (1024 x 1e4).
GRIDS = [
    (1.0, 1.0, 4, 2.0**-10, 1025, 1025),
    (3.0, 0.05, 1, 2.0**-8, 769, 39),
    (1.0, 3.1857, 65, 2.0**-13, 8197, 26114),
    (1.0, 0.5, 4, 2.0**-10, 1025, 513),
    (2.0**40, 1.0, 4 * 16383**2 + 1, 2.0**16, 2**24 + 16384, 2**24 + 16384),
    (1.0, 1000.0, 10**8, 2.0**-16, 70536, 70536000),
]


@pytest.mark.parametrize(("clipping_norm", "multiplier", "numbers", "step", "sensitivity", "deviation"), GRIDS)
def test_grids_by_hand(
    clipping_norm: float, multiplier: float, numbers: int, step: float, sensitivity: int, deviation: int
) -> None:
    assert Grid.of(clipping_norm, multiplier, numbers) == Grid(step, sensitivity, deviation)


@given(
    clipping_norm=st.floats(1e-30, 1e30),
    multiplier=st.floats(0.05, 1000),
    numbers=st.integers(1, 10**8),
)
def test_a_grid_adds_no_less_noise_than_planned(clipping_norm: float, multiplier: float, numbers: int) -> None:
    """Exactly; and where noise is not too large, a 1024th more at most, a step for rounding up and one for the root."""
    grid = Grid.of(clipping_norm, multiplier, numbers)
    planned, norm_ = Fraction(multiplier), Fraction(clipping_norm) / Fraction(grid.step)
    assert frexp(grid.step)[0] == 0.5 and grid.deviation <= 10**8
    assert 4 * (grid.sensitivity - norm_) ** 2 >= numbers > 4 * (grid.sensitivity - 1 - norm_) ** 2
    assert planned <= Fraction(grid.deviation, grid.sensitivity) < planned + Fraction(1, grid.sensitivity)
    assert grid.noise_multiplier >= multiplier
    if grid.deviation < 10**7:
        assert numbers <= (norm_ / 512) ** 2 < 4 * numbers
        assert grid.deviation <= planned * (norm_ * Fraction(1025, 1024) + 1) + 1


@pytest.mark.parametrize("arguments", [(0.0, 1.0, 1), (1.0, 0.0, 1), (1.0, 1.0, 0), (1.0, 1.0, 2**31), (np.nan, 1.0, 1),
                                       (1.0, np.inf, 1), (1.0, 1e9, 1), (1e-307, 1.0, 65)])  # fmt: skip
def test_what_has_no_grid(arguments: tuple[float, float, int]) -> None:
    with pytest.raises(ValueError, match=r"(is|are) not a (positive|whole) number|not a power of two|too large"):
        Grid.of(*arguments)


@pytest.mark.parametrize("numbers", [(0.3, 1, 1), (0.0, 1, 1), (np.inf, 1, 1), (0.5, 0, 1), (0.5, 1, 0), (0.5, 1, 1.5)])
def test_what_is_no_grid(numbers: tuple[float, int, int]) -> None:
    with pytest.raises(ValueError, match="is not"):
        Grid(*numbers)


def delta_of(target: float, grid: Grid) -> float:
    """Sum the delta of an epsilon over all integers, of a number and of one moved by the sensitivity."""
    sigma, moved = grid.deviation, grid.sensitivity
    x = np.arange(-12 * sigma, 12 * sigma + moved + 1.0)
    loss = moved * (2 * x - moved) / (2 * sigma**2)
    parts = np.exp(-((x - moved) ** 2) / (2 * sigma**2)) * np.maximum(0, -np.expm1(target - loss))
    return float(parts.sum() / np.exp(-(x**2) / (2 * sigma**2)).sum())


@pytest.mark.parametrize("budget", [0.5, 1, 6, 60])
def test_discrete_noise_costs_no_more_than_was_accounted(budget: float) -> None:
    """By dp-accounting, from above, and by summing; at the multiplier that the grid really has, both ways."""
    (planned,) = calibrate([(1.0, 1, 1.0)], budget, DELTA)
    grid = Grid.of(1.0, planned, 65)
    accounted = epsilon(((1.0, planned, 1),), DELTA)
    theirs = from_discrete_gaussian_mechanism(
        grid.deviation,
        sensitivity=grid.sensitivity,
        truncation_bound=12 * grid.deviation + grid.sensitivity,  # else too much is beyond it at epsilon 60
        value_discretization_interval=1e-3,
        use_connect_dots=True,
    ).get_epsilon_for_delta(DELTA)
    assert theirs <= accounted * (1 + 1e-6)
    exact = brentq(lambda target: log(delta_of(target, grid) / DELTA), budget / 2, 2 * budget, xtol=1e-12, rtol=1e-12)
    assert exact <= accounted * (1 + 1e-6)
    assert exact == pytest.approx(epsilon(((1.0, grid.noise_multiplier, 1),), DELTA), rel=1e-6)


def test_sums_by_hand() -> None:
    """Of 3 numbers in two parameters with norm 1, in steps of 2^-10: a cut vector is 1024 (1 - 2^-20) steps long."""
    grid = Grid.of(1.0, 1.0, 3)
    assert grid.step == 2.0**-10
    long = ([[30.0, 40.0]], [0.0])  # (.6, .8) x 1023.999
    short = ([[0.5 * grid.step, 1.5 * grid.step]], [-2.5 * grid.step])  # halves go to the even neighbour
    broken = ([[0.1, np.nan]], [0.1])
    endless = ([[0.1, 0.1]], [-np.inf])
    patients = [long, short, broken, endless, long]
    first, second = (torch.tensor([patient[part] for patient in patients], dtype=torch.float32) for part in (0, 1))
    sums = clipped_sum([first, second[:, 0]], 1.0, grid)
    assert [part.dtype for part in sums] == [torch.int64] * 2
    assert sums[0].tolist() == [[2 * 614, 2 * 819 + 2]] and sums[1].tolist() == -2
    nobody = clipped_sum([first[:0], second[:0, 0]], 1.0, grid)
    assert [part.tolist() for part in nobody] == [[[0, 0]], 0]
    assert sums[0].tolist() == clipped_sum([first.bfloat16(), second[:, 0].bfloat16()], 1.0, grid)[0].tolist()


ODD_NUMBERS = st.one_of(
    st.sampled_from([0.0, -0.0, 5e-324, 1e-310, 1e-200, 1e200, 1.7e308, np.nan, np.inf, -np.inf]),
    st.integers(-9000, 9000).map(lambda steps: (steps + 0.5) * 2.0**-13),
    st.floats(width=64),
    st.floats(-2, 2),
)


@settings(max_examples=300)
@given(data=st.data(), clipping_norm=st.sampled_from([1.0, 0.3, 1e-200, 1e200]), numbers=st.integers(1, 9))
def test_a_patient_moves_the_sum_by_at_most_the_sensitivity(
    data: st.DataObject, clipping_norm: float, numbers: int
) -> None:
    """In exact arithmetic, whatever the patient's numbers are and whoever else is there."""
    scale = data.draw(st.sampled_from([1.0, clipping_norm]))
    rows = data.draw(st.lists(st.lists(ODD_NUMBERS, min_size=numbers, max_size=numbers), min_size=1, max_size=3))
    table = torch.tensor(rows, dtype=torch.float64) * scale
    grid = Grid.of(clipping_norm, 1.0, numbers)
    cut = numbers // 2

    def summed(chosen: Tensor) -> list[int]:
        parts = clipped_sum([chosen[:, :cut], chosen[:, cut:, None]], clipping_norm, grid)
        return [int(number) for part in parts for number in part.flatten()]

    everybody, others = summed(table), summed(table[1:])
    moved = [one - other for one, other in zip(everybody, others, strict=True)]
    assert sum(number**2 for number in moved) <= grid.sensitivity**2
    if not table[0].isfinite().all():
        assert not any(moved)
        return
    steps = Fraction(clipping_norm) / Fraction(grid.step)
    numbers_ = [Fraction(number) / Fraction(grid.step) for number in table[0].tolist()]
    square = sum(number**2 for number in numbers_)
    if square <= (steps * Fraction(999, 1000)) ** 2:  # only rounded
        assert moved == [round(number) for number in numbers_]
    elif square >= steps**2:  # cut, but no shorter than need be
        assert sum(number**2 for number in moved) >= (steps * Fraction(999, 1000) - 2) ** 2


def test_cut_vectors_stay_below_the_clipping_norm() -> None:
    """A step of 1 and a norm of 513.5, the last bit of which would round up."""
    (moved,) = clipped_sum([torch.tensor([[1e4]])], 513.5, Grid(1.0, 514, 1))
    assert moved.tolist() == [513]


def test_rounding_makes_vectors_longer_by_what_the_bound_foresees() -> None:
    """40 000 numbers just above half a step, of norm 100: each becomes a step, so that the norm is 200."""
    vector = torch.full((1, 40_000), 0.5000001, dtype=torch.float64)
    (moved,) = clipped_sum([vector], 100.001, Grid(1.0, 201, 1))
    assert int((moved**2).sum()) == 200**2
    with pytest.raises(ValueError, match="not for 40000 numbers"):
        clipped_sum([vector], 100.001, Grid(1.0, 200, 1))


def test_a_patient_adds_the_same_in_any_company() -> None:
    """To the last bit, in tables of any shape, however they lie in memory."""
    generator = torch.Generator().manual_seed(0)
    for patients, numbers in [(9, 70_001), (500, 3), (2, 2), (33, 8), (17, 129), (64, 1000)]:
        table = torch.randn(patients, numbers, generator=generator)
        grid = Grid.of(1.0, 1.0, numbers)
        alone = torch.stack([clipped_sum([row[None]], 1.0, grid)[0] for row in table]).sum(0)
        for lying in (table, table.T.contiguous().T, table.repeat_interleave(2, dim=1)[:, ::2]):
            assert torch.equal(clipped_sum([lying], 1.0, grid)[0], alone)


def test_sums_of_a_wrong_grid_or_type_are_refused() -> None:
    with pytest.raises(ValueError, match="not for 5 numbers with a clipping norm of 1"):
        clipped_sum([torch.zeros(2, 5)], 1.0, Grid.of(0.999, 1.0, 5))
    with pytest.raises(ValueError, match="not for 5000 numbers"):
        clipped_sum([torch.zeros(2, 5000)], 1.0, Grid.of(1.0, 1.0, 5))
    with pytest.raises(ValueError, match="sums of integers"):
        noised([torch.zeros(2)], Grid.of(1.0, 1.0, 2), stream_of(0))
    with pytest.raises(ValueError, match="divisor 0"):
        from_grid([torch.zeros(2, dtype=torch.int64)], Grid.of(1.0, 1.0, 2), 0.0)


def test_noised_sums_are_on_the_grid_in_every_trust() -> None:
    """Parameters in turn from one stream; hospitals' sums add up as integers before the noise or after it."""
    grid = Grid.of(0.7, 2.0, 7)
    tables = [torch.randn(5, 7, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    sums = [clipped_sum([table[:, :6].reshape(5, 2, 3), table[:, 6]], 0.7, grid) for table in tables]
    one, other = (noised(total, grid, stream_of(seed)) for seed, total in enumerate(sums))
    assert [part.shape for part in one] == [(2, 3), ()] and all(part.dtype == torch.int64 for part in one)
    stream = stream_of(0)
    expected = [discrete_gaussian(stream, grid.deviation, 6), discrete_gaussian(stream, grid.deviation, 1)]
    assert [(a - b).flatten().tolist() for a, b in zip(one, sums[0], strict=True)] == [e.tolist() for e in expected]
    everybody = torch.cat(tables)
    together = clipped_sum([everybody[:, :6].reshape(10, 2, 3), everybody[:, 6]], 0.7, grid)
    assert all(torch.equal(a + b, both) for a, b, both in zip(*sums, together, strict=True))
    for parts in (one, other, noised(together, grid, stream_of(2)), [a + b for a, b in zip(one, other, strict=True)]):
        for number in torch.cat([part.flatten() for part in from_grid(parts, grid, 1)]).tolist():
            assert (Fraction(number) / Fraction(grid.step)).denominator == 1
    assert from_grid([torch.tensor([6, -3])], Grid(0.5, 1, 1), 3)[0].tolist() == [1.0, -0.5]
