"""What noise costs, against dp-accounting's published figures, Opacus, and the closed form in many digits."""

from dataclasses import replace
from math import exp, inf, log, nan, sqrt

import mpmath
import pytest
from dp_accounting import NeighboringRelation
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants import PRVAccountant
from opacus.accountants.utils import get_noise_multiplier

from fedmammo.privacy.accounting import (
    attack_power,
    calibrate,
    epsilon,
    epsilon_of_mu,
    event_of,
    image_level,
    in_words,
    mu_of,
    replace_one,
    spent_of,
)
from fedmammo.privacy.mechanism import Mechanism

# Rate, noise multiplier, steps, delta; epsilon by privacy loss distributions at an interval of 1e-4.
COSTS = [
    (256 / 60000, 1.1, 14040, 1e-5, 2.3796),
    (0.01, 4.0, 10000, 1e-5, 0.9470),
    (0.04, 1.5, 2250, 1e-5, 6.7688),
    (0.1, 1.5, 500, 1e-4, 7.3182),
    (0.2, 2.0, 300, 1e-4, 8.1829),
    (0.5, 1.0, 1, 1e-5, 3.5340),
    (1.0, 1.0, 1, 1e-5, 4.3772),
    (1.0, 20.0, 100, 1e-4, 1.6981),
]
COMPOSITION = ((0.1, 1.5, 500), (0.2, 2.0, 300), (1.0, 5.0, 1))
MECHANISM = Mechanism("train", clipping_norm=1.0, noise_multiplier=1.0, rate=0.1, rounds=20, local_steps=10)


def delta_in_many_digits(target: float, mu: float) -> mpmath.mpf:
    """Phi(mu/2 - epsilon/mu) - e^epsilon Phi(-mu/2 - epsilon/mu), with 1000 digits."""
    with mpmath.workdps(1000):
        target, mu = mpmath.mpf(target), mpmath.mpf(mu)
        first, second = mpmath.ncdf(mu / 2 - target / mu), mpmath.ncdf(-mu / 2 - target / mu)
        return first - mpmath.exp(target) * second


@pytest.mark.parametrize(("rate", "noise_multiplier", "steps", "delta", "expected"), COSTS)
def test_costs_what_was_published(rate, noise_multiplier, steps, delta, expected):
    assert epsilon(((rate, noise_multiplier, steps),), delta) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("rate", "noise_multiplier", "steps", "delta", "expected"), COSTS)
@pytest.mark.filterwarnings("ignore")
def test_agrees_with_opacus(rate, noise_multiplier, steps, delta, expected):
    """Opacus adds its margin of error, .01, to what it finds."""
    accountant = PRVAccountant()
    accountant.history = [(noise_multiplier, rate, steps)]
    theirs = accountant.get_epsilon(delta, eps_error=0.01) - 0.01
    assert epsilon(((rate, noise_multiplier, steps),), delta) == pytest.approx(theirs, rel=5e-3)


def test_different_stages_compose():
    """Below RDP's bound on the same composition, which is 13.182."""
    assert epsilon(COMPOSITION, 1e-4) == pytest.approx(11.909, rel=1e-3)
    quick = RdpAccountant()
    for part in COMPOSITION:
        quick.compose(event_of(*part))
    assert quick.get_epsilon(1e-4) == pytest.approx(13.182, rel=1e-3)


def test_nothing_costs_nothing():
    assert epsilon((), 1e-4) == 0


@pytest.mark.parametrize("mu", [1e-3, 0.01, 0.1, 0.5, 1.0, 1.46, 3.0, 8.0, 15.9, 16.1, 30.0])
@pytest.mark.parametrize("delta", [1e-12, 1e-6, 1e-4, 0.1])
def test_the_closed_form_is_exact(mu, delta):
    """Far more exact than privacy loss distributions, so that it is not those that are asked."""
    found = epsilon_of_mu(mu, delta)
    if found == 0:
        assert delta_in_many_digits(0, mu) <= delta
    else:
        assert float(delta_in_many_digits(found, mu)) == pytest.approx(delta, rel=1e-9)
        assert mu_of(found, delta) == pytest.approx(mu, rel=1e-9)


def test_everybody_in_every_step_is_one_gaussian_mechanism():
    """Ten sums with noise 4 and five with noise 2: mu^2 = 10/16 + 5/4."""
    spent = ((1.0, 2.0, 5), (1.0, 4.0, 10))
    assert epsilon(spent, 1e-5) == epsilon_of_mu(sqrt(10 / 16 + 5 / 4), 1e-5)
    numeric = PLDAccountant(value_discretization_interval=1e-3)
    for part in spent:
        numeric.compose(event_of(*part))
    assert epsilon(spent, 1e-5) == pytest.approx(numeric.get_epsilon(1e-5), rel=5e-3)
    assert epsilon(spent, 1e-5) < numeric.get_epsilon(1e-5)


@pytest.mark.parametrize(("target", "noise_multiplier"), [(1, 3.1857), (6, 0.6851), (60, 0.1263)])
def test_noise_of_one_sum(target, noise_multiplier):
    (found,) = calibrate([(1.0, 1, 1.0)], target, 1e-4)
    assert found == pytest.approx(noise_multiplier, abs=5.1e-5)
    assert target * (1 - 1e-4) < epsilon(((1.0, found, 1),), 1e-4) <= target


@pytest.mark.parametrize(("target", "noise_multiplier"), [(1, 6.5), (6, 1.59)])
def test_noise_of_sampled_patients(target, noise_multiplier):
    assert calibrate([(0.2, 100, 1.0)], target, 1e-4) == [pytest.approx(noise_multiplier, rel=0.01)]


@pytest.mark.parametrize(
    ("stages", "target"),
    [
        ([(1.0, 1, 0.3), (1.0, 200, 0.7)], 1),
        ([(1.0, 1, 0.3), (1.0, 200, 0.7)], 60),
        ([(0.2, 200, 1.0)], 1),
        ([(0.2, 200, 1.0)], 60),
        ([(0.01, 100, 1.0)], 60),
        ([(0.999, 100, 1.0)], 1),
        ([(1.0, 1, 0.3), (0.2, 200, 0.7)], 1),
        ([(0.05, 400, 0.9), (0.5, 10, 0.1)], 60),
    ],
)
def test_calibration_ends_just_below_the_budget(stages, target):
    noise = calibrate(stages, target, 1e-4)
    spent = tuple((rate, sigma, steps) for (rate, steps, _), sigma in zip(stages, noise, strict=True))
    assert 0.99 * target <= epsilon(spent, 1e-4) <= target
    assert [float(f"{sigma:.6g}") for sigma in noise] == noise  # a plan can be read


def test_a_share_is_of_the_squared_mu():
    """Everybody in every step: a quarter of mu^2 = 9/4 for one sum has mu 3/4, three quarters over 12 sums 3/8 each."""
    assert calibrate([(1.0, 1, 0.25), (1.0, 12, 0.75)], epsilon_of_mu(1.5, 1e-4), 1e-4) == pytest.approx(
        [4 / 3, 8 / 3], rel=1e-5
    )


def test_a_share_by_itself_costs_its_part():
    """Halves of mu^2 at different rates: each stage alone costs about what a Gaussian mechanism of mu/sqrt(2) does."""
    stages = [(0.2, 200, 0.5), (0.1, 400, 0.5)]
    half = epsilon_of_mu(mu_of(6, 1e-4) * sqrt(0.5), 1e-4)
    for (rate, steps, _), sigma in zip(stages, calibrate(stages, 6, 1e-4), strict=True):
        assert epsilon(((rate, sigma, steps),), 1e-4) == pytest.approx(half, rel=0.03)


def test_a_ledger_never_passes_the_plan_on_its_way():
    """Fewer steps may be counted at a coarser interval, which must not cost more than all of them may."""
    (sigma,) = calibrate([(0.2, 100, 1.0)], 6, 1e-4)
    assert all(epsilon(((0.2, sigma, steps),), 1e-4) <= 6 for steps in range(90, 101))


@pytest.mark.parametrize("shares", [[0.5, 0.4], [1.0, 0.0], [1.5, -0.5], [nan, 1.0]])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(ValueError, match="sum to 1"):
        calibrate([(1.0, 1, shares[0]), (0.2, 100, shares[1])], 6, 1e-4)


def test_a_share_that_buys_nothing_is_refused():
    with pytest.raises(ValueError, match="a share of 1e-08 is too small"):
        calibrate([(0.2, 100, 1e-8), (1.0, 1, 1 - 1e-8)], 1, 1e-4)


@pytest.mark.parametrize("target", [0, -1, nan, inf])
def test_a_budget_that_is_none_is_refused(target):
    with pytest.raises(ValueError, match="is not a positive number"):
        calibrate([(1.0, 1, 1.0)], target, 1e-4)


@pytest.mark.parametrize("delta", [0, 0.5, 1, -1e-4, nan])
@pytest.mark.parametrize("rate", [0.2, 1.0])
def test_a_delta_that_is_none_is_refused(delta, rate):
    with pytest.raises(ValueError, match="is not between 0 and 1/2"):
        epsilon(((rate, 1.0, 1),), delta)


steps_of = st.integers(1, 300)
rates = st.sampled_from([0.02, 0.1, 0.2, 0.5, 1.0])
noises = st.floats(0.7, 20)


@settings(max_examples=8, deadline=None)
@given(rates, noises, steps_of, steps_of)
def test_more_steps_cost_more(rate, noise_multiplier, steps, more):
    """But for the interval, .1 %."""
    few, many = (
        epsilon(((rate, noise_multiplier, steps),), 1e-4),
        epsilon(((rate, noise_multiplier, steps + more),), 1e-4),
    )
    assert few <= many * 1.002
    assert few < many or few == 0 or more < 0.05 * steps


@settings(max_examples=8, deadline=None)
@given(rates, noises, steps_of, st.floats(1.05, 3))
def test_more_noise_costs_less(rate, noise_multiplier, steps, factor):
    loud = epsilon(((rate, noise_multiplier, steps),), 1e-4)
    assert epsilon(((rate, noise_multiplier * factor, steps),), 1e-4) < loud or loud == 0


@settings(max_examples=8, deadline=None)
@given(noises, steps_of)
def test_sampling_never_costs_more_than_everybody(noise_multiplier, steps):
    assert epsilon(((0.5, noise_multiplier, steps),), 1e-4) <= epsilon(((1.0, noise_multiplier, steps),), 1e-4)


@settings(max_examples=100, deadline=None)
@given(st.floats(1e-3, 300), st.floats(1e-9, 0.4))
def test_mu_and_epsilon_are_inverse(target, delta):
    assert epsilon_of_mu(mu_of(target, delta), delta) == pytest.approx(target, rel=1e-9)


def test_a_smaller_delta_costs_more():
    """Epsilon 6 at 1e-4 is 7.6 at 1e-6, and 1 is 1.4."""
    for at_first, then in [(6, 7.6), (1, 1.4)]:
        (sigma,) = calibrate([(1.0, 1, 1.0)], at_first, 1e-4)
        assert epsilon(((1.0, sigma, 1),), 1e-6) == pytest.approx(then, abs=0.05)


def test_what_was_spent_is_added_up_whatever_the_order():
    other = replace(MECHANISM, stage="generator", rate=1.0, noise_multiplier=7.0)
    same = replace(MECHANISM, stage="generator", clipping_norm=3.0)  # neither has a cost
    taken = [(other, 1), (MECHANISM, 10), (same, 5), (MECHANISM, 10), (replace(other, noise_multiplier=3.0), 0)]
    assert spent_of(taken) == spent_of(taken[::-1]) == ((0.1, 1.0, 25), (1.0, 7.0, 1))


@pytest.mark.parametrize(("target", "percent"), [(1, 2), (6, 19), (12, 58), (20, 92), (60, 100)])
def test_power_of_the_best_attack(target, percent):
    assert round(100 * attack_power(target, 1e-4)) == percent


def test_in_words():
    words = [in_words(target, 1e-4) for target in (1, 6, 12, 20, 60)]
    assert words[0] == "strong protection"
    assert words[-1] == "no meaningful protection"
    assert len(set(words)) == 5


@pytest.mark.parametrize(("images", "expected"), [(1, 6), (2, 14.4), (14, 268)])
def test_a_claim_for_images_is_worse_for_patients(images, expected):
    """Noise 1.59, 100 steps at rate .2: epsilon 6 for whoever has one image."""
    assert image_level(((0.2, 1.59, 100),), images, 1e-4) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("images", "target", "noise_multiplier"), [(6, 1, 38.4), (2, 6, 2.93)])
def test_noise_that_protects_patients_if_images_are_clipped(images, target, noise_multiplier):
    assert image_level(((0.2, noise_multiplier, 100),), images, 1e-4) == pytest.approx(target, rel=0.01)


def test_images_that_are_all_in_every_step_multiply_the_sensitivity():
    assert image_level(((1.0, 6.0, 9),), 3, 1e-4) == epsilon(((1.0, 2.0, 9),), 1e-4) == epsilon_of_mu(1.5, 1e-4)
    mixed = image_level(((0.2, 8.0, 100), (1.0, 6.0, 9)), 3, 1e-4)  # numerically, all three with certainty
    assert mixed > image_level(((1.0, 6.0, 9),), 3, 1e-4)


@pytest.mark.parametrize(("target", "expected"), [(1, 2.2), (6, 14.5)])
def test_telling_one_patient_from_another(target, expected):
    (sigma,) = calibrate([(1.0, 1, 1.0)], target, 1e-4)
    assert replace_one(((1.0, sigma, 1),), 1e-4) == pytest.approx(expected, abs=0.05)


def test_telling_sampled_patients_apart_is_counted_cautiously():
    numeric = PLDAccountant(NeighboringRelation.REPLACE_ONE, value_discretization_interval=1e-3)
    numeric.compose(event_of(0.2, 1.59, 100))
    spent = ((0.2, 1.59, 100),)
    assert epsilon(spent, 1e-4) < numeric.get_epsilon(1e-4) < replace_one(spent, 1e-4)


def test_trap_01_a_fresh_accountant_each_round_forgets():
    """20 rounds of 10 steps cost 8.62 (Opacus, with its margin of .01), where one costs 2.24."""
    one_round = epsilon(spent_of([(MECHANISM, 10)]), 1e-4)
    assert one_round == pytest.approx(2.24, abs=0.02)
    assert epsilon(spent_of([(MECHANISM, 10)] * 20), 1e-4) == pytest.approx(8.62, abs=0.02)


def test_trap_02_a_fraction_of_hospitals_amplifies_nothing():
    """A round of 50 full-batch steps that is taken whole or not at all, with probability .1.

    Taken with probability c, delta_c(log(1 + c (e^epsilon - 1))) = c delta(epsilon): the round costs
    log(1 + c (e^epsilon(delta/c) - 1)), more than 50 steps that each draw their own sample at rate .1 x 1. What is
    counted here is the rate of a step in a round that is taken, which bounds it.
    """
    fraction, delta = 0.1, 1e-4
    true = log(1 + fraction * (exp(epsilon(((1.0, 5.0, 50),), delta / fraction)) - 1))
    claimed = epsilon(((fraction * 1.0, 5.0, 50),), delta)
    counted = epsilon(spent_of([(replace(MECHANISM, rate=1.0, noise_multiplier=5.0, local_steps=50), 50)]), delta)
    assert claimed < 0.5 * true
    assert true < counted


def test_trap_05_noise_for_rounds_is_too_little_for_their_steps():
    for_rounds, for_steps = (calibrate([(0.1, n, 1.0)], 6, 1e-4)[0] for n in (MECHANISM.rounds, MECHANISM.steps))
    everything = [(replace(MECHANISM, noise_multiplier=sigma), MECHANISM.steps) for sigma in (for_rounds, for_steps)]
    assert epsilon(spent_of(everything[:1]), 1e-4) > 12
    assert epsilon(spent_of(everything[1:]), 1e-4) <= 6


@pytest.mark.parametrize("rate", [0.2, 1.0])
@pytest.mark.parametrize("noise_multiplier", [0.0, -1.0, nan, inf])
def test_trap_15_no_noise_is_refused(rate, noise_multiplier):
    for cost in (lambda spent: epsilon(spent, 1e-4), lambda spent: image_level(spent, 2, 1e-4)):
        with pytest.raises(ValueError, match="cannot be counted"):
            cost(((rate, noise_multiplier, 1),))


@pytest.mark.parametrize(("rate", "steps"), [(0.0, 1), (1.1, 1), (nan, 1), (0.2, 0), (0.2, -1), (0.2, 1.5)])
def test_what_cannot_be_counted_is_refused(rate, steps):
    with pytest.raises(ValueError, match="cannot be counted"):
        epsilon(((rate, 1.0, steps),), 1e-4)


@pytest.mark.filterwarnings("ignore")
def test_trap_15_the_central_limit_gives_too_little_noise():
    theirs = get_noise_multiplier(target_epsilon=6, target_delta=1e-4, sample_rate=0.2, steps=100, accountant="gdp")
    assert epsilon(((0.2, theirs, 100),), 1e-4) > 6.2
    assert calibrate([(0.2, 100, 1.0)], 6, 1e-4)[0] > theirs
