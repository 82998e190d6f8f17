"""What attacks on a mechanism show: statistics of guesses, scores and confidences. Lower bounds, not a proof.

The models that are attacked are trained in `fedmammo/privacy/audit.py`.
"""

from math import exp, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import binom, foldnorm, mannwhitneyu, norm

CONFIDENCE = 0.95
FALSE_POSITIVES = 0.01  # at which an attack's power is told
RESAMPLES = 1000
MOST = 50.0  # an epsilon that no audit certifies
FRACTIONS = 20  # of the canaries, among which the number of guesses is chosen
QUANTILES = 8  # of the number of right guesses, over which a bound is averaged

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Bound(NamedTuple):
    """A value found, its 95 % interval (or its lower end alone), and the most that could have been found."""

    value: float
    low: float
    high: float
    ceiling: float


def chance_of_guesses(right: int, guesses: int, canaries: int, epsilon: float, delta: float) -> float:
    """Return the most likely that so many right guesses, or more, can be under epsilon and delta: exactly that.

    Steinke, Nasr & Jagielski 2023 (arXiv 2305.08846): each canary was there by the toss of a coin; who guesses sees the
    release, guesses so many of the canaries and abstains from the others. At delta 0, right guesses are no likelier to
    be many than binomial ones of probability e^epsilon / (1 + e^epsilon) (theorem 3.1). Only the number of guesses has
    to be fixed: which canaries are guessed, and how many of these as there, may depend on the release.

    A delta adds the part min(1, canaries delta chance / (right pmf(right))) of what is missing to 1; chance and pmf are
    the binomial ones. Some mechanism attains that. Theorem 5.2 of the paper adds more, where the sum is below one half.

    Args:
        right: how many guesses were right, from 0 to `guesses`.
        guesses: how many canaries were guessed, from 0 to `canaries`.
        canaries: how many there were, guessed or not.
        epsilon: from 0 up.
        delta: from 0 to 1.

    Returns:
        From 0 to 1. Raises ValueError for counts that cannot be.
    """
    if not 0 <= right <= guesses <= canaries:
        raise ValueError(f"{right} right of {guesses} guesses of {canaries} canaries cannot be")
    if right == 0:
        return 1.0
    chance = float(binom.sf(right - 1, guesses, 1 / (1 + exp(-epsilon))))
    growth = exp(epsilon) * np.arange(guesses - right, 0, -1) / np.arange(right + 1, guesses + 1)
    # Why so much: let b(k) be the binomial chance of k right of r guesses, g(k) a mechanism's. Shuffle canaries and the
    # sides of coins, so that a release depends on k alone. If one coin is turned, epsilon and delta let the sum over k
    # of a(k) = max(0, k g(k) - e^epsilon (r - k + 1) g(k - 1)) be at most canaries delta. With b in place of g all a(k)
    # are 0, so g/b grows from k - 1 to k by at most a(k) / (k b(k)). For the chances A under g and B under b of v or
    # more, the means of g/b from v up and below v are A / B and (1 - A) / (1 - B). They differ by at most the sum of
    # a(k) / (k b(k)) times the parts of b from v up that are at k or above, and below v that are below k. As b is
    # log-concave, this weight of a(k) is largest at k = v: A - B <= B (1 - B) canaries delta / (v b(v)).
    with np.errstate(over="ignore"):  # where right is far below what is expected
        ratio = float(1 + growth.cumprod().sum())  # chance / pmf(right), also where both are 0 in floating point
    return chance + (1 - chance) * min(1.0, canaries * delta * ratio / right)


def epsilon_of_guesses(right: int, guesses: int, canaries: int, delta: float) -> float:
    """Return the epsilon that so many right guesses rule out at 95 % confidence: the mechanism's is at least that.

    The largest epsilon, from 0 up and to 1e-6, under which they have a chance of 5 % or less; arguments as of
    `chance_of_guesses`. The confidence holds where `guesses` was fixed before anybody looked (`guesses_of`).
    """

    def excess(epsilon: float) -> float:
        return chance_of_guesses(right, guesses, canaries, epsilon, delta) - (1 - CONFIDENCE)

    return 0.0 if excess(0.0) >= 0 else float(brentq(excess, 0.0, MOST, xtol=1e-6))


def expected_epsilon(guesses: int, canaries: int, mu: float, delta: float) -> float:
    """Return about what the surest guesses certify on average, where the mechanism is Gaussian with this mu.

    Scores are normal around 0 or mu, of deviation 1. Their distances from mu / 2 are folded normal, the farthest are
    guessed, and of these the rights are binomial: independent, given the distance from which on one guesses. That
    distance is taken to be its quantile.

    Args:
        guesses: how many canaries are guessed, from 1 to `canaries`.
        canaries: how many there are.
        mu: from 0 up.
        delta: from 0 to 1.
    """
    distance = foldnorm.isf(guesses / canaries, mu / 2)
    probability = min(1.0, norm.sf(distance - mu / 2) * canaries / guesses)
    parts = (np.arange(QUANTILES) + 0.5) / QUANTILES
    rights, counts = np.unique(binom.ppf(parts, guesses, probability).astype(int), return_counts=True)
    return float(np.average([epsilon_of_guesses(int(n), guesses, canaries, delta) for n in rights], weights=counts))


def guesses_of(canaries: int, claimed: float, mu: float, delta: float) -> int:
    """Choose how many canaries to guess: what certifies most on average if a claim is true, yet could contradict it.

    Chosen from the claim alone, so that the confidence of a bound needs no correction for the choice. Numbers of
    guesses that certify less than the claim even if all are right are left out, unless all are such.

    Args:
        canaries: how many there are, from 1 up.
        claimed: epsilon at `delta`, as it is claimed.
        mu: of the Gaussian mechanism that has this epsilon at this delta, from 0 up.
        delta: from 0 to 1.

    Returns:
        A number of guesses, from 1 to `canaries`; of several that promise as much, the largest.
    """
    numbers = sorted({max(1, round(canaries * part / FRACTIONS)) for part in range(1, FRACTIONS + 1)}, reverse=True)
    able = [number for number in numbers if epsilon_of_guesses(number, number, canaries, delta) > claimed]
    return max(able or numbers, key=lambda number: expected_epsilon(number, canaries, mu, delta))


def right_guesses(there: Flags, found: Floats, guesses: int) -> NDArray[np.int64]:
    """Guess the surest canaries, those whose scores are farthest from the mean of all, and count the right guesses.

    A canary above the mean is guessed to be there, one below it not. For scores of two normal distributions of one
    width, distance from the middle between them orders canaries by how sure a guess is, and the mean of all scores is
    near that middle, whatever mu is.

    Args:
        there: who was there, (..., canaries).
        found: the score of each, likewise.
        guesses: how many to guess, from 0 to canaries.

    Returns:
        How many of the guesses were right, (...).
    """
    distance = found - found.mean(axis=-1, keepdims=True)
    surest = np.argsort(-np.abs(distance), axis=-1, kind="stable")[..., :guesses]
    return np.take_along_axis((distance > 0) == there, surest, axis=-1).sum(axis=-1)


def canary_bounds(there: Flags, found: Floats, guesses: int, delta: float) -> dict[str, Bound]:
    """Return the lower bound of epsilon from guessing the surest canaries, and an estimate of mu with its interval.

    Args:
        there: who was there, (canaries,): some, and not all.
        found: how much of each was found in what was released, in units of its noise, (canaries,).
        guesses: how many to guess, from 1 to canaries; fixed before anybody looked, as by `guesses_of`.
        delta: from 0 to 1.

    Returns:
        The bound, with the most that so many guesses could certify, all of them right; and mu.
    """
    canaries = len(there)
    least = epsilon_of_guesses(int(right_guesses(there, found, guesses)), guesses, canaries, delta)
    ceiling = epsilon_of_guesses(guesses, guesses, canaries, delta)
    mu = float(found[there].mean() - found[~there].mean())
    error = sqrt(found[there].var(ddof=1) / there.sum() + found[~there].var(ddof=1) / (~there).sum())
    reach = float(norm.ppf((1 + CONFIDENCE) / 2)) * error
    return {
        "epsilon is at least": Bound(least, least, np.nan, ceiling),
        "mu": Bound(mu, mu - reach, mu + reach, np.nan),
    }


def likelihood_ratios(inside: Flags, confidence: Floats) -> Floats:
    """Return by how much each patient's confidence in a model speaks for having been in its half: (models, patients).

    Args:
        inside: who was in which half, (models, patients); the second half of the models learned from the other halves.
        confidence: of each patient in each model, likewise.
    """
    models = len(inside)
    ratios = np.empty(inside.shape)
    for number in range(models):
        # Nor may the model of the other half be used: what that half makes of it is what this one does not.
        others = np.arange(models) % (models // 2) != number % (models // 2)
        spread = [np.where(mask[others], confidence[others], np.nan) for mask in (inside, ~inside)]
        means = [np.nanmean(one, axis=0) for one in spread]
        width = np.sqrt(np.nanmean([np.nanvar(one, axis=0) for one in spread], axis=0)) + 1e-12
        logs = [norm.logpdf(confidence[number], mean, width) for mean in means]
        ratios[number] = logs[0] - logs[1]
    return ratios


def attack_bounds(inside: Flags, ratios: Floats, seed: int) -> dict[str, Bound]:
    """Return the attack's AUROC and its power at 1 % false alarms, with 95 % intervals over patients x models."""
    generator = np.random.default_rng(seed)
    models, patients = inside.shape
    drawn = [np.ix_(np.arange(models), np.arange(patients))]
    drawn += [
        np.ix_(generator.integers(models, size=models), generator.integers(patients, size=patients))
        for _ in range(RESAMPLES)
    ]
    auroc = [_auroc(inside[chosen], ratios[chosen]) for chosen in drawn]
    power = [_power(inside[chosen], ratios[chosen]) for chosen in drawn]
    found = {}
    for name, values in (("attack's AUROC", auroc), (f"found at {FALSE_POSITIVES:.0%} false alarms", power)):
        low, high = np.quantile(values[1:], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        found[name] = Bound(float(values[0]), float(low), float(high), np.nan)
    return found


def _auroc(inside: Flags, ratios: Floats) -> float:
    ranked = mannwhitneyu(ratios[inside], ratios[~inside], method="asymptotic")
    return float(ranked.statistic / (inside.sum() * (~inside).sum()))


def _power(inside: Flags, ratios: Floats) -> float:
    threshold = np.quantile(ratios[~inside], 1 - FALSE_POSITIVES)
    return float((ratios[inside] > threshold).mean())
