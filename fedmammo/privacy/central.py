"""Noise from a trusted server: hospitals send clipped sums in integers, the server adds them up and noises the total.

The total carries the noise that one hospital would add alone, so that a model of five hospitals has a fifth of the
noise's variance that five hospitals' own noise would give it (the central model of differential privacy).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from fedmammo.privacy.guard import digest_of_tensors
from fedmammo.privacy.mechanism import Mechanism
from fedmammo.privacy.noise import Grid, from_grid, noised
from fedmammo.privacy.secret import Secret


def noised_mean(
    sums: Sequence[Mapping[str, Tensor]], mechanism: Mechanism, divisor: float, request: dict[str, Any], secret: Secret
) -> dict[str, Tensor]:
    """Add hospitals' sums up, noise the total once, and divide it; float64 by name.

    The stream belongs to everything that determines the total: a round that is taken again gets the same noise.

    Args:
        sums: of each hospital, int64 by name, in steps of the mechanism's grid.
        mechanism: whose noise it is.
        divisor: the expected number of patients.
        request: what else determines the total.
        secret: the server's own.
    """
    total = {name: sum((one[name] for one in sums[1:]), sums[0][name]) for name in sums[0]}
    grid = Grid.of(
        mechanism.clipping_norm, mechanism.noise_multiplier, sum(tensor.numel() for tensor in total.values())
    )
    whole = {"mechanism": mechanism.to_dict(), "sums": digest_of_tensors(total), **request}
    stream = secret.stream(secret.digest(whole), "noise", 0)
    return dict(zip(total, from_grid(noised(list(total.values()), grid, stream), grid, divisor), strict=True))
