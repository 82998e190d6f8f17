"""Each patient's gradient: the mean over its images, and the views of them, of the gradient of an image's loss.

Two engines. A linear head on features has a closed form. Everything else is differentiated image by image with
torch.func, in chunks of whole patients; it makes no difference there whether a network hides its batch axis (Swin's
windows) or holds bare parameters (its tables of position biases), where hooks and ghost norms go wrong.
"""

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

CHUNK_BYTES = 2**29  # of images' gradients at once, unless one patient alone needs more

LOGIT_STEP = 2.0**-30  # far above the last bit of float64, far below what training notices

ImageLoss = Callable[..., Tensor]
"""(module, one image's tensors with a first axis of 1 ...) → its loss, a scalar."""


def linear_gradients(
    head: nn.Linear, inputs: Tensor, targets: Tensor, weights: Tensor, patient: Tensor, patients: int
) -> list[Tensor]:
    """Return gradients of the cross-entropy of a head with one logit: of its weight and its bias.

    Args:
        head: width → 1.
        inputs: what it reads, (images, width).
        targets: (images,), 0 to 1.
        weights: (images,), of which a patient's sum to 1.
        patient: (images,) whose each is, 0 to `patients` - 1.
        patients: how many there are.

    Returns:
        (patients, 1, width) and (patients, 1), float64: what a patient adds depends on nobody computed beside it.
        Sums over a row may differ in their last bits by how many rows there are, so logits are rounded before use.
    """
    inputs = inputs.double()
    logits = functional.linear(inputs, head.weight.double(), head.bias.double()).squeeze(1)
    logits = (logits / LOGIT_STEP).round() * LOGIT_STEP
    error = (logits.sigmoid() - targets) * weights
    of_weight = inputs.new_zeros(patients, inputs.shape[1]).index_add_(0, patient, error[:, None] * inputs)
    of_bias = inputs.new_zeros(patients).index_add_(0, patient, error)
    return [of_weight[:, None], of_bias[:, None]]


def image_gradients(
    module: nn.Module,
    parameters: dict[str, nn.Parameter],
    loss: ImageLoss,
    images: Sequence[Tensor],
    weights: Tensor,
    patient: Tensor,
    patients: int,
) -> list[Tensor]:
    """Return each patient's gradient of each parameter, (patients, *shape), from gradients of single images.

    `images`: tensors of which each has a row for every image; `loss` gets one row of each. Others as above.
    """
    frozen = {name: tensor.detach() for name, tensor in module.named_parameters() if name not in parameters}
    frozen |= dict(module.named_buffers())

    def loss_of(trained: dict[str, Tensor], *one: Tensor) -> Tensor:
        def call(*arguments: Tensor) -> Tensor:
            return functional_call(module, {**frozen, **trained}, arguments)

        return loss(call, *(tensor[None] for tensor in one))

    trained = {name: parameter.detach() for name, parameter in parameters.items()}
    with sdpa_kernel(SDPBackend.MATH):  # the only attention that vmap knows how to batch
        found = vmap(grad(loss_of), in_dims=(None, *[0] * len(images)), randomness="different")(trained, *images)
    sums = []
    for name, parameter in parameters.items():
        weighted = found[name].flatten(1) * weights[:, None]
        total = weighted.new_zeros(patients, parameter.numel()).index_add_(0, patient, weighted)
        sums.append(total.view(patients, *parameter.shape))
    return sums


def chunks(patient_of_image: Sequence[int], bytes_of_image: int) -> Iterator[tuple[slice, slice]]:
    """Cut images, sorted by patient (0, 0, 1, 2, 2 ...), into chunks of whole patients.

    Yields the images and the patients of each chunk; its images' gradients take CHUNK_BYTES at most, or belong to one
    patient.
    """
    most = max(1, CHUNK_BYTES // bytes_of_image)
    starts = [at for at, patient in enumerate(patient_of_image) if at == 0 or patient_of_image[at - 1] != patient]
    starts.append(len(patient_of_image))
    first = 0
    for last in range(1, len(starts)):
        if last == len(starts) - 1 or starts[last + 1] - starts[first] > most:
            yield slice(starts[first], starts[last]), slice(first, last)
            first = last
