"""What noise costs: the epsilon of what was drawn, the noise that a budget asks for, what an epsilon means.

Without sampling of patients a composition of Gaussian mechanisms is one Gaussian mechanism, which has a closed form
(Gaussian differential privacy, Dong et al. 2022, arXiv 1905.02383). With Poisson sampling the privacy loss distribution
is composed numerically by dp-accounting, always from above (Doroshenko et al. 2022, arXiv 2207.04380). Everything here
is for one patient's data being there or replaced by nothing, unless it says otherwise.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from math import ceil, exp, floor, inf, isfinite, log, log10, sqrt
from typing import TYPE_CHECKING

from scipy.optimize import brentq
from scipy.special import erfcx, ndtr, ndtri

from fedmammo.privacy.mechanism import Mechanism

if TYPE_CHECKING:  # most of a second to import, and needed where a budget is
    from dp_accounting.dp_event import DpEvent
    from dp_accounting.pld import PLDAccountant

Spent = tuple[tuple[float, float, int], ...]
"""What was drawn, each with its rate of sampling, noise multiplier and number of steps (`spent_of`)."""

COARSEST_INTERVAL = 0.02  # of privacy losses; where halving starts
TOLERANCE = 1e-3  # halving ends where it moves epsilon by less than this part of it
# What calibration accepts, as parts of the budget: away from it by more than TOLERANCE, so that a ledger whose interval
# happens to be coarser after fewer steps does not refuse what was planned.
LEAST, AIM, MOST = 0.992, 0.995, 0.998
FARTHEST = 8.0  # standard deviations beyond which a normal variable never is, to 1e-15
WORDS = (
    (0.05, "strong protection"),
    (0.3, "moderate protection"),
    (0.75, "weak protection"),
    (0.99, "hardly any protection"),
    (inf, "no meaningful protection"),
)


def spent_of(taken: Iterable[tuple[Mechanism, int]]) -> Spent:
    """Add up mechanisms with the steps that were taken of each; the order in which they were taken is of no account."""
    total: Counter[tuple[float, float]] = Counter()
    for mechanism, steps in taken:
        total[mechanism.rate, mechanism.noise_multiplier] += steps
    return tuple((rate, noise_multiplier, steps) for (rate, noise_multiplier), steps in sorted(total.items()) if steps)


@lru_cache(maxsize=4096)
def epsilon(spent: Spent, delta: float) -> float:
    """Return the epsilon of all that was drawn, at a delta between 0 and 1/2: exact without sampling, else from above.

    Raises ValueError where something was drawn without noise, at no rate, or not a whole number of times.
    """
    _check(spent)
    if all(rate == 1 for rate, _, _ in spent):
        return epsilon_of_mu(sqrt(sum(steps / sigma**2 for _, sigma, steps in spent)), delta)
    return _numeric_epsilon(tuple(event_of(*part) for part in spent), delta)


def event_of(rate: float, noise_multiplier: float, steps: int) -> "DpEvent":
    """Describe noised sums to dp-accounting."""
    from dp_accounting.dp_event import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent

    noised = GaussianDpEvent(noise_multiplier)
    return SelfComposedDpEvent(noised if rate == 1 else PoissonSampledDpEvent(rate, noised), steps)


def calibrate(stages: Sequence[tuple[float, int, float]], target: float, delta: float) -> list[float]:
    """Return the noise multipliers with which stages together cost at most `target`, and at least 99 % of it.

    Args:
        stages: rate of sampling, steps and share of each. Shares are positive and sum to 1: they divide mu^2, where mu
            is that of the Gaussian mechanism of `target` and `delta`. A stage by itself costs what a Gaussian mechanism
            of its part of mu^2 does; as those epsilons do not quite compose like Gaussian mechanisms where patients are
            sampled, all noise is then scaled by one factor, near 1.
        target: epsilon of all stages together, positive.
        delta: between 0 and 1/2.

    Returns:
        noise multipliers, of six digits. Raises ValueError for shares, a target or a delta that cannot be, and for a
        share so small that already `delta` allows what it buys.
    """
    if not all(share > 0 for _, _, share in stages) or abs(sum(share for _, _, share in stages) - 1) > 1e-9:
        raise ValueError(f"shares {[share for _, _, share in stages]} are not positive numbers that sum to 1")
    mu = mu_of(target, delta) * (1 - 1e-9)  # rounding shall not pass the target
    if all(rate == 1 for rate, _, _ in stages):
        return [_rounded_up(sqrt(steps / share) / mu) for _, steps, share in stages]
    spent = []
    for rate, steps, share in stages:
        noise_multiplier = sqrt(steps / share) / mu
        if rate < 1:
            alone = epsilon_of_mu(mu * sqrt(share), delta)
            if alone == 0:
                raise ValueError(f"a share of {share:g} is too small: at delta {delta:g} it buys nothing")
            noise_multiplier *= _factor(((rate, noise_multiplier, steps),), alone, delta)
        spent.append((rate, noise_multiplier, steps))
    factor = _factor(tuple(spent), target, delta)
    return [_rounded_up(noise_multiplier * factor) for _, noise_multiplier, _ in spent]


def epsilon_of_mu(mu: float, delta: float) -> float:
    """Return the epsilon of a Gaussian mechanism whose noise has 1/mu of the sensitivity, exactly (mu from 0 up).

    The delta of an epsilon (Balle and Wang 2018, arXiv 1805.06530, theorem 8) is Phi(-a) - e^epsilon Phi(-a - mu) with
    epsilon = mu (a + mu / 2); it is solved for a, which stays moderate however large epsilon is.
    """
    _check_delta(delta)
    if 2 * ndtr(mu / 2) - 1 <= delta:
        return 0.0
    a = _root(lambda a: _log_delta(a, mu) - log(delta), max(-mu / 2, -FARTHEST), -ndtri(delta))
    return mu * (a + mu / 2)


def mu_of(target: float, delta: float) -> float:
    """Return the mu of the Gaussian mechanism that costs a positive epsilon at a delta; inverse of `epsilon_of_mu`."""
    _check_delta(delta)
    if not 0 < target < inf:
        raise ValueError(f"epsilon {target} is not a positive number")
    quantile = -float(ndtri(delta))
    least = 2 * target / (quantile + sqrt(quantile**2 + 2 * target))  # here delta would be met without its second term
    most = FARTHEST + sqrt(FARTHEST**2 + 2 * target)
    return _root(lambda mu: _log_delta(target / mu - mu / 2, mu) - log(delta), least, most)


def attack_power(spent_epsilon: float, delta: float, false_positives: float = 0.01) -> float:
    """Return how many members the best membership attack finds, as a fraction, where it accuses few others wrongly.

    Of a Gaussian mechanism that costs so much (Dong et al. 2022, equation 6): the attacker knows everything but whether
    one patient was there. An epsilon of 0 leaves delta alone to be told.
    """
    if not 0 < spent_epsilon < inf:
        return false_positives + delta if spent_epsilon == 0 else 1.0
    return float(ndtr(ndtri(false_positives) + mu_of(spent_epsilon, delta)))


def in_words(spent_epsilon: float, delta: float) -> str:
    """Say for a privacy officer, in a few words, what protection an epsilon gives (by its `attack_power`)."""
    power = attack_power(spent_epsilon, delta)
    return next(words for most, words in WORDS if power < most)


@lru_cache(maxsize=256)
def image_level(spent: Spent, images: int, delta: float) -> float:
    """Return what the same noise would cost a patient with so many images, were images clipped instead of patients.

    Each image would be sampled by itself, so that of a patient's k images binomially many are in a step, and add up to
    as many clipping norms (a mixture of Gaussians, Ganesh 2023, arXiv 2310.15526); without sampling, all k. Less than
    noise/k would cost, which supposes that the images are sampled together.
    """
    _check(spent)
    if all(rate == 1 for rate, _, _ in spent):
        return epsilon(tuple((rate, sigma / images, steps) for rate, sigma, steps in spent), delta)
    return _numeric_epsilon(tuple(_event_of_images(*part, images) for part in spent), delta)


def replace_one(spent: Spent, delta: float) -> float:
    """Return the epsilon against telling one patient from another, in place of from nothing: at twice the sensitivity.

    Exact without sampling, else cautious: such patients differ only in the steps that took them.
    """
    return epsilon(tuple((rate, sigma / 2, steps) for rate, sigma, steps in spent), delta)


def _event_of_images(rate: float, noise_multiplier: float, steps: int, images: int) -> "DpEvent":
    from dp_accounting.dp_event import MixtureOfGaussiansDpEvent, SelfComposedDpEvent
    from scipy.stats import binom

    counts = range(images + 1)
    chances = tuple(float(binom.pmf(count, images, rate)) for count in counts)
    return SelfComposedDpEvent(MixtureOfGaussiansDpEvent(noise_multiplier, tuple(counts), chances), steps)


def _numeric_epsilon(events: "tuple[DpEvent, ...]", delta: float) -> float:
    """Return the epsilon of a composition, its privacy losses rounded to an interval that makes no difference."""
    _check_delta(delta)
    interval = COARSEST_INTERVAL
    before, found = inf, _composed(events, interval).get_epsilon(delta)
    while isfinite(found) and before - found > TOLERANCE * found:
        interval /= 2
        before, found = found, _composed(events, interval).get_epsilon(delta)
    return float(found)


@lru_cache(maxsize=8)  # the same is asked at several deltas
def _composed(events: "tuple[DpEvent, ...]", interval: float) -> "PLDAccountant":
    from dp_accounting.dp_event import ComposedDpEvent
    from dp_accounting.pld import PLDAccountant

    return PLDAccountant(value_discretization_interval=interval).compose(ComposedDpEvent(events))


def _factor(spent: Spent, target: float, delta: float) -> float:
    """Return by how much to scale all noise so that the whole costs the target, within what calibration accepts."""

    def excess(log_factor: float) -> float:
        scaled = tuple((rate, sigma * exp(log_factor), steps) for rate, sigma, steps in spent)
        part = epsilon(scaled, delta) / target
        return 0.0 if LEAST <= part <= MOST else log(max(part, 1e-9) / AIM)  # a root as soon as it is good enough

    here = excess(0.0)
    if here == 0:
        return 1.0
    step = log(2) if here > 0 else -log(2)
    end = step
    while excess(end) * here > 0:
        end += step
    return exp(_root(excess, end - step, end))


def _log_delta(a: float, mu: float) -> float:
    """Log of the delta in `epsilon_of_mu`, by Mills' ratio of the normal distribution, which takes out e^epsilon."""
    ratio, farther_ratio = erfcx(a / sqrt(2)), erfcx((a + mu) / sqrt(2))
    return -(a**2) / 2 - log(2) + log(ratio - farther_ratio)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    return float(brentq(function, low, high, xtol=1e-15, rtol=1e-14))


def _rounded_up(value: float) -> float:
    """Round up to six digits, so that a plan can be read."""
    digits = 5 - floor(log10(value))
    return float(ceil(value * 10.0**digits) / 10.0**digits)


def _check(spent: Spent) -> None:
    for rate, sigma, steps in spent:
        if not (0 < rate <= 1 and 0 < sigma < inf and steps >= 1 and steps == int(steps)):
            raise ValueError(f"{steps} steps at rate {rate} with noise multiplier {sigma} cannot be counted")


def _check_delta(delta: float) -> None:
    if not 0 < delta < 0.5:
        raise ValueError(f"delta {delta} is not between 0 and 1/2")
