"""Bounds certify no more than they may, however guesses are chosen before; who abstains certifies more."""

from fractions import Fraction
from functools import cache
from itertools import product
from math import comb, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.stats import binom, norm
from sklearn.metrics import roc_auc_score

from fedmammo.evaluation.attacks import (
    Flags,
    Floats,
    attack_bounds,
    canary_bounds,
    chance_of_guesses,
    epsilon_of_guesses,
    expected_epsilon,
    guesses_of,
    likelihood_ratios,
    right_guesses,
)
from fedmammo.privacy.accounting import epsilon_of_mu, mu_of

DELTA = 1e-4
AUDITS = 400
FEW = int(binom.ppf(0.999, AUDITS, 0.05))  # bounds that may be wrong of so many at 95 % confidence: 34
certified = cache(epsilon_of_guesses)


def audits(mu: float, canaries: int, seed: int = 0) -> tuple[Flags, Floats]:
    """Simulated audits of a Gaussian mechanism: who was there, and scores; (AUDITS, canaries) each."""
    generator = np.random.default_rng(seed)
    there = generator.random((AUDITS, canaries)) < 0.5
    return there, mu * there + generator.normal(size=there.shape)


def bounds(right: np.ndarray, guesses: int, canaries: int, delta: float) -> Floats:
    return np.array([certified(int(number), guesses, canaries, delta) for number in right])


# The chance of so many right guesses, and the epsilon that they rule out


@pytest.mark.parametrize(("canaries", "ceiling"), [(50, 2.784), (200, 4.193), (400, 4.890), (4000, 7.196)])
def test_all_guesses_right_certify_what_so_many_canaries_can(canaries: int, ceiling: float) -> None:
    """At delta 1e-4; at delta 0 the chance of so many right guesses, p^canaries, is 5 % at e^epsilon = p / (1 - p)."""
    assert epsilon_of_guesses(canaries, canaries, canaries, DELTA) == pytest.approx(ceiling, abs=5e-4)
    right = 0.05 ** (1 / canaries)
    assert epsilon_of_guesses(canaries, canaries, canaries, 0.0) == pytest.approx(log(right / (1 - right)), abs=1e-4)


def worst_chance(right: int, guesses: int, canaries: int, epsilon: float, delta: float) -> float:
    """The chance under the worst of all mechanisms, by linear programming.

    Unknown are P[output | coins], outputs being all ways to guess at most so many canaries, and for each two sequences
    of coins that differ in one by how much each output passes e^epsilon times its probability: delta at most, in sum.
    """
    coins = np.array(list(product((-1, 1), repeat=canaries)))
    outputs = np.array([one for one in product((-1, 0, 1), repeat=canaries) if np.abs(one).sum() <= guesses])
    met = (coins[:, None] == outputs).sum(axis=2) >= right
    here, there = np.nonzero((coins[:, None] != coins).sum(axis=2) == 1)
    each, pairs = np.eye(len(outputs)), np.eye(len(here))
    ratios = np.kron(np.eye(len(coins))[here] - np.exp(epsilon) * np.eye(len(coins))[there], each)
    most = np.block([
        [ratios, -np.kron(pairs, each)],
        [np.zeros((len(here), met.size)), np.kron(pairs, np.ones(len(outputs)))],
    ])  # fmt: skip
    limits = np.concatenate([np.zeros(len(ratios)), np.full(len(here), delta)])
    sums = np.kron(np.eye(len(coins)), np.ones(len(outputs)))
    sums = np.hstack([sums, np.zeros((len(coins), len(ratios)))])
    value = np.concatenate([met.ravel() / -len(coins), np.zeros(len(ratios))])
    return -float(linprog(value, most, limits, sums, np.ones(len(coins))).fun)


@pytest.mark.parametrize(("epsilon", "delta"), [(1.0, 0.0), (1.0, 0.02), (0.0, 0.05), (3.0, 0.02), (0.5, 0.3)])
def test_the_chance_is_that_under_the_worst_mechanism_there_is(epsilon: float, delta: float) -> None:
    """Of three canaries, also where some are not guessed; whichever these are, and whatever that depends on."""
    for guesses, canaries in ((1, 1), (2, 2), (1, 3), (2, 3), (3, 3)):
        for right in range(guesses + 1):
            found = chance_of_guesses(right, guesses, canaries, epsilon, delta)
            assert found == pytest.approx(worst_chance(right, guesses, canaries, epsilon, delta), abs=1e-6)


def test_a_chance_by_hand() -> None:
    """Of three coins tossed anew, at epsilon 0: if all are wrong, sometimes take one of the 7 other outcomes instead.

    An outcome that is all wrong has probability 1/8 - x, any other 1/8 + x/7. If one coin is turned, only the outcome
    that was all wrong before is likelier than it was: by 8x/7, which delta .05 allows if x is .04375.
    """
    assert chance_of_guesses(1, 3, 3, 0.0, 0.05) == pytest.approx(7 / 8 + 0.04375)


@pytest.mark.parametrize(("right", "guesses", "canaries"), [(3, 4, 4), (3, 4, 9), (17, 20, 50), (20, 20, 20)])
def test_the_chance_is_that_of_sums_by_hand(right: int, guesses: int, canaries: int) -> None:
    """At epsilon log 3 a guess is right with probability 3/4."""
    chances = [Fraction(comb(guesses, k) * 3**k, 4**guesses) for k in range(guesses + 1)]
    luck = sum(chances[right:])
    assert chance_of_guesses(right, guesses, canaries, log(3), 0.0) == pytest.approx(float(luck), rel=1e-12)
    expected = luck + (1 - luck) * min(1, canaries * Fraction(1, 100) * luck / (right * chances[right]))
    assert chance_of_guesses(right, guesses, canaries, log(3), 0.01) == pytest.approx(float(expected), rel=1e-12)


def test_chances_hold_where_floating_point_ends() -> None:
    """4000 tosses all right have chance 2^-4000; delta reveals all coins with probability delta: .1 in all."""
    assert chance_of_guesses(4000, 4000, 4000, 0.0, 0.1) == pytest.approx(0.1)
    assert chance_of_guesses(1, 4000, 4000, 50.0, 0.1) == chance_of_guesses(1, 4000, 4000, 50.0, 0.0) == 1


@given(st.data())
def test_the_published_term_in_delta_is_larger_where_chances_are_small(data: st.DataObject) -> None:
    """Theorem 5.2 of arXiv 2305.08846: 2 canaries delta max over i of P[right - i <= binomial < right] / i."""
    guesses = data.draw(st.integers(1, 200))
    right = data.draw(st.integers(1, guesses))
    canaries = data.draw(st.integers(guesses, 1000))
    epsilon, delta = data.draw(st.floats(0, 8)), data.draw(st.floats(1e-6, 0.1))
    by_luck, steps = binom(guesses, 1 / (1 + np.exp(-epsilon))), np.arange(1, right + 1)
    slack = (by_luck.pmf(right - steps).cumsum() / steps).max()
    published = by_luck.sf(right - 1) + 2 * canaries * delta * slack
    assert published > 0.5 or chance_of_guesses(right, guesses, canaries, epsilon, delta) <= published + 1e-12


@pytest.mark.parametrize(
    ("right", "guesses", "canaries", "delta", "published"),
    [(75, 100, 1000, 1e-4, 0.673), (1439, 1510, 100_000, 1e-5, 2.675)],
)
def test_more_is_certified_than_by_the_published_term_in_delta_and_less_than_without_delta(
    right: int, guesses: int, canaries: int, delta: float, published: float
) -> None:
    """Published: arXiv 2305.08846, appendix D and section 7, by theorem 5.2."""
    found = epsilon_of_guesses(right, guesses, canaries, delta)
    assert published < found < epsilon_of_guesses(right, guesses, canaries, 0.0) < published + 0.15


def test_guesses_by_luck_certify_nothing_and_delta_only_lowers() -> None:
    """60 of 100 right: at epsilon 0 the chance of as many is .028, so a little is certified; of 55 it is .184."""
    assert epsilon_of_guesses(55, 100, 100, 0.0) == 0
    found = epsilon_of_guesses(60, 100, 100, 0.0)
    assert binom(100, 1 / (1 + np.exp(-found))).sf(59) == pytest.approx(0.05, abs=1e-4) and found > 0
    assert epsilon_of_guesses(60, 100, 100, 1e-3) < found
    assert epsilon_of_guesses(0, 0, 100, DELTA) == epsilon_of_guesses(0, 100, 100, DELTA) == 0


@given(st.data())
def test_more_right_certify_more_and_more_delta_or_canaries_less(data: st.DataObject) -> None:
    guesses = data.draw(st.integers(1, 120))
    right = data.draw(st.integers(0, guesses - 1))
    canaries = data.draw(st.integers(guesses, 300))
    delta = data.draw(st.sampled_from([0.0, 1e-6, 1e-4, 1e-3]))
    here = epsilon_of_guesses(right, guesses, canaries, delta)
    assert here <= epsilon_of_guesses(right + 1, guesses, canaries, delta) + 2e-6
    assert here <= epsilon_of_guesses(right, guesses - 1, canaries, delta) + 2e-6, "one wrong guess less"
    assert here >= epsilon_of_guesses(right, guesses, canaries, 2 * delta + 1e-6) - 2e-6
    assert here >= epsilon_of_guesses(right, guesses, canaries + 20, delta) - 2e-6
    if here > 0:
        assert chance_of_guesses(right, guesses, canaries, here, delta) == pytest.approx(0.05, abs=1e-5)


@pytest.mark.parametrize(("right", "guesses", "canaries"), [(-1, 3, 3), (4, 3, 5), (3, 6, 5)])
def test_counts_that_cannot_be_are_refused(right: int, guesses: int, canaries: int) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        epsilon_of_guesses(right, guesses, canaries, DELTA)


# Which canaries are guessed, and how many


def test_the_surest_are_those_farthest_from_the_middle() -> None:
    """Scores around 2: distances 3, -2, 1, -1.5, -.5, of which the first is wrong, and the third, and the last."""
    found = np.array([5.0, 0.0, 3.0, 0.5, 1.5])
    there = np.array([False, False, False, False, True])
    assert [int(right_guesses(there, found, guesses)) for guesses in range(6)] == [0, 0, 1, 2, 2, 2]
    both = right_guesses(np.stack([there, ~there]), np.stack([found, found]), 4)
    assert both.tolist() == [2, 2]


@given(st.integers(0, 2**32 - 1), st.floats(-50, 50), st.floats(0.1, 10))
def test_guesses_do_not_depend_on_where_scores_start_or_in_what_unit(seed: int, start: float, unit: float) -> None:
    generator = np.random.default_rng(seed)
    there = generator.random(40) < 0.5
    found = there + generator.normal(size=40)
    order = generator.permutation(40)
    rights = right_guesses(there, found, 15)
    assert right_guesses(there, start + unit * found, 15) == right_guesses(there[order], found[order], 15) == rights
    assert right_guesses(~there, -found, 15) == rights, "in and out are alike"


@pytest.mark.parametrize(("claimed", "guesses"), [(1, 120), (6, 60), (12, 160), (60, 400)])
def test_expected_bounds_are_those_of_simulated_audits(claimed: float, guesses: int) -> None:
    mu = mu_of(claimed, DELTA)
    rights = right_guesses(*audits(mu, 400), guesses)
    assert expected_epsilon(guesses, 400, mu, DELTA) == pytest.approx(
        bounds(rights, guesses, 400, DELTA).mean(), abs=0.1
    )


def test_the_chosen_number_of_guesses_could_contradict_the_claim_and_promises_most() -> None:
    """60 guesses of 400 would promise 1.047 under epsilon 3, yet could not certify 3; 80 promise about as much."""
    mu = mu_of(3, DELTA)
    chosen = guesses_of(400, 3, mu, DELTA)
    assert epsilon_of_guesses(chosen, chosen, 400, DELTA) > 3
    assert expected_epsilon(chosen, 400, mu, DELTA) > expected_epsilon(400, 400, mu, DELTA) + 0.4
    assert guesses_of(400, 3, mu, DELTA) == chosen, "from the claim alone"
    assert guesses_of(10, 0.01, mu_of(0.01, DELTA), DELTA) == 10, "where nothing is promised, all are guessed"
    assert guesses_of(1, 6, mu_of(6, DELTA), DELTA) == 1
    assert guesses_of(400, 1000, mu_of(1000, DELTA), DELTA) == 400


@pytest.mark.parametrize(("claimed", "before", "after"), [(6, 0.98, 2.12), (60, 3.49, 4.88)])
def test_who_guesses_the_surest_certifies_more_than_who_guesses_every_canary(
    claimed: float, before: float, after: float
) -> None:
    """Half of 400 canaries guessed as there, the other half as not, however many were there; means of 400 audits."""
    there, found = audits(mu_of(claimed, DELTA), 400)
    upper = found.argsort(axis=1).argsort(axis=1) >= 200
    all_guessed = bounds((upper == there).sum(axis=1), 400, 400, DELTA).mean()
    guesses = guesses_of(400, claimed, mu_of(claimed, DELTA), DELTA)
    surest_guessed = bounds(right_guesses(there, found, guesses), guesses, 400, DELTA).mean()
    assert (all_guessed, surest_guessed) == pytest.approx((before, after), abs=0.1)


# Bounds that hold


def test_a_bound_is_wrong_no_more_often_than_it_says_under_randomised_response() -> None:
    """Where guesses are right with e^epsilon / (1 + e^epsilon) the theorem is sharp at delta 0: 5 %, nearly."""
    generator = np.random.default_rng(0)
    for epsilon, guesses in ((1.0, 80), (2.0, 400), (3.0, 200)):
        rights = generator.binomial(guesses, 1 / (1 + np.exp(-epsilon)), size=AUDITS)
        wrong = (bounds(rights, guesses, 400, 0.0) > epsilon).sum()
        assert 3 <= wrong <= FEW
        assert (bounds(rights, guesses, 400, DELTA) > epsilon).sum() <= wrong


@pytest.mark.parametrize("mu", [0.0, 0.314, 1.46])
def test_a_bound_is_wrong_no_more_often_than_it_says_under_gaussian_noise(mu: float) -> None:
    """Of mu 0 the epsilon is 0, and guesses are tosses: also there, how sure a guess seems must not matter."""
    there, found = audits(mu, 200)
    claimed = epsilon_of_mu(mu, DELTA)
    for guesses in (guesses_of(200, claimed, mu, DELTA), 40, 200):
        rights = right_guesses(there, found, guesses)
        assert (bounds(rights, guesses, 200, DELTA) > claimed).sum() <= FEW
        assert mu > 0 or 3 <= (bounds(rights, guesses, 200, 0.0) > 0).sum() <= FEW


def test_a_number_of_guesses_chosen_after_looking_would_be_wrong_more_often() -> None:
    """What fixing it beforehand is for: the best of twenty numbers claims what is not there in far more than 5 %."""
    there, found = audits(0.0, 200)
    tried = [bounds(right_guesses(there, found, guesses), guesses, 200, 0.0) for guesses in range(10, 201, 10)]
    assert (np.max(tried, axis=0) > 0).sum() > 2 * FEW


def test_an_audits_bounds_are_those_of_its_guesses() -> None:
    there, found = (values[0] for values in audits(1.5, 300))
    both = canary_bounds(there, found, 90, DELTA)
    least = both["epsilon is at least"]
    assert least.value == least.low == epsilon_of_guesses(int(right_guesses(there, found, 90)), 90, 300, DELTA)
    assert least.ceiling == epsilon_of_guesses(90, 90, 300, DELTA) > least.value > 0
    mu = both["mu"]
    assert mu.value == pytest.approx(found[there].mean() - found[~there].mean())
    assert mu.high - mu.low == pytest.approx(2 * norm.ppf(0.975) * 2 / np.sqrt(300), rel=0.1)


# Membership


def test_what_halves_have_in_common_is_no_sign_of_membership() -> None:
    """Confidence that is a model's own, and opposite in the model of the other half, says nothing of a patient."""
    generator = np.random.default_rng(0)
    halves = generator.permuted(np.tile(np.arange(200) < 100, (20, 1)), axis=1)
    shift = generator.normal(size=(20, 1))
    confidence = np.concatenate([shift, -shift]) + 0.1 * generator.normal(size=(40, 200))
    inside = np.concatenate([halves, ~halves])
    bound = attack_bounds(inside, likelihood_ratios(inside, confidence), 0)["attack's AUROC"]
    assert bound.value == pytest.approx(0.5, abs=0.02) and bound.low < 0.5 < bound.high


def test_an_attacks_auroc_and_power_are_those_of_its_scores() -> None:
    """Scores in tenths, so that many are equal; 1 % of 500 who were out are 5, above whose score are the found."""
    generator = np.random.default_rng(0)
    inside = np.tile(np.arange(100) < 50, (10, 1))
    ratios = (inside + generator.normal(size=inside.shape)).round(1)
    found = attack_bounds(inside, ratios, 0)
    assert found["attack's AUROC"].value == pytest.approx(roc_auc_score(inside.ravel(), ratios.ravel()), abs=1e-12)
    threshold = np.quantile(ratios[~inside], 0.99)
    power = found["found at 1% false alarms"]
    assert power.value == (ratios[inside] > threshold).mean() and power.low <= power.value <= power.high
