"""What a study's computing takes on this machine, from a few timed steps on made-up tensors: an estimate."""

import time
from typing import NamedTuple

import torch
from torch.nn import functional

from fedmammo.config.deployment import Deployment
from fedmammo.config.sections import DiagnosisConfig
from fedmammo.models.classifier import build_classifier

IMAGES = 2  # that a network reads or learns from, once, to see how long that takes
ROWS = 512  # of features that a head learns from in a step
STEPS = 5


class Calibration(NamedTuple):
    """What was measured: processor time, which other work on this machine hardly changes.

    Attributes:
        shapes: of the tensors that are trained, by name.
        step_seconds: of a step of training, for each view of an image.
        feature_seconds: of what a frozen network makes of one view, done once; 0 where nothing is frozen.
        width: numbers that the head reads.
        head: whether the head alone is trained.
    """

    shapes: dict[str, tuple[int, ...]]
    step_seconds: float
    feature_seconds: float
    width: int
    head: bool


def calibrate(diagnosis: DiagnosisConfig, threads: int) -> Calibration:
    """Build a study's network with random weights, and time it. Raises InputError for one that cannot be.

    Centring, scaling and directions cost next to nothing; random weights take as long as others.
    """
    torch.set_num_threads(threads)
    model = build_classifier(diagnosis.model_copy(update={"weights": "none"}))
    trained = model.trained()
    shapes = {name: tuple(parameter.shape) for name, parameter in trained.items()}
    images = torch.rand(IMAGES, 1, model.image_size, model.image_size)
    features, read = 0.0, images
    if model.has_prefix:
        began = time.process_time()  # the network read an image when it was built: it is warm
        read = model.prefix(images)
        features = (time.process_time() - began) / IMAGES
    width = int(model.head.weight.shape[1])
    head = diagnosis.train == "head"
    if head:
        return Calibration(shapes, _head_seconds(width), features, width, head)
    began = time.process_time()
    functional.binary_cross_entropy_with_logits(model(read), torch.zeros(IMAGES)).backward()
    return Calibration(shapes, (time.process_time() - began) / IMAGES, features, width, head)


def _head_seconds(width: int) -> float:
    """Return how long a step of a linear head takes for each row that it reads: two products of matrices."""
    rows, weight = torch.rand(ROWS, width), torch.zeros(1, width)
    began = time.process_time()
    for _ in range(STEPS):
        error = functional.linear(rows, weight).squeeze(1).sigmoid() / ROWS
        weight = weight - 1e-3 * (error @ rows)[None]
    return (time.process_time() - began) / (STEPS * ROWS)


def computing(deployments: list[Deployment], read: float, looks: float, found: Calibration) -> tuple[float, float]:
    """Return seconds of features, and of training, of a whole study on one processor core.

    Args:
        deployments: all of them.
        read: views of images that all holders of a deployment read in a step together.
        looks: views of images of which features are computed once.
        found: what was measured.
    """
    steps = sum(one.federation.rounds * one.federation.local_steps for one in deployments)
    return looks * found.feature_seconds, steps * read * found.step_seconds
