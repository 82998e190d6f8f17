"""Pretrains a network on drawn patches, which cost no privacy, and writes it as weights that a study can name.

The network learns to name the shape, the margins and the kind of phantom masses; each patch is drawn afresh and seen
once. Then compare two studies that differ in `diagnosis.weights`; docs/phantoms.md has the commands and the answer.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional

from fedmammo.config.sections import DiagnosisConfig, OptimizerConfig
from fedmammo.disk.files import write_tensors
from fedmammo.models.classifier import Classifier, build_classifier
from fedmammo.phantom.patches import draw_patches
from fedmammo.phantom.rates import MARGINS, SHAPES

HELD_OUT = 10_000_000  # seed of the patches on which the pretrained network is tried


def drawn(seed: int, count: int) -> tuple[Tensor, Tensor]:
    """Images (count, 1, 128, 128), 0 to 1, and labels (count, 3): shape, margins, malignant."""
    patches, masses = draw_patches(count, seed)
    labels = [[SHAPES.index(mass.shape), MARGINS.index(mass.margins), int(mass.malignant)] for mass in masses]
    return torch.from_numpy(patches.astype(np.float32) / 65535)[:, None], torch.tensor(labels)


def logits(classifier: Classifier, heads: nn.ModuleList, images: Tensor) -> list[Tensor]:
    """Scores of each label's classes."""
    with torch.autocast("cpu", torch.bfloat16):
        readout = classifier.readout(classifier.prefix(images) if classifier.has_prefix else images)
    standard = (readout.float() - classifier.center) / classifier.scale
    return [head(standard) for head in heads]


def main(
    out: Annotated[Path, typer.Argument(help="Where to write the weights, a safetensors file.")],
    network: Annotated[str, typer.Option(help="Name of a transformer in timm.")],
    weights: Annotated[str, typer.Option(help="Where to start: `none`, `hub` or a safetensors file.")] = "none",
    features: Annotated[str, typer.Option(help="Blocks that the study will read.")] = "6,10",
    train: Annotated[str, typer.Option(help="What is pretrained: all, or last_blocks:N.")] = "all",
    patches: Annotated[int, typer.Option(help="Patches to draw and learn from.")] = 6000,
    learning_rate: Annotated[float, typer.Option(help="Highest step size; it rises, then falls to 0.")] = 1e-4,
    batch: Annotated[int, typer.Option(help="Patches in a step.")] = 32,
    seed: Annotated[int, typer.Option(help="Seed of the patches and of whatever starts at random.")] = 1,
) -> None:
    """Pretrain, try the network on held-out phantom patches, write its weights."""
    blocks = [int(block) for block in features.split(",")]
    config = DiagnosisConfig(
        network=network, weights=weights, image_size=224, features=blocks, train=train, precision="bfloat16",
        optimizer=OptimizerConfig(learning_rate=learning_rate),
    )  # fmt: skip
    classifier = build_classifier(config)
    images, _ = drawn(HELD_OUT, 64)
    with torch.no_grad():
        classifier.standardize(classifier.readout(classifier.prefix(images) if classifier.has_prefix else images))
    torch.manual_seed(seed)
    heads = nn.ModuleList(nn.Linear(len(classifier.center), classes) for classes in (len(SHAPES), len(MARGINS), 2))
    parameters = [value for name, value in classifier.trained().items() if not name.startswith("head.")]
    optimizer = torch.optim.AdamW([*parameters, *heads.parameters()], lr=learning_rate, weight_decay=0.05)
    steps = patches // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.1)
    classifier.train(True)
    for step in track(range(steps), "pretraining"):
        images, labels = drawn(seed * HELD_OUT + step + 1, batch)
        scores = logits(classifier, heads, images)
        loss = sum(functional.cross_entropy(score, label) for score, label in zip(scores, labels.T, strict=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    classifier.train(False)
    tried = [drawn(HELD_OUT - 1 - step, batch) for step in range(20)]
    with torch.no_grad():
        right = [
            torch.stack([score.argmax(1) for score in logits(classifier, heads, images)], dim=1) == labels
            for images, labels in tried
        ]
    shape, margins, kind = torch.cat(right).float().mean(dim=0).tolist()
    print(f"held-out phantoms named right: shape {shape:.3f}, margins {margins:.3f}, benign or malignant {kind:.3f}")
    write_tensors(out, classifier.chain.network.state_dict())


if __name__ == "__main__":
    typer.run(main)
