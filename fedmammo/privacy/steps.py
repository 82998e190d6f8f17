"""One step of patient-level DP-SGD: which patients it takes, and what it makes of their gradients.

Abadi et al. 2016 (arXiv 1607.00133) with patients in place of images: a patient's gradient is the mean over its images
and their views, so that a patient with fourteen images weighs as much as one with one (Charles et al. 2024, arXiv
2407.07737). The divisor is the declared number of patients, not how many were sampled.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmammo.privacy.masks import Masks
from fedmammo.privacy.mechanism import Mechanism
from fedmammo.privacy.noise import Grid, clipped_sum, from_grid, noised
from fedmammo.privacy.secret import Secret


@dataclass(frozen=True)
class PrivateSteps:
    """The steps of one request, whose noise and samples of patients come from the hospital's secret.

    Attributes:
        mechanism: clipping norm, noise, rate and number of steps.
        secret: the hospital's.
        request: digest of the request, under the secret.
        patients: declared number of training patients.
        public: images of nobody that are learned from beside them, each as a patient of its own.
        sums: whether the sum itself leaves, for a trusted server to noise, or under masks; else steps along its mean.
        masks: what hides a sum that leaves, with the hospital's share of the noise, if anything does.
    """

    mechanism: Mechanism
    secret: Secret
    request: str
    patients: int
    public: int = 0
    sums: bool = False
    masks: Masks | None = None

    def samples(self) -> Iterator[NDArray[np.int64]]:
        """Yield the positions of the patients of each step: each patient is in it with the probability `rate`.

        Poisson sampling, drawn anew for each step; it may be empty. At rate 1 everybody is in every step.
        """
        for step in range(self.mechanism.local_steps):
            drawn = self.secret.stream(self.request, "patients", step).uniform(self.patients)
            yield np.flatnonzero(drawn < self.mechanism.rate)

    @property
    def divisor(self) -> float:
        """What sums are divided by: the expected number of patients in a step, and of images of nobody."""
        return self.mechanism.rate * (self.patients + self.public)

    def grid(self, like: Sequence[Tensor]) -> Grid:
        """Return the grid on which sums of vectors of these shapes lie."""
        numbers = sum(tensor.numel() for tensor in like)
        return Grid.of(self.mechanism.clipping_norm, self.mechanism.noise_multiplier, numbers)

    def total(self, like: Sequence[Tensor], chunks: Iterable[Sequence[Tensor]]) -> list[Tensor]:
        """Clip patients' gradients and add them up, in steps of the grid: int64, as `like`.

        `chunks`: gradients of some whole patients each, (patients, *shape) for each of `like`; there may be none.
        """
        grid = self.grid(like)
        total = [torch.zeros_like(tensor, dtype=torch.int64) for tensor in like]
        for gradients in chunks:
            found = clipped_sum(gradients, self.mechanism.clipping_norm, grid)
            for sums, more in zip(total, found, strict=True):
                sums += more
        return total

    def descend(
        self, parameters: Sequence[torch.nn.Parameter], step: int, chunks: Iterable[Sequence[Tensor]]
    ) -> list[Tensor]:
        """Set the parameters' gradients to a step's noised mean; returns the sum as `total` does.

        Noise is drawn also where no patient was sampled. Where the sum itself leaves no gradient is set, and the sum is
        returned as it leaves: hidden, if it is to be.
        """
        total, grid = self.total(parameters, chunks), self.grid(parameters)
        stream = self.secret.stream(self.request, "noise", step)
        if self.masks:
            return self.masks.hide(total, grid, stream)
        if not self.sums:
            means = from_grid(noised(total, grid, stream), grid, self.divisor)
            for parameter, mean in zip(parameters, means, strict=True):
                parameter.grad = mean.to(parameter)
        return total
