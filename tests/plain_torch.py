"""Training in plain torch: the same network, patients and streams of randomness, and nothing else of the house."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fedmammo.cohort.store import Cohort
from fedmammo.config.sections import DiagnosisConfig
from fedmammo.phantom.patches import draw_patches

Correct = Callable[[dict[str, nn.Parameter]], None]


class Plain(nn.Module):
    """A timm network, the constants that centre and scale its output, and a linear head; gray images go in."""

    def __init__(self, name: str, side: int) -> None:
        import timm  # conftest.py has imported torchvision_guard before, which makes this possible everywhere

        super().__init__()
        torch.manual_seed(0)
        self.network = timm.create_model(name, num_classes=0, img_size=side)
        self.head = nn.Linear(self.network.num_features, 1)
        with torch.no_grad():
            outputs = torch.cat([self.network.eval()(self.normalized(patch, side)) for patch in stand_ins()])
        self.scale, self.center = torch.std_mean(outputs, dim=0)
        self.side = side

    @staticmethod
    def normalized(images: Tensor, side: int) -> Tensor:
        """At the network's size, three channels, mean and standard deviation 0.5 (test_vit's own)."""
        images = functional.interpolate(images, size=(side, side), mode="bicubic", antialias=True).clamp(0, 1)
        return (images.expand(-1, 3, -1, -1) - 0.5) / 0.5

    def forward(self, images: Tensor) -> Tensor:
        output = self.network(self.normalized(images, self.side))
        return self.head((output - self.center) / self.scale)[:, 0]


def as_tensor(patch: np.ndarray) -> Tensor:
    return torch.from_numpy(patch.astype(np.float32) / 65535)[None, None]


@cache
def stand_ins() -> list[Tensor]:
    return [as_tensor(patch) for patch in draw_patches(64, seed=0)[0]]


class PlainTraining:
    """Trains a network on patients; its optimiser lives on.

    Args:
        diagnosis: the study's section.
        initial: the tensors to begin with, by the house's names.
        cohort: of the images.
        patients: for each training patient, the rows of its images.
    """

    def __init__(
        self, diagnosis: DiagnosisConfig, initial: dict[str, Tensor], cohort: Cohort, patients: Sequence[np.ndarray]
    ) -> None:
        self.diagnosis, self.cohort, self.patients = diagnosis, cohort, patients
        self.model = Plain(diagnosis.network, diagnosis.image_size)
        names = {"head.weight": "head.weight", "head.bias": "head.bias"} | {
            f"chain.network.{name}": f"network.{name}" for name, _ in self.model.network.named_parameters()
        }
        parameters = dict(self.model.named_parameters())
        self.trained = {name: parameters[names[name]] for name in initial}
        self.load(initial)
        how = diagnosis.optimizer
        kind = torch.optim.SGD if how.name == "sgd" else torch.optim.AdamW
        keys = {"momentum": how.momentum} if how.name == "sgd" else {"weight_decay": how.weight_decay}
        self.optimizer = kind(self.trained.values(), how.learning_rate, **keys)  # type: ignore[arg-type]

    def load(self, model: dict[str, Tensor]) -> None:
        """Go on from a model."""
        for name, parameter in self.trained.items():
            parameter.data = model[name].clone()

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The model, by the house's names."""
        return {name: parameter.detach().clone() for name, parameter in self.trained.items()}

    def take(self, steps: int, generator: np.random.Generator, correct: Correct | None = None) -> None:
        """Take steps; `correct` changes their gradients."""
        labels, smoothing = self.cohort.manifest["malignant"].to_numpy(np.float32), self.diagnosis.label_smoothing
        patients, a_step = self.patients, round(self.diagnosis.patient_fraction * len(self.patients))
        generator.integers(2**63)  # the seed of dropout, which this network has none of
        order: list[int] = []
        for _ in range(steps):
            if len(order) < a_step:
                order = generator.permutation(len(patients)).tolist()
            batch, order = [patients[patient] for patient in order[:a_step]], order[a_step:]
            rows = np.concatenate(batch)
            mirrored = generator.permuted(np.tile([0, 1], (len(rows), 1)), axis=1)[:, 0]
            pictures = zip(rows, mirrored, strict=True)
            images = [self.cohort.patches[row][:, :: -1 if flip else 1] for row, flip in pictures]
            weights = np.concatenate([np.full(len(own), 1 / (len(batch) * len(own))) for own in batch])
            loss = functional.binary_cross_entropy_with_logits(
                self.model(torch.cat([as_tensor(image) for image in images])),
                torch.from_numpy(labels[rows] * (1 - smoothing) + smoothing / 2),
                torch.from_numpy(weights.astype(np.float32)),
                reduction="sum",
            )
            self.optimizer.zero_grad()
            loss.backward()
            if correct is not None:
                with torch.no_grad():
                    correct(self.trained)
            self.optimizer.step()
