"""Each patient's gradient: the mean over its images, and the views of them, of the gradient of an image's loss.

Two engines. A linear head on features has a closed form. Everything else takes one backward pass for each patient: what
a patient adds depends on nobody else, whatever the network does with its batch axis (Swin's windows) or with bare
parameters (its tables of position biases), where hooks and ghost norms go wrong.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedmammo.models.head import OneLogit

CHUNK_BYTES = 2**29  # of patients' gradients of a linear head at once

LOGIT_STEP = 2.0**-30  # far above the last bit of float64, far below what training notices


Slopes = Callable[[Tensor, Tensor], Tensor]
"""From logits and targets, (images,) each: how images' losses rise with their logits."""


def logistic(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the slopes of cross-entropy."""
    return logits.sigmoid() - targets


def contrast(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the slopes of (1/2 - target) times the logit, which do not depend on the head.

    Of both classes, equally many, it falls fastest along the difference of their means: with whitened inputs, Fisher's
    linear discriminant.
    """
    return (0.5 - targets).to(logits)


def linear_gradients(
    head: OneLogit,
    inputs: Tensor,
    targets: Tensor,
    weights: Tensor,
    patient: Tensor,
    patients: int,
    slopes: Slopes = logistic,
) -> list[Tensor]:
    """Return gradients of the loss of a head: of its weight and its bias.

    Args:
        head: its one logit.
        inputs: what it reads, (images, width).
        targets: (images,), 0 to 1.
        weights: (images,), of which a patient's sum to 1.
        patient: (images,) whose each is, 0 to `patients` - 1.
        patients: how many there are.
        slopes: of the loss of images, `logistic` or `contrast`.

    Returns:
        (patients, 1, width) and (patients, 1), float64: what a patient adds depends on nobody computed beside it.
        Sums over a row may differ in their last bits by how many rows there are, so logits are rounded before use.
    """
    inputs = inputs.double()
    logits = functional.linear(inputs, head.weight.double(), head.bias_input * head.bias.double()).squeeze(1)
    logits = (logits / LOGIT_STEP).round() * LOGIT_STEP
    error = slopes(logits, targets) * weights
    of_weight = inputs.new_zeros(patients, inputs.shape[1]).index_add_(0, patient, error[:, None] * inputs)
    of_bias = inputs.new_zeros(patients).index_add_(0, patient, head.bias_input * error)
    return [of_weight[:, None], of_bias[:, None]]


def patient_gradient(losses: Tensor, weights: Tensor, parameters: Mapping[str, nn.Parameter]) -> list[Tensor]:
    """Return one patient's gradient of each parameter, (1, *shape); zero where the loss does not depend on it.

    `losses`: (images,), of the patient's images alone, each read by itself or beside the patient's others.
    `weights`: (images,), which sum to 1.
    """
    found = torch.autograd.grad((losses * weights).sum(), list(parameters.values()), materialize_grads=True)
    return [gradient[None] for gradient in found]


def chunks(patient_of_image: Sequence[int], bytes_of_patient: int | None) -> Iterator[tuple[slice, slice]]:
    """Cut images, sorted by patient (0, 0, 1, 2, 2 ...), into chunks of whole patients.

    Yields the images and the patients of each chunk: as many patients as fit CHUNK_BYTES, at least one; without a
    number of bytes, one.
    """
    most = max(1, CHUNK_BYTES // bytes_of_patient) if bytes_of_patient else 1
    starts = [at for at, patient in enumerate(patient_of_image) if at == 0 or patient_of_image[at - 1] != patient]
    starts.append(len(patient_of_image))
    for first in range(0, len(starts) - 1, most):
        last = min(first + most, len(starts) - 1)
        yield slice(starts[first], starts[last]), slice(first, last)
