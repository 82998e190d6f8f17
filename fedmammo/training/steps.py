"""The training loop: one hospital's steps of one round, and scoring."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fedmammo.config.sections import DiagnosisConfig, Loss
from fedmammo.features.inputs import Inputs
from fedmammo.models.head import CONSTANTS, LinearHead
from fedmammo.privacy.gradients import Slopes, chunks, contrast, linear_gradients, logistic, patient_gradient
from fedmammo.privacy.steps import PrivateSteps
from fedmammo.training.optimizer import make_optimizer, restore, state_of

SLOPES: dict[Loss, Slopes] = {"logistic": logistic, "contrast": contrast}
Correct = Callable[[dict[str, torch.nn.Parameter]], None]


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


class Trained(NamedTuple):
    """What a round's steps lead to.

    Attributes:
        model: the trained tensors by name; where sums leave, that of clipped gradients of the single step, int64 in
            steps of the grid.
        public: there, the gradient of images of nobody by name, if any are learned from.
    """

    model: dict[str, Tensor]
    public: Mapping[str, Tensor] = MappingProxyType({})


def train(
    inputs: Inputs,
    patients: Sequence[np.ndarray],
    config: DiagnosisConfig,
    steps: int,
    generator: np.random.Generator,
    incoming: dict[str, Tensor],
    state: dict[str, Tensor],
    correct: Correct | None = None,
    private: PrivateSteps | None = None,
) -> tuple[Trained, dict[str, float], dict[str, Tensor]]:
    """Take `steps` steps from the incoming model on these patients.

    A patient's loss is the mean cross-entropy over its images (and the views drawn of each); a step's loss is the
    mean over its patients.

    With `private` the mean over patients is one of clipped gradients, with noise; the gradients of synthetic images,
    which are nobody's, are added to it as they are.

    Args:
        inputs: the classifier and its inputs.
        patients: for each patient, the rows of its images; a synthetic image is a patient of its own, and comes last.
        config: optimiser, fraction of patients per step, views, label smoothing.
        steps: number of steps.
        generator: draws the order of patients, the views and (through torch) any dropout; with `private` the views of
            each patient from a stream of its own, and no dropout.
        incoming: the trained tensors by name.
        state: the optimiser's state as the previous round left it; empty at first.
        correct: changes the gradients of a step, as a client-side algorithm wants.
        private: how patients are protected, if they are.

    Returns:
        What was trained; numbers: `loss` (mean over steps) and `images` (views of images read), none of them with
        `private`; the new state.
    """
    classifier = inputs.model
    parameters = classifier.trained()
    _load(parameters, incoming)
    optimizer = make_optimizer(config.optimizer, parameters)
    restore(optimizer, parameters, state)
    reader = Reader(inputs, config.loss)
    losses, images = [], 0
    total: list[Tensor] = []

    with _seeded(int(generator.integers(2**63)), inputs):
        # A patient's gradient must depend on nobody else: no dropout, and for each patient a stream of views.
        classifier.train(private is None)
        protected, whole = (patients[: private.patients], patients[private.patients :]) if private else ([], patients)
        own, others = Drawer(protected, inputs, config, generator), Drawer(whole, inputs, config)
        batches = batches_of_patients(len(whole), config.patient_fraction, steps, generator)
        samples: Iterable[np.ndarray] = private.samples() if private else [np.empty(0, dtype=np.int64)] * steps
        for step, sample in enumerate(samples):
            optimizer.zero_grad()
            if private:
                gradients = patient_gradients(reader, parameters, own.draw(sample))
                total = private.descend(list(parameters.values()), step, gradients)
            if len(whole):
                drawn = others.draw(next(batches), generator)
                part = len(whole) / (len(whole) + private.patients) if private and not private.sums else 1.0
                losses.append(part * _descend(reader, drawn, part))
                images += len(drawn.rows)
            if correct is not None:
                with torch.no_grad():
                    correct(parameters)
            if private is None or not private.sums:
                optimizer.step()
        classifier.train(False)

    if private and private.sums:
        public = {name: _copy(parameter.grad) for name, parameter in parameters.items() if parameter.grad is not None}
        return Trained(dict(zip(parameters, map(_copy, total), strict=True)), public), {}, {}
    trained = Trained({name: _copy(parameter) for name, parameter in parameters.items()})
    numbers = {} if private else {"loss": float(np.mean(losses)), "images": float(images)}
    return trained, numbers, state_of(optimizer, parameters)


@contextmanager
def _seeded(seed: int, inputs: Inputs) -> Iterator[None]:
    """Seed torch's own generator, which dropout draws from, for a while; a linear head has none."""
    if inputs.linear:
        yield
        return
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().clone()


@dataclass(frozen=True)
class Drawn:
    """The images of a step, sorted by patient: (images,) each.

    Attributes:
        rows: of the manifest.
        views: numbers of views.
        targets: smoothed labels.
        weights: of an image in its patient; a patient's sum to 1.
        patient: whose it is, from 0.
    """

    rows: np.ndarray
    views: np.ndarray
    targets: Tensor
    weights: Tensor
    patient: Tensor


class Drawer:
    """Draws the images of steps.

    Where every view is read there is nothing to draw: patients come in their order, and the same give the same images.

    Args:
        patients: for each patient, the rows of its images.
        inputs: of the images.
        config: views of a step, label smoothing.
        own: draws the views of patients from streams of their own, if each has one.
    """

    def __init__(
        self,
        patients: Sequence[np.ndarray],
        inputs: Inputs,
        config: DiagnosisConfig,
        own: np.random.Generator | None = None,
    ) -> None:
        self._patients, self._inputs, self._smoothing = patients, inputs, config.label_smoothing
        self._count = min(config.augmentation.views_per_step, len(inputs.views))
        self._everything = self._count == len(inputs.views)
        self._streams = own.spawn(len(patients)) if own and not self._everything else []
        self._last: tuple[bytes, Drawn] | None = None

    def draw(self, chosen: np.ndarray, generator: np.random.Generator | None = None) -> Drawn:
        """Draw the images of a step. `generator`: draws the views of all patients who have no stream of their own."""
        if not self._everything:
            return self._draw(chosen, generator)
        chosen = np.sort(chosen)
        key = chosen.tobytes()
        if self._last is None or self._last[0] != key:
            self._last = (key, self._draw(chosen, None))
        return self._last[1]

    def _draw(self, chosen: np.ndarray, generator: np.random.Generator | None) -> Drawn:
        inputs, count = self._inputs, self._count
        patients = [self._patients[index] for index in chosen]
        rows = np.concatenate([np.empty(0, dtype=np.int64), *patients])
        counts = np.array([len(images) for images in patients], dtype=np.int64)
        patient = np.repeat(np.arange(len(patients)), counts)
        views = np.tile(np.arange(len(inputs.views)), (len(rows), 1))
        if not self._everything:
            parts = np.split(views, np.cumsum(counts)[:-1])
            own = [generator or self._streams[index] for index in chosen]
            views = np.concatenate(
                [one.permuted(part, axis=1) for one, part in zip(own, parts, strict=False)] or [views]
            )
            views = views[:, :count]
        rows = np.repeat(rows, count)
        smoothing = self._smoothing
        targets = inputs.malignant[rows].astype(np.float32) * (1 - smoothing) + smoothing / 2
        weights = np.repeat(1 / counts, counts * count) / count
        tensors = (targets, weights, np.repeat(patient, count))
        return Drawn(rows, views.ravel(), *(torch.from_numpy(array).to(inputs.device) for array in tensors))


class Reader:
    """Reads what is trained on, and by which loss; images that a step reads again are read once."""

    def __init__(self, inputs: Inputs, loss: Loss) -> None:
        self.inputs, self.slopes = inputs, SLOPES[loss]
        self._last: tuple[bytes, Tensor] | None = None

    def read(self, rows: np.ndarray, views: np.ndarray) -> Tensor:
        """Return what is read of images, a row for each, as `rows` and `views` name them."""
        key = rows.tobytes() + views.tobytes()
        if self._last is None or self._last[0] != key:
            self._last = (
                key,
                self.inputs.standard(rows, views) if self.inputs.linear else self.inputs.read(rows, views),
            )
        return self._last[1]

    def logits(self, read: Tensor) -> Tensor:
        """Return logits, (images,), of what `read` returned."""
        model = self.inputs.model
        return model.head(read).squeeze(1) if self.inputs.linear else model(read)


def _descend(reader: Reader, drawn: Drawn, part: float) -> float:
    """Add `part` of the gradient of a step's mean loss to the parameters' gradients; returns the loss.

    A linear head's gradient is a matrix product: nothing is recorded for it.
    """
    read, weights = reader.read(drawn.rows, drawn.views), (drawn.weights / (int(drawn.patient[-1]) + 1)).float()
    with torch.set_grad_enabled(not reader.inputs.linear):
        logits = reader.logits(read)
        loss = functional.binary_cross_entropy_with_logits(logits, drawn.targets, weight=weights, reduction="sum")
        if reader.inputs.linear:
            error = (part * weights) * reader.slopes(logits, drawn.targets)
            head = reader.inputs.model.head
            of_bias = head.bias_input * error.sum()[None]
            for parameter, gradient in ((head.weight, (error @ read)[None]), (head.bias, of_bias)):
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        else:
            (part * loss).backward()
    return loss.item()


def patient_gradients(
    reader: Reader, parameters: dict[str, torch.nn.Parameter], drawn: Drawn
) -> Iterator[list[Tensor]]:
    """Yield gradients of the patients of a step: of a linear head in chunks of patients, else patient by patient."""
    linear = reader.inputs.linear
    size = 8 * sum(parameter.numel() for parameter in parameters.values())
    for images, patients in chunks(drawn.patient.tolist(), size if linear else None):
        read = reader.read(drawn.rows[images], drawn.views[images])
        targets, weights = drawn.targets[images], drawn.weights[images].float()
        if linear:
            whose, count = drawn.patient[images] - patients.start, patients.stop - patients.start
            with torch.no_grad():
                yield linear_gradients(reader.inputs.model.head, read, targets, weights, whose, count, reader.slopes)
        else:
            losses = functional.binary_cross_entropy_with_logits(reader.logits(read), targets, reduction="none")
            yield patient_gradient(losses, weights, parameters)


@torch.no_grad()
def score(inputs: Inputs, rows: np.ndarray, incoming: dict[str, Tensor]) -> np.ndarray:
    """Return each image's probability of malignancy, float32 (len(rows),): logits averaged over the uncropped views.

    `incoming`: the trained tensors; with `center` and `scale` beside them, where the model comes from a finished run.
    Images go through the network one by one, so that a score depends on the image and the model alone.
    """
    constants = {name: incoming[name] for name in CONSTANTS if name in incoming}
    trained = {name: tensor for name, tensor in incoming.items() if name not in constants}
    _check_names(inputs.model.trained(), trained)
    whole = np.array([number for number, view in enumerate(inputs.views) if not view.crop])
    if inputs.linear:
        return _score_head(inputs, rows, whole, trained, constants)
    model = inputs.model
    for name, value in constants.items():
        getattr(model, name).copy_(value)
    _load(model.trained(), trained)
    model.train(False)
    scores = [model(inputs.read(np.repeat(row, len(whole)), whole)).mean().sigmoid().item() for row in rows]
    return np.array(scores, dtype=np.float32)


def _score_head(
    inputs: Inputs, rows: np.ndarray, whole: np.ndarray, trained: dict[str, Tensor], constants: dict[str, Tensor]
) -> np.ndarray:
    """Score features; what the head reads of them is in memory, unless a finished run's constants are others."""
    own = inputs.model.constants
    if all(torch.equal(value.to(own[name]), own[name]) for name, value in constants.items()):
        read = inputs.standard
    else:
        head = LinearHead(own["center"].numel(), None if "directions" not in own else own["directions"].shape[1])
        head.to(inputs.device).load_state_dict(trained | own | constants)

        def read(rows: np.ndarray, views: np.ndarray) -> Tensor:
            return torch.cat([head.standard(features[None]) for features in inputs.read(rows, views)])

    weight, bias = (trained[f"head.{name}"].to(inputs.device) for name in ("weight", "bias"))
    # Not a matrix product, which may sum in blocks: a logit depends on its own row alone.
    bias = inputs.model.head.bias_input * bias
    logits = [(read(rows, np.full(len(rows), view)) * weight).sum(dim=1) + bias for view in whole]
    return torch.stack(logits).mean(dim=0).sigmoid().cpu().numpy().astype(np.float32)


@torch.no_grad()
def _load(parameters: dict[str, torch.nn.Parameter], incoming: dict[str, Tensor]) -> None:
    _check_names(parameters, incoming)
    for name, parameter in parameters.items():
        parameter.copy_(incoming[name])


def _check_names(parameters: Mapping[str, Tensor], incoming: Mapping[str, Tensor]) -> None:
    if incoming.keys() != parameters.keys():
        raise ValueError(f"the incoming model has other tensors: {sorted(incoming.keys() ^ parameters.keys())[:3]}")
