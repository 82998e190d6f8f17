"""What the low bits of one release tell of a patient: nothing with noise in integers, all where something is a float.

The attacker knows all patients, how sums are made, and the deviation of the noise; not whether one patient was there.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from scipy.stats import binom, norm
from torch import Tensor

from fedmammo.privacy.accounting import mu_of
from fedmammo.privacy.noise import MARGIN, Grid, clipped_sum, from_grid, noised
from fedmammo.privacy.secret import Stream

DELTA = 1e-4
RELEASES = 200
PATIENTS, NUMBERS = 201, 512

Release = Callable[[bool, Stream], Tensor]
"""(whether the patient is there, noise) → what is released."""
Sums = tuple[Tensor, Tensor]
"""What would be released if there were no noise, without the patient and with; made in one of the possible ways."""


def stream_of(number: int) -> Stream:
    return Stream(number.to_bytes(32, "little"))


def whole_steps(plain: Tensor, released: Tensor, unit: float) -> bool:
    """Tell whether noise of whole steps makes this release of this sum."""
    steps = (released.double() - plain.double()) / unit
    return bool(((steps - steps.round()).abs() < 1e-4).all())


def float32_noise(plain: Tensor, released: Tensor) -> bool:
    """Tell whether noise of float32 makes this release of this sum: their difference, or a number next to it."""
    plain = plain.float()
    noise = (released.double() - plain.double()).float()
    near = [noise, *(torch.nextafter(noise, torch.full_like(noise, end)) for end in (-np.inf, np.inf))]
    return bool(torch.stack([plain + one == released for one in near]).any(0).all())


def guess_presence(sums: Sequence[Sums], released: Tensor, unit: float) -> bool:
    """Tell whether a patient was there: by low bits that fit one of two sums alone, else by the likelihood ratio.

    Args:
        sums: in all ways in which they may be made; the likelihood is that of the first.
        released: as long as they are.
        unit: the size of a step in what is released.
    """
    for without, present in sums:
        if (fits := whole_steps(present, released, unit)) != whole_steps(without, released, unit):
            return fits
        if (fits := float32_noise(present, released)) != float32_noise(without, released):
            return fits
    without, present = (plain.double() for plain in sums[0])
    return bool((released.double() - (without + present) / 2) @ (present - without) > 0)


def right_guesses(release: Release, sums: Sequence[Sums], unit: float) -> int:
    """Count the releases that are told right, of RELEASES; a coin decides whether the patient is in one."""
    coins = np.random.default_rng(0).random(RELEASES) < 0.5
    return sum(
        guess_presence(sums, release(bool(there), stream_of(number)), unit) == there
        for number, there in enumerate(coins)
    )


@pytest.fixture(scope="module")
def cohorts() -> tuple[Tensor, Tensor]:
    """Vectors of norm 1 of all patients but the first, and of all."""
    vectors = torch.randn(PATIENTS, NUMBERS, generator=torch.Generator().manual_seed(1))
    vectors = vectors / vectors.norm(dim=1, keepdim=True)
    return vectors[1:], vectors


@pytest.mark.parametrize("budget", [0.01, 1, 6])
def test_nobody_tells_a_patient_from_low_bits(budget: float, cohorts: tuple[Tensor, Tensor]) -> None:
    """The best test is right with probability Phi(mu / 2) (Dong et al. 2022), and so often is this one.

    Within what 99 of 100 such attackers would reach. Where the sums are not rounded before the integers are added, or
    where all is float32, as it was, the same attacker is right nearly always.
    """
    mu = mu_of(budget, DELTA)
    grid = Grid.of(1.0, 1 / mu, NUMBERS)
    integers = [clipped_sum([vectors], 1.0, grid) for vectors in cohorts]
    divisor = float(PATIENTS - 1)
    without, present = (from_grid(total, grid, divisor)[0] for total in integers)
    rounded = (without, present)
    without, present = (vectors.double().sum(0) * (1 - MARGIN) / divisor for vectors in cohorts)
    exact = (without, present)
    single = (cohorts[0].sum(0), cohorts[1].sum(0))

    def in_integers(there: bool, stream: Stream) -> Tensor:
        return from_grid(noised(integers[there], grid, stream), grid, divisor)[0]

    def not_rounded(there: bool, stream: Stream) -> Tensor:
        zero = torch.zeros(NUMBERS, dtype=torch.int64)
        return exact[there] + from_grid(noised([zero], grid, stream), grid, divisor)[0]

    def in_float32(there: bool, stream: Stream) -> Tensor:
        return single[there] + torch.from_numpy(stream.normal((NUMBERS,)) / mu).float()

    chance = float(norm.cdf(mu / 2))
    right = right_guesses(in_integers, [rounded, exact], grid.step / divisor)
    assert binom.ppf(0.005, RELEASES, chance) <= right <= binom.ppf(0.995, RELEASES, chance)
    assert right_guesses(not_rounded, [rounded, exact], grid.step / divisor) == RELEASES
    assert right_guesses(in_float32, [single], grid.step) >= 0.95 * RELEASES
