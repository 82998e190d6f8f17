"""One step of patient-level DP-SGD: every patient's gradient is clipped once, summed, and the sum gets noise.

Abadi et al. 2016 (arXiv 1607.00133) with patients in place of images: a patient's gradient is the mean over its images
and their views, so that a patient with fourteen images weighs as much as one with one (Charles et al. 2024, arXiv
2407.07737). The divisor is the declared number of patients, not how many were sampled.
"""

import logging

import torch
from torch import Tensor

from fedmammo.privacy.secret import Stream

logging.getLogger().addHandler(logging.NullHandler())  # else Opacus would set up logging for the whole process
from opacus.optimizers import DPOptimizer  # noqa: E402


class PatientOptimizer(DPOptimizer):
    """Opacus's optimiser, given gradients of patients in place of images, and noise from the hospital's secret.

    A step is `accumulate` for each chunk of whole patients (none, where no patient was sampled), `release`, and then a
    step of the optimiser within, so that a gradient that belongs to no patient can be added in between.

    Args:
        optimizer: what steps with the noised gradient.
        noise_multiplier: standard deviation of the noise on the sum as a multiple of the clipping norm; 0 where a
            trusted server adds it.
        clipping_norm: the largest L2 norm of a patient's gradient over all parameters.
        expected_patients: what the noised sum is divided by: the rate times the declared number of patients.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, noise_multiplier: float, clipping_norm: float, expected_patients: float
    ) -> None:
        super().__init__(
            optimizer,
            noise_multiplier=noise_multiplier,
            max_grad_norm=clipping_norm,
            expected_batch_size=None,
            loss_reduction="sum",
        )
        self.expected_patients = expected_patients

    @torch.no_grad()
    def accumulate(self, gradients: list[Tensor]) -> None:
        """Clip and add the gradients of some patients: for each parameter in order, (patients, *shape).

        A patient whose gradient is not finite counts as zero: one such row would make the model a function of that
        patient without bound. How many there were stays unknown to everybody.
        """
        gradients = [gradient.float() for gradient in gradients]
        finite = torch.stack([gradient.flatten(1).isfinite().all(dim=1) for gradient in gradients]).all(dim=0)
        for parameter, gradient in zip(self.params, gradients, strict=True):
            keep = finite.view(-1, *[1] * (gradient.dim() - 1))
            parameter.grad_sample = torch.where(keep, gradient, 0.0)
        self.clip_and_accumulate()
        for parameter in self.params:
            parameter.grad_sample = None

    @torch.no_grad()
    def release(self, stream: Stream) -> None:
        """Set each parameter's `grad` to the noised sum over the expected number of patients; forget the sum.

        Noise is drawn from `stream` in float64, parameter by parameter, also where no patient was sampled.
        """
        for parameter in self.params:
            total = torch.zeros_like(parameter) if parameter.summed_grad is None else parameter.summed_grad
            if self.noise_multiplier:
                noise = torch.from_numpy(stream.normal(tuple(parameter.shape)))
                total = total + (self.noise_multiplier * self.max_grad_norm * noise).to(total)
            parameter.grad = (total / self.expected_patients).to(parameter)
            parameter.summed_grad = None
