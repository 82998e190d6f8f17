"""Which patients a private step takes, and what it makes of their gradients."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmammo.config.setting import kind_of
from fedmammo.config.study import StudyConfig
from fedmammo.privacy.mechanism import Mechanism
from fedmammo.privacy.optimizer import PatientOptimizer
from fedmammo.privacy.secret import Secret


def images_of_nobody(study: StudyConfig, patients: int) -> int:
    """Return how many synthetic images a hospital with so many patients learns from in a round, beside them."""
    (setting,) = study.settings
    beside = study.synthesis is not None and kind_of(setting) == "augmented"
    return round(study.synthesis.synthetic_per_real * patients) if study.synthesis and beside else 0


@dataclass(frozen=True)
class PrivateSteps:
    """The steps of one request, whose noise and samples of patients come from the hospital's secret.

    Attributes:
        mechanism: clipping norm, noise, rate and number of steps.
        secret: the hospital's.
        request: digest of the request, under the secret.
        patients: declared number of training patients.
        public: images of nobody that are learned from beside them, each as a patient of its own.
        noised: whether the hospital noises its sums; else a trusted server noises their total.
    """

    mechanism: Mechanism
    secret: Secret
    request: str
    patients: int
    public: int = 0
    noised: bool = True

    def samples(self) -> Iterator[NDArray[np.int64]]:
        """Yield the positions of the patients of each step: each patient is in it with the probability `rate`.

        Poisson sampling, drawn anew for each step; it may be empty. At rate 1 everybody is in every step.
        """
        for step in range(self.mechanism.local_steps):
            drawn = self.secret.stream(self.request, "patients", step).uniform(self.patients)
            yield np.flatnonzero(drawn < self.mechanism.rate)

    def optimizer(self, optimizer: torch.optim.Optimizer) -> PatientOptimizer:
        """Wrap the optimiser that steps with the noised gradient."""
        sigma = self.mechanism.noise_multiplier if self.noised else 0.0
        return PatientOptimizer(optimizer, sigma, self.mechanism.clipping_norm, self.divisor)

    @property
    def divisor(self) -> float:
        """What sums are divided by: the expected number of patients in a step, and of images of nobody."""
        return self.mechanism.rate * (self.patients + self.public)

    def gradient(self, optimizer: PatientOptimizer, step: int, chunks: Iterable[list[Tensor]]) -> None:
        """Set the parameters' gradient to the noised mean of clipped gradients; `chunks` of whole patients."""
        for gradients in chunks:
            optimizer.accumulate(gradients)
        optimizer.release(self.secret.stream(self.request, "noise", step))
