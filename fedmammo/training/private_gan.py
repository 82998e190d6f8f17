"""A hospital's steps of its discriminator under a budget: the real images by patient-level DP-SGD, the others as ever.

The generator comes from the server, which knows no patient but through noised discriminators, so that the loss on its
images, and Adam's moments too, depend on patients through what is noised already.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fedmammo.models.mcgan import Mcgan
from fedmammo.privacy.gradients import patient_gradient
from fedmammo.privacy.steps import PrivateSteps
from fedmammo.randomness import seed_of
from fedmammo.training.augmentation import augment, mirror
from fedmammo.training.gan import PENALTY_EVERY, Patients, adam_of, half_precision, moments_of, scores_of_synthetic


def train_discriminator(
    gan: Mcgan,
    patients: Patients,
    batch: int,
    steps: range,
    generator: np.random.Generator,
    state: dict[str, Tensor],
    private: PrivateSteps,
) -> dict[str, Tensor]:
    """Take the steps of a round in the discriminator; changes `gan`, returns Adam's moments.

    Args:
        gan: the networks; the generator is the server's.
        patients: the holder's.
        batch: synthetic images in a step, half of each class.
        steps: the steps by number, counted over all rounds; as many as `private` has.
        generator: draws synthetic images, and how images are changed.
        state: Adam's moments as the previous round left them; empty at first.
        private: draws patients and noise.
    """
    device = next(gan.parameters()).device
    optimizer = adam_of(gan, "discriminator", state)
    parameters = list(gan.discriminator.parameters())
    seed = int(generator.integers(2**63))
    with torch.random.fork_rng():
        for number, (step, sample) in enumerate(zip(steps, private.samples(), strict=True)):
            optimizer.zero_grad()
            private.descend(parameters, number, patient_gradients(gan, patients, sample, seed, step))
            torch.manual_seed(seed_of(seed, step))
            with half_precision(device):
                scores = scores_of_synthetic(gan, torch.arange(batch, device=device) % 2)
            functional.softplus(scores).mean().backward()  # added to what is noised
            optimizer.step()
    return moments_of(gan, "discriminator", optimizer)


def patient_gradients(
    gan: Mcgan, patients: Patients, sample: NDArray[np.int64], seed: int, step: int
) -> Iterator[list[Tensor]]:
    """Yield the sampled patients' gradients of the discriminator's loss on real images, patient by patient.

    How a patient's images are changed is drawn by a seed of the step and the patient: it does not depend on who else is
    there. The penalty belongs to one image, as in `train_gan`.
    """
    device = next(gan.parameters()).device
    parameters = dict(gan.discriminator.named_parameters())
    low, high = gan.architecture.real_targets
    penalty = PENALTY_EVERY * gan.architecture.penalty / 2 if step % PENALTY_EVERY == 0 else 0.0
    for index in sample:
        own = patients.images_of[index]
        torch.manual_seed(seed_of(seed, step, int(index)))
        bands = gan.bands(augment(mirror(patients.images[own]))).to(device).requires_grad_(penalty > 0)
        target = torch.empty(len(own)).uniform_(low, high).to(device)
        scores = gan.discriminator(bands, patients.malignant[own].to(device))
        losses = functional.binary_cross_entropy_with_logits(scores, target, reduction="none")
        if penalty:
            (slope,) = torch.autograd.grad(scores.sum(), bands, create_graph=True)
            losses = losses + penalty * slope.square().sum(dim=(1, 2, 3))
        yield patient_gradient(losses, torch.full_like(losses, 1 / len(own)), parameters)
