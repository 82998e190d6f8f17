"""A private step of a whole Swin-T at 224 pixels, 8 images of 4 patients, against a backward pass for each image.

The hooks of Opacus are no peer: of 8 images they make 512 gradients of Swin's windows, and they do not know its tables
of position biases. Peer: the loop that is left, each image clipped and added, in float32.
Ours: each patient's gradient of all parameters, clipped and added exactly in integers.
Each side runs in a process of its own, whose largest memory is told. Bar: 2 times as fast with a third of the memory,
in bfloat16 products and float32 clipping; those are not built, so that float32 alone is measured.
"""

import multiprocessing
import resource
import time
from multiprocessing.connection import Connection

import torch
from common import tell
from torch.nn import functional

from fedmammo.config.sections import DiagnosisConfig
from fedmammo.models.classifier import Classifier, build_classifier
from fedmammo.privacy.gradients import chunks, image_gradients
from fedmammo.privacy.noise import Grid, clipped_sum

PATIENT, REPEATS = [0, 0, 1, 1, 2, 2, 3, 3], 3
TARGETS = torch.tensor([0.0, 0, 1, 1, 0, 0, 1, 1])


def network() -> tuple[Classifier, torch.Tensor]:
    """Build the classifier, and draw images."""
    config = {"network": "swin_tiny_patch4_window7_224", "weights": "none", "image_size": 224, "train": "all"}
    torch.set_num_threads(1)
    classifier = build_classifier(DiagnosisConfig.model_validate(config | {"optimizer": {"learning_rate": 1}}))
    return classifier, torch.rand(len(PATIENT), 1, 224, 224, generator=torch.Generator().manual_seed(0))


def peer(seconds: Connection) -> None:
    """Clip images, one after the other."""
    classifier, images = network()
    trained = list(classifier.trained().values())
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        total = [torch.zeros_like(one) for one in trained]
        for image, target in zip(images, TARGETS, strict=True):
            loss = functional.binary_cross_entropy_with_logits(classifier(image[None]), target[None])
            found = torch.autograd.grad(loss, trained)
            factor = (1 / torch.stack([one.norm() for one in found]).norm()).clamp(max=1)
            total = [one.add_(factor * more) for one, more in zip(total, found, strict=True)]
        seconds.send(time.perf_counter() - began)
        assert all(part.isfinite().all() for part in total)
    seconds.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def ours(seconds: Connection) -> None:
    """Clip patients."""
    classifier, images = network()
    trained = classifier.trained()
    numbers = sum(one.numel() for one in trained.values())
    grid, patient = Grid.of(1.0, 1.0, numbers), torch.tensor(PATIENT)

    def loss(call, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return functional.binary_cross_entropy_with_logits(call(image), target, reduction="sum")

    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        total = [torch.zeros_like(one, dtype=torch.int64) for one in trained.values()]
        for rows, people in chunks(PATIENT, 4 * numbers):
            count = people.stop - people.start
            whose, weights = patient[rows] - people.start, torch.full((rows.stop - rows.start,), 0.5)
            found = image_gradients(classifier, trained, loss, [images[rows], TARGETS[rows]], weights, whose, count)
            total = [one + more for one, more in zip(total, clipped_sum(found, 1.0, grid), strict=True)]
        seconds.send(time.perf_counter() - began)
        assert any(part.any() for part in total)
    seconds.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def main() -> None:
    """Measure both."""
    times, memory = {}, {}
    for name, side in (("ours", ours), ("peer", peer)):
        here, there = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=side, args=(there,))
        process.start()
        there.close()
        found = [here.recv() for _ in range(REPEATS + 2)]
        process.join()
        times[name], memory[name] = found[1:-1], round(found[-1], 2)
    tell("private-step-float32", times, gigabytes=memory, bar="2, a third of the memory (bfloat16, not built)")


if __name__ == "__main__":
    main()
