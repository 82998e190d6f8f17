"""The training loop: one hospital's steps of one round, and scoring."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fedmammo.config import DiagnosisConfig
from fedmammo.features.inputs import Inputs
from fedmammo.training.optimizer import make_optimizer, restore, state_of

CONSTANTS = ("center", "scale")  # what a model needs beside its trained tensors and the frozen backbone


def batches_of_patients(
    patients: int, fraction: float, steps: int, generator: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield the patients of each step: every pass shuffles all patients and cuts them into steps of equal size.

    A step has `max(1, round(fraction * patients))` patients; what a pass leaves over is dropped.
    """
    size = max(1, round(fraction * patients))
    taken = 0
    while True:
        order = generator.permutation(patients)
        for start in range(0, patients - size + 1, size):
            if taken == steps:
                return
            yield order[start : start + size]
            taken += 1


def train(
    inputs: Inputs,
    patients: Sequence[np.ndarray],
    config: DiagnosisConfig,
    steps: int,
    generator: np.random.Generator,
    incoming: dict[str, Tensor],
    state: dict[str, Tensor],
    proximal_mu: float = 0.0,
) -> tuple[dict[str, Tensor], dict[str, float], dict[str, Tensor]]:
    """Take `steps` steps from the incoming model on these patients.

    A patient's loss is the mean cross-entropy over its images (and the views drawn of each); a step's loss is the
    mean over its patients, plus `proximal_mu`/2 times the squared distance to the incoming model (FedProx).

    Args:
        inputs: the classifier and its inputs.
        patients: for each patient, the rows of its images; a synthetic image is a patient of its own.
        config: optimiser, fraction of patients per step, views, label smoothing.
        steps: number of steps.
        generator: draws the order of patients, the views and (through torch) any dropout.
        incoming: the trained tensors by name.
        state: the optimiser's state as the previous round left it; empty at first.
        proximal_mu: weight of the proximal term.

    Returns:
        The trained tensors; numbers: `loss` (mean over steps) and `images` (views of images read); the new state.
    """
    classifier = inputs.classifier
    parameters = classifier.trained()
    _load(parameters, incoming)
    anchors = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    optimizer = make_optimizer(config.optimizer, list(parameters.values()))
    restore(optimizer, parameters, state)
    malignant = inputs.malignant.astype(np.float32)
    losses, images = [], 0

    with torch.random.fork_rng():
        torch.manual_seed(int(generator.integers(2**63)))
        classifier.train(True)
        for batch in batches_of_patients(len(patients), config.patient_fraction, steps, generator):
            rows, views, weights = _draw_images([patients[index] for index in batch], inputs, config, generator)
            targets = malignant[rows] * (1 - config.label_smoothing) + config.label_smoothing / 2
            optimizer.zero_grad()
            loss = functional.binary_cross_entropy_with_logits(
                classifier(inputs.read(rows, views)),
                torch.from_numpy(targets).to(inputs.device),
                weight=torch.from_numpy(weights).to(inputs.device),
                reduction="sum",
            )
            losses.append(loss.item())
            images += len(rows)
            if proximal_mu:
                distance = sum(((parameters[name] - anchor) ** 2).sum() for name, anchor in anchors.items())
                loss = loss + proximal_mu / 2 * distance
            loss.backward()
            optimizer.step()
        classifier.train(False)

    outgoing = {name: parameter.detach().cpu().clone() for name, parameter in parameters.items()}
    return outgoing, {"loss": float(np.mean(losses)), "images": float(images)}, state_of(optimizer, parameters)


def _draw_images(
    patients: Sequence[np.ndarray], inputs: Inputs, config: DiagnosisConfig, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, views and weights of a step's images; the weights of a patient sum to 1 / patients."""
    rows = np.concatenate(patients)
    counts = np.array([len(images) for images in patients])
    of_patient = np.repeat(1 / (len(patients) * counts), counts)
    everything = np.tile(np.arange(len(inputs.views)), (len(rows), 1))
    count = min(config.augmentation.views_per_step, len(inputs.views))
    views = everything if count == len(inputs.views) else generator.permuted(everything, axis=1)[:, :count]
    return np.repeat(rows, count), views.ravel(), np.repeat(of_patient / count, count).astype(np.float32)


@torch.no_grad()
def score(inputs: Inputs, rows: np.ndarray, incoming: dict[str, Tensor]) -> np.ndarray:
    """Return each image's probability of malignancy, float32 (len(rows),): logits averaged over the uncropped views.

    `incoming`: the trained tensors; with `center` and `scale` beside them, where the model comes from a finished run.
    Images go through the network one by one, so that a score depends on the image and the model alone.
    """
    classifier = inputs.classifier
    constants = {name: incoming[name] for name in CONSTANTS if name in incoming}
    for name, value in constants.items():
        getattr(classifier, name).copy_(value)
    _load(classifier.trained(), {name: tensor for name, tensor in incoming.items() if name not in constants})
    classifier.train(False)
    whole = np.array([number for number, view in enumerate(inputs.views) if not view.crop])
    scores = [classifier(inputs.read(np.repeat(row, len(whole)), whole)).mean().sigmoid().item() for row in rows]
    return np.array(scores, dtype=np.float32)


@torch.no_grad()
def _load(parameters: dict[str, torch.nn.Parameter], incoming: dict[str, Tensor]) -> None:
    if incoming.keys() != parameters.keys():
        raise ValueError(f"the incoming model has other tensors: {sorted(incoming.keys() ^ parameters.keys())[:3]}")
    for name, parameter in parameters.items():
        parameter.copy_(incoming[name])
