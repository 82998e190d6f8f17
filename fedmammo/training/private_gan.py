"""A hospital's steps of its discriminator under a budget: the real images by patient-level DP-SGD, the others as ever.

The generator comes from the server, which knows no patient but through noised discriminators, so that the loss on its
images, and Adam's moments too, depend on patients through what is noised already.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import grad
from torch.nn import functional

from fedmammo.models.mcgan import Mcgan
from fedmammo.privacy.gradients import chunks, image_gradients
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
    """Yield the sampled patients' gradients of the discriminator's loss on real images, in chunks of whole patients.

    How a patient's images are changed is drawn by a seed of the step and the patient: it does not depend on who else is
    there. The penalty belongs to one image, as in `train_gan`.
    """
    device = next(gan.parameters()).device
    parameters = dict(gan.discriminator.named_parameters())
    low, high = gan.architecture.real_targets
    penalty = PENALTY_EVERY * gan.architecture.penalty / 2 if step % PENALTY_EVERY == 0 else 0.0

    def loss_of(discriminator: Callable[..., Tensor], bands: Tensor, malignant: Tensor, target: Tensor) -> Tensor:
        score = discriminator(bands, malignant)
        loss = functional.binary_cross_entropy_with_logits(score, target, reduction="sum")
        if penalty:
            slope = grad(lambda seen: discriminator(seen, malignant).sum())(bands)
            loss = loss + penalty * slope.square().sum()
        return loss

    images_of = [patients.images_of[index] for index in sample]
    whose = [number for number, images in enumerate(images_of) for _ in images]
    for images, part in chunks(whose, sum(4 * parameter.numel() for parameter in parameters.values())):
        changed, targets = [], []
        for index, own in zip(sample[part], images_of[part], strict=True):
            torch.manual_seed(seed_of(seed, step, int(index)))
            changed.append(augment(mirror(patients.images[own])))
            targets.append(torch.empty(len(own)).uniform_(low, high))
        rows = np.concatenate(images_of[part])
        weights = torch.cat([torch.full((len(own),), 1 / len(own)) for own in images_of[part]])
        seen = (gan.bands(torch.cat(changed)), patients.malignant[rows], torch.cat(targets))
        yield image_gradients(
            gan.discriminator,
            parameters,
            loss_of,
            [tensor.to(device) for tensor in seen],
            weights.to(device),
            torch.tensor(whose[images], device=device) - part.start,
            part.stop - part.start,
        )
