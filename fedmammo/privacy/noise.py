"""Noise in integers: patients' vectors are rounded to a grid, and the noise on their sum is an exact discrete Gaussian.

A noised sum in floating point keeps in its low bits what it was made of (Mironov 2012, doi 10.1145/2382196.2382264), so
that whoever knows the other patients tells from them whether one was there. A sum of integers with integer noise has no
such bits: every integer can come out, whoever was there.

The discrete Gaussian keeps the concentrated privacy of the continuous one of the same parameter, exactly and in any
number of dimensions (Canonne, Kamath and Steinke 2020, arXiv 2004.00010). Epsilon at a given delta can lie above or
below that of the continuous one, by what a sum over a grid differs from an integral: less than a millionth of it from
a deviation of a thousand steps up. A sum of discrete Gaussians, where H hospitals share the noise, is not one itself;
but the logarithms of their probabilities differ by 10 (H - 1) exp(-(pi deviation)^2) at most for each number (Kairouz,
Liu and Steinke 2021, arXiv 2102.06387), which is nothing from ten steps up.

Where a hospital adds the noise, it calls `clipped_sum` and `noised`. Where a trusted server does, or where masks hide
the sums of single hospitals, these are added as integers in between. All use one `Grid`, which the plan determines.
How long the sampler takes depends a little on what it draws: nobody outside may time a hospital so closely.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, factorial, frexp, inf, isqrt, ldexp

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmammo.privacy.secret import Stream

LARGEST_DEVIATION = 10**8  # all integers of the sampler fit 64 bits
LARGEST_LENGTH = 2**30  # numbers in a vector
LARGEST_SENSITIVITY = 2**32  # in steps: sums over all patients there could be, with noise, fit 64 bits
LEAST_STEP = 2.0**-1022  # smaller numbers lose digits
FINEST = 1024  # how often the error of rounding fits into the clipping norm, unless noise would be too large
MARGIN = 2.0**-20  # by which vectors are cut shorter: rounding in float64 errs by less, up to LARGEST_LENGTH
LEAST_SHARE = 10  # steps: deviation of one of several discrete Gaussians that are added up
CANDIDATES = 2**15  # drawn at once, at most: so many stay in the processor's cache
FEWEST = 32
TRIALS = 20  # 20! is the largest factorial that fits 64 bits
_LARGEST_WORD = 2**64 - 1


def discrete_gaussian(stream: Stream, deviation: int, count: int) -> NDArray[np.int64]:
    """Draw integers x with probabilities proportional to exp(-x^2 / (2 deviation^2)), exactly, int64 (count,).

    Candidates from a discrete Laplace distribution of scale `deviation`, some of which are rejected (Canonne, Kamath
    and Steinke 2020, arXiv 2004.00010, algorithms 1 to 3). There is no floating point in it. The same stream gives the
    same numbers.

    Args:
        stream: where the randomness comes from.
        deviation: from 1 to 1e8; the standard deviation, but for less than a millionth.
        count: how many, from 0 up.

    Raises:
        ValueError: for another deviation.
    """
    if not (isinstance(deviation, int) and 1 <= deviation <= LARGEST_DEVIATION):
        raise ValueError(f"deviation {deviation} is not a whole number from 1 to {LARGEST_DEVIATION}")
    drawn, have = np.empty(count, dtype=np.int64), 0
    while have < count:
        missing = count - have
        accepted = _accepted(stream, deviation, min(CANDIDATES, FEWEST + 2 * missing + missing // 8))[:missing]
        drawn[have : have + len(accepted)] = accepted
        have += len(accepted)
    return drawn


def below(stream: Stream, bound: int, count: int) -> NDArray[np.uint64]:
    """Draw integers from 0 to `bound` - 1, all equally likely, uint64 (count,); `bound` is from 1 to 2^64 - 1."""
    share = _LARGEST_WORD // bound
    return _words_below(stream, share * bound, count) // np.uint64(share)


def bernoulli(stream: Stream, numerator: NDArray[np.int64], denominator: int) -> NDArray[np.bool_]:
    """Draw, for each numerator from 0 to the denominator, whether something of probability n / d happens."""
    share = _LARGEST_WORD // denominator
    return _words_below(stream, share * denominator, len(numerator)) < numerator.astype(np.uint64) * np.uint64(share)


def bernoulli_exp(stream: Stream, numerator: NDArray[np.int64], denominator: int, first: int = 1) -> NDArray[np.bool_]:
    """Draw, for each numerator from 0 to the denominator, whether something of probability exp(-n / d) happens.

    Trial k succeeds with probability n / (d k), for k = 1, 2 ... until one fails; it happens where that k is odd.

    Args:
        stream: where the randomness comes from.
        numerator: (count,).
        denominator: from 1 to 2^63 - 1.
        first: the trial to begin with, those before it having succeeded.
    """
    happens = np.empty(len(numerator), dtype=np.bool_)
    running, trial = np.arange(len(numerator)), first
    while len(running):
        success = bernoulli(stream, numerator, denominator)
        if trial > 1:
            success[success] = bernoulli(stream, np.ones(np.count_nonzero(success), dtype=np.int64), trial)
        happens[running[~success]] = trial % 2 == 1
        running, numerator, trial = running[success], numerator[success], trial + 1
    return happens


def successes(stream: Stream, count: int) -> NDArray[np.int64]:
    """Draw how often something of probability 1/e happens before it fails to, int64 (count,): k or more with e^-k."""
    found = np.zeros(count, dtype=np.int64)
    running = np.arange(count)
    while len(running):
        running = running[_one_in_e(stream, len(running))]
        found[running] += 1
    return found


def _words_below(stream: Stream, limit: int, count: int) -> NDArray[np.uint64]:
    """Draw words from 0 to `limit` - 1, all equally likely: those that are not below it are drawn again."""
    words = stream.words(count)
    again = np.flatnonzero(words >= np.uint64(limit))
    if len(again):
        words = words.copy()
    while len(again):
        words[again] = stream.words(len(again))
        again = again[words[again] >= np.uint64(limit)]
    return words


# At probability 1/e trial k of `bernoulli_exp` succeeds with probability 1/k, all of the first k with 1/k!. One word
# stands for the first 20: of 20! equally likely values, 0 is success in all, and these many are a first failure at an
# odd trial, 20!/(k-1)! - 20!/k! for each. (Trial 1 cannot fail.)
_ODD = sum(factorial(TRIALS) // factorial(k - 1) - factorial(TRIALS) // factorial(k) for k in range(3, TRIALS, 2))


def _one_in_e(stream: Stream, count: int) -> NDArray[np.bool_]:
    """Draw whether something of probability 1/e happens, bool (count,)."""
    share = _LARGEST_WORD // factorial(TRIALS)
    words = _words_below(stream, share * factorial(TRIALS), count)
    happens = words < np.uint64(share * (1 + _ODD))
    undecided = np.flatnonzero(words < np.uint64(share))
    if len(undecided):
        happens[undecided] = bernoulli_exp(stream, np.ones(len(undecided), dtype=np.int64), 1, first=TRIALS + 1)
    return happens


def _accepted(stream: Stream, scale: int, candidates: int) -> NDArray[np.int64]:
    """Draw candidates from a discrete Laplace distribution and return those that a discrete Gaussian one accepts."""
    drawn = below(stream, 2 * scale, candidates).astype(np.int64)
    negative, rest = (drawn & 1).astype(np.bool_), drawn >> 1
    keep = bernoulli_exp(stream, rest, scale)
    negative, rest = negative[keep], rest[keep]
    whole = successes(stream, len(rest))
    size = rest + scale * whole
    keep = (size > 0) | ~negative  # zero has one sign
    negative, rest, whole, size = negative[keep], rest[keep], whole[keep], size[keep]

    # Accepted with probability exp(-(size - scale)^2 / (2 scale^2)).
    times, numerator = square_over(rest, whole - 1, scale)
    keep = np.ones(len(size), dtype=np.bool_)
    far = np.flatnonzero(times)
    keep[far] = successes(stream, len(far)) >= times[far]
    keep[keep] = bernoulli_exp(stream, numerator[keep], 2 * scale**2)
    return np.where(negative, -size, size)[keep]


def square_over(
    rest: NDArray[np.int64], whole: NDArray[np.int64], scale: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide (rest + scale whole)^2 by 2 scale^2: quotient and remainder, where the square need not fit 64 bits.

    `rest` is from 0 to `scale` - 1, `whole` from -1 to 2^31, `scale` to 1e8.
    """
    crossed, left = np.divmod(whole * rest, scale)
    carried, remainder = np.divmod((whole & 1) * scale**2 + 2 * scale * left + rest**2, 2 * scale**2)
    return (whole**2 >> 1) + crossed + carried, remainder


@dataclass(frozen=True)
class Grid:
    """What patients' vectors are rounded to, and the noise on a sum of them. Raises ValueError for what cannot be.

    Attributes:
        step: of the grid; a power of two, so that multiplying by it is exact.
        sensitivity: the most that one patient adds to a sum of integers, in L2 norm, in steps.
        deviation: of the noise on each number of the sum, in steps.
    """

    step: float
    sensitivity: int
    deviation: int

    def __post_init__(self) -> None:
        """Refuse a step that is not a power of two, and numbers that are not positive or too large."""
        if not (0 < self.step < inf and frexp(self.step)[0] == 0.5 and self.step >= LEAST_STEP):
            raise ValueError(f"step {self.step} is not a power of two from {LEAST_STEP} up")
        for name, most in (("sensitivity", LARGEST_SENSITIVITY), ("deviation", LARGEST_DEVIATION)):
            value = getattr(self, name)
            if not (isinstance(value, int) and 1 <= value <= most):
                raise ValueError(f"{name} {value} is not a whole number from 1 to {most}")

    @property
    def noise_multiplier(self) -> float:
        """Standard deviation of the noise as a multiple of the sensitivity."""
        return self.deviation / self.sensitivity

    def shared(self, shares: int) -> "Grid":
        """Return the grid of one of so many who noise a sum together: of their noises at least as much as here is left.

        Its deviation is the least whole number whose square, times the shares, is not below that of this one.

        Raises:
            ValueError: where that is below ten steps, from which on a sum of discrete Gaussians is as good as one.
        """
        least = -(-(self.deviation**2) // shares)
        deviation = isqrt(least - 1) + 1
        if deviation < LEAST_SHARE:
            raise ValueError(f"a share of the noise of {deviation} steps is below {LEAST_SHARE}; use fewer hospitals")
        return replace(self, deviation=deviation)

    @classmethod
    def of(cls, clipping_norm: float, noise_multiplier: float, numbers: int) -> "Grid":
        """Choose the grid for vectors of so many numbers, clipped to this norm.

        Rounding moves a vector by at most half a step times the root of `numbers`: the step is the largest power of two
        with which that is a 1024th of the clipping norm or less. Where the noise would then pass 1e8 steps, it is
        a 512th, a 256th and so on: the sum gets more noise than planned by that part at most.

        Args:
            clipping_norm: the largest L2 norm of a patient's vector.
            noise_multiplier: the planned one; the grid's is not less, and more by less than one part in `sensitivity`.
            numbers: in a vector, all parameters together, from 1 to 2^30.

        Raises:
            ValueError: for what is not positive or too large, where even a step as coarse as the clipping norm would
                need more noise than 1e8 steps, and where the step would be below 2^-1022.
        """
        for name, value in (("clipping norm", clipping_norm), ("noise multiplier", noise_multiplier)):
            if not 0 < value < inf:
                raise ValueError(f"{name} {value} is not a positive number")
        ratio = FINEST
        while ratio:
            step = _step(clipping_norm, ratio, numbers)
            sensitivity = _sensitivity(clipping_norm, step, numbers)
            deviation = ceil(Fraction(noise_multiplier) * sensitivity)
            if deviation <= LARGEST_DEVIATION:
                return cls(step, sensitivity, deviation)
            ratio //= 2
        raise ValueError(f"noise multiplier {noise_multiplier} is too large for vectors of {numbers} numbers")


def _step(clipping_norm: float, ratio: int, numbers: int) -> float:
    """Return the largest power of two with step * sqrt(numbers) / 2 <= clipping_norm / ratio."""
    if not (isinstance(numbers, int) and 1 <= numbers <= LARGEST_LENGTH):
        raise ValueError(f"{numbers} numbers are not a whole number from 1 to {LARGEST_LENGTH}")
    square = (2 * Fraction(clipping_norm) / ratio) ** 2 / numbers  # of what the step must not pass
    exponent = (square.numerator.bit_length() - square.denominator.bit_length()) // 2 + 1
    while Fraction(4) ** exponent > square:
        exponent -= 1
    return ldexp(1.0, exponent)


def _sensitivity(clipping_norm: float, step: float, numbers: int) -> int:
    """Return the least integer from clipping_norm / step + sqrt(numbers) / 2 up."""
    norm = Fraction(clipping_norm) / Fraction(step)
    found = ceil(norm + Fraction(isqrt(numbers), 2))
    while 4 * (found - norm) ** 2 < numbers:
        found += 1
    return found


@torch.no_grad()
def clipped_sum(gradients: Sequence[Tensor], clipping_norm: float, grid: Grid) -> list[Tensor]:
    """Clip patients' gradients, round them to the grid, and add them up, in steps: int64 (*shape) for each parameter.

    A patient whose gradient is not finite counts as zero. What a patient adds depends on that patient's numbers alone,
    to the last bit: NumPy adds up each row of a table in an order that no other row has a part in. Adding or removing a
    patient moves the joint vector of all parameters by at most `grid.sensitivity` in L2 norm, exactly.

    Args:
        gradients: (patients, *shape) for each parameter, of any floating-point type; there may be no patients.
        clipping_norm: the largest L2 norm of a patient's gradient over all parameters.
        grid: that of this clipping norm and of as many numbers, or a coarser claim.

    Raises:
        ValueError: where a patient could add more than the grid says.
    """
    shapes = [gradient.shape[1:] for gradient in gradients]
    numbers = sum(shape.numel() for shape in shapes)
    if _sensitivity(clipping_norm, grid.step, numbers) > grid.sensitivity:
        raise ValueError(f"the grid is not for {numbers} numbers with a clipping norm of {clipping_norm}")
    parts = [gradient.reshape(len(gradient), shape.numel()) for gradient, shape in zip(gradients, shapes, strict=True)]
    steps = _in_steps(parts, clipping_norm, grid.step)
    return [
        torch.from_numpy(part).view(shape).to(gradient.device)
        for gradient, part, shape in zip(gradients, steps, shapes, strict=True)
    ]


def _in_steps(parts: Sequence[Tensor], clipping_norm: float, step: float) -> list[NDArray[np.int64]]:
    """Clip rows, each in parts side by side, round them, and add them up, in steps; one that is not finite is zero."""
    limit = clipping_norm / step * (1 - MARGIN)
    largest = np.zeros((len(parts[0]), 1))
    for part in parts:
        ends = (part.amax(dim=1, keepdim=True), -part.amin(dim=1, keepdim=True)) if part.numel() else ()
        for end in ends:
            np.maximum(largest, _numbers(end), out=largest)
    finite = np.isfinite(largest)  # what is not a number stays so
    # The square of a direction is neither too large nor too small for float64, whatever the row is.
    unit = np.where(finite & (largest > 0), largest, 1.0)
    square = np.zeros_like(largest)
    totals = []
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # in rows that are not finite, or not clipped
        for row in map(_numbers, parts):
            direction = row / unit
            square += np.square(direction, out=direction).sum(axis=1, keepdims=True)
        length = np.sqrt(square)
        longer = largest / step * length > limit
        divisor, factor = np.where(longer, unit, step), np.where(longer, limit / length, 1.0)
        for row in map(_numbers, parts):
            clipped = row / divisor
            clipped *= factor
            clipped[~finite[:, 0]] = 0.0
            totals.append(np.rint(clipped, out=clipped).astype(np.int64).sum(axis=0))
    return totals


def _numbers(part: Tensor) -> NDArray[np.float64]:
    """Return numbers in float64, part by part: they take twice the memory of what they were, or four times."""
    return part.double().cpu().numpy()


def noised(total: Sequence[Tensor], grid: Grid, stream: Stream) -> list[Tensor]:
    """Add the grid's noise to sums of integers, parameter by parameter from one stream; int64 as they were.

    Raises:
        ValueError: where a sum is not of integers (int64).
    """
    if any(tensor.dtype != torch.int64 for tensor in total):
        raise ValueError("noise in integers is for sums of integers")
    noise = [discrete_gaussian(stream, grid.deviation, tensor.numel()) for tensor in total]
    return [
        tensor + torch.from_numpy(part).view(tensor.shape).to(tensor.device)
        for tensor, part in zip(total, noise, strict=True)
    ]


def from_grid(total: Sequence[Tensor], grid: Grid, divisor: float) -> list[Tensor]:
    """Turn sums in steps into means, float64: times the step, over what the plan divides by.

    Where the sums are noised this is post-processing: it may round as it likes, and so may what uses it.

    Raises:
        ValueError: where the divisor is not a positive number.
    """
    if not 0 < divisor < inf:
        raise ValueError(f"divisor {divisor} is not a positive number")
    return [tensor.double() * grid.step / divisor for tensor in total]
