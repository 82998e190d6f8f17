"""Pretraining of a network on drawn patches, which cost no patient's privacy: weights that a study can name.

The network learns to name the shape, the margins and the kind (benign or malignant) of phantom masses. Each patch is
drawn afresh, by a process beside, and seen once; blocks that are not trained pass it once, without gradients. Weights
and the optimiser's state are in float32, matrix products in the precision that the network is configured with. What is
stopped goes on from its last checkpoint, to the same weights.
"""

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fedmammo.config.sections import DiagnosisConfig
from fedmammo.disk.files import digest_of_content, digest_of_sources, read_tensors, write_tensors
from fedmammo.disk.parallel import in_order
from fedmammo.errors import InputError, StudyError
from fedmammo.models.classifier import Classifier, build_classifier
from fedmammo.models.head import Taught
from fedmammo.phantom.patches import draw_patches
from fedmammo.phantom.rates import MARGINS, SHAPES
from fedmammo.training.optimizer import restore, state_of
from fedmammo.training.state import join_kinds, of_kind

HELD_OUT = 10_000_000  # between the seeds of what is learned from, what centres features, and what is held out
TRIED = 640  # patches on which the pretrained network is tried
CHECKPOINT_SECONDS = 60.0
CLASSES = (len(SHAPES), len(MARGINS), 2)

Patches = tuple[Tensor, Tensor]
"""Images (count, 1, 128, 128), 0 to 1, and labels (count, 3): shape, margins, malignant."""


@dataclass(frozen=True)
class Lesson:
    """What is learned from.

    Attributes:
        patches: to draw, each seen once; what does not fill a batch is left out.
        batch: patches in a step.
        seed: of the patches, and of the heads that name what they show.
        varied: whether the patches are varied as films and cuts vary (`fedmammo.phantom.variation`).
    """

    patches: int
    batch: int
    seed: int
    varied: bool = True

    def __post_init__(self) -> None:
        """Raise InputError where there is no step to take."""
        if not 1 <= self.batch <= self.patches:
            raise InputError(f"--patches {self.patches}, --batch {self.batch}: a step takes 1 patch or more of them")


class Naming(nn.Module):
    """A classifier's readout, centred and scaled by drawn patches, and a linear head for each label.

    Args:
        classifier: whose blocks learn.
        lesson: seed of the heads, and whether patches vary.
    """

    def __init__(self, classifier: Classifier, lesson: Lesson) -> None:
        super().__init__()
        self.classifier = classifier
        images, _ = draw(64, HELD_OUT, lesson.varied)
        with torch.no_grad():
            classifier.standardize(self._readout(images))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(lesson.seed)
            self.heads = nn.ModuleList(nn.Linear(len(classifier.center), classes) for classes in CLASSES)

    def _readout(self, images: Tensor) -> Tensor:
        return self.classifier.readout(self.classifier.prefix(images) if self.classifier.has_prefix else images)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Scores of each label's classes."""
        standard = (self._readout(images) - self.classifier.center) / self.classifier.scale
        return [head(standard) for head in self.heads]

    def trained(self) -> dict[str, nn.Parameter]:
        """Return what learns, by name: the classifier's trained blocks, and the heads."""
        blocks = {name: value for name, value in self.classifier.trained().items() if not name.startswith("head.")}
        return blocks | {f"heads.{name}": value for name, value in self.heads.named_parameters()}

    def taught(self) -> Taught:
        """Return the head that tells malignant from benign: of two classes one logit is the difference."""
        classifier, tensors = self.classifier, self.heads.state_dict()
        weight, bias = (torch.diff(tensors[f"{len(CLASSES) - 1}.{name}"], dim=0)[0] for name in ("weight", "bias"))
        return Taught(weight, bias, classifier.center.clone(), classifier.scale.clone())


def draw(count: int, seed: int, varied: bool) -> Patches:
    """Draw patches with their labels."""
    patches, masses = draw_patches(count, seed, varied=varied)
    labels = [[SHAPES.index(mass.shape), MARGINS.index(mass.margins), int(mass.malignant)] for mass in masses]
    return torch.from_numpy(patches.astype(np.float32) / 65535)[:, None], torch.tensor(labels)


def _drawn_beside(count: int, seeds: range, varied: bool) -> Iterator[Patches]:
    """Draw batches in a process beside this one."""
    return in_order(partial(draw, count, varied=varied), seeds, processes=2, lost=_lost)


def _lost(seed: int) -> Patches:
    raise StudyError(f"patches of seed {seed} could not be drawn: the process that draws was killed")


class Course:
    """The steps of a network through a lesson, and the file from which it goes on where it was stopped.

    Args:
        naming: what learns.
        config: of its network; `optimizer.learning_rate` is the highest step size, which rises, then falls to 0.
        lesson: what is learned from.
        checkpoint: the file; none keeps nothing.

    Raises InputError where the file is of another lesson, or damaged.
    """

    def __init__(self, naming: Naming, config: DiagnosisConfig, lesson: Lesson, checkpoint: Path | None) -> None:
        about = {"config": config.model_dump(), "lesson": asdict(lesson), "code": digest_of_sources()}
        self._trained, self._file, self._about = naming.trained(), checkpoint, digest_of_content(about)
        self.steps, self.done, self._kept_at = lesson.patches // lesson.batch, 0, time.monotonic()
        rate = config.optimizer.learning_rate
        self._optimizer = torch.optim.AdamW(self._trained.values(), lr=rate, weight_decay=0.05)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, rate, total_steps=self.steps, pct_start=0.1
        )
        torch.manual_seed(lesson.seed)  # of dropout and of paths that Swin drops
        if checkpoint is not None and checkpoint.exists():
            self._go_on(checkpoint)

    @torch.no_grad()
    def _go_on(self, checkpoint: Path) -> None:
        tensors, metadata = read_tensors(checkpoint)
        if metadata.get("about") != self._about:
            raise InputError(f"{checkpoint}: is of another pretraining, or of another version; remove it")
        torch.set_rng_state(tensors["random"])
        self.done = int(tensors["done"])
        for name, parameter in self._trained.items():
            parameter.copy_(tensors[f"model/{name}"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that no step was taken before: it was, in another process
            for _ in range(self.done):
                self._schedule.step()
        restore(self._optimizer, self._trained, of_kind(tensors, "optimizer"))

    def step(self, loss: Tensor) -> None:
        """Take a step down a loss; now and then, keep what there is."""
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self._schedule.step()
        self.done += 1
        if self._file is not None and time.monotonic() - self._kept_at >= CHECKPOINT_SECONDS:
            kinds = join_kinds(model=dict(self._trained), optimizer=state_of(self._optimizer, self._trained))
            now = {"random": torch.get_rng_state(), "done": torch.tensor(self.done)}
            write_tensors(self._file, kinds | now, {"about": self._about})
            self._kept_at = time.monotonic()


def pretrain_on_phantoms(
    config: DiagnosisConfig, lesson: Lesson, report: Callable[[int, int], None], checkpoint: Path | None = None
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Train a network, then try it on patches that it has not seen.

    Args:
        config: the network, and the highest step size.
        lesson: what is learned from.
        report: told steps done, and steps in all.
        checkpoint: a file from which to go on where it is there, and which is written now and then.

    Returns:
        The network's tensors as timm names them, beside them the head that tells malignant from benign, as
        `Taught.tensors` names it; fractions of held-out patches named right: shape, margins, malignant.

    Raises InputError for a configuration that the network cannot have, or the checkpoint of another lesson; StudyError
    where the loss is not finite.
    """
    naming = Naming(build_classifier(config), lesson)
    first = lesson.seed * HELD_OUT + 1
    with torch.random.fork_rng(devices=[]):
        course = Course(naming, config, lesson, checkpoint)
        naming.train(True)
        seeds = range(first + course.done, first + course.steps)
        for images, labels in _drawn_beside(lesson.batch, seeds, lesson.varied):
            losses = [functional.cross_entropy(*pair) for pair in zip(naming(images), labels.T, strict=True)]
            loss = torch.stack(losses).sum()
            if not loss.isfinite():
                raise StudyError(f"step {course.done + 1}: the loss is not finite; a smaller learning rate may help")
            course.step(loss)
            report(course.done, course.steps)
    tensors = naming.classifier.chain.network.state_dict() | naming.taught().tensors
    return tensors, _tried(naming.train(False), lesson.varied)


@torch.no_grad()
def _tried(naming: Naming, varied: bool) -> dict[str, float]:
    right = []
    for images, labels in _drawn_beside(32, range(HELD_OUT - TRIED // 32, HELD_OUT), varied):
        right.append(torch.stack([scores.argmax(1) for scores in naming(images)], dim=1) == labels)
    return dict(zip(("shape", "margins", "malignant"), torch.cat(right).float().mean(dim=0).tolist(), strict=True))
