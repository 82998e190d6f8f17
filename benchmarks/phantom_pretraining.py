"""Pretraining on drawn patches, against a plain timm loop in float32 that draws its own.

A ViT-S/14 whose last five of ten blocks learn, batches of 32. Peer: `timm.create_model`, all blocks run in
one `forward_intermediates`, patches drawn between the steps. Bar: at least 2 times as many patches a second.
FEDMAMMO_WEIGHTS names the network's weights; random ones do as well here.
"""

import os
import time
from itertools import pairwise

import torch
from common import tell
from torch.nn import functional

from fedmammo.config.sections import DiagnosisConfig
from fedmammo.training.phantom_network import CLASSES, HELD_OUT, Lesson, draw, pretrain_on_phantoms

NETWORK, STEPS, BATCH = "vit_small_patch14_dinov2", 4, 32


def peer() -> list[float]:
    """Train plainly; returns the seconds of each step."""
    import fedmammo.models.torchvision_guard  # noqa: F401  (before timm)
    import timm  # isort: skip

    network = timm.create_model(NETWORK, num_classes=0, img_size=224)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.startswith("blocks.") and 5 <= int(name.split(".")[1]) < 10)
    heads = torch.nn.ModuleList(torch.nn.Linear(2 * 3 * 384, classes) for classes in CLASSES)
    trained = [*(p for p in network.parameters() if p.requires_grad), *heads.parameters()]
    optimizer, found = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.05), []
    mean, std = (torch.tensor(network.pretrained_cfg[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    for step in range(STEPS):
        began = time.perf_counter()
        images, labels = draw(BATCH, HELD_OUT + step + 1, varied=True)
        shown = functional.interpolate(images, (224, 224), mode="bilinear").expand(-1, 3, -1, -1)
        blocks = network.forward_intermediates(
            (shown - mean) / std, indices=[5, 9], output_fmt="NLC", intermediates_only=True, return_prefix_tokens=True
        )
        read = torch.cat(
            [part for tokens, prefix in blocks for part in (prefix[:, 0], tokens.mean(1), tokens.std(1))], dim=1
        )
        loss = sum(functional.cross_entropy(head(read), label) for head, label in zip(heads, labels.T, strict=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(time.perf_counter() - began)
    assert torch.isfinite(loss)
    return found


def ours() -> list[float]:
    """Train as `fedmammo phantom pretrain` does; returns the seconds of each step."""
    moments: list[float] = []
    config = DiagnosisConfig.model_validate(
        {
            "network": NETWORK, "weights": os.environ.get("FEDMAMMO_WEIGHTS", "none"), "image_size": 224,
            "features": [6, 10], "train": "last_blocks:5", "precision": "bfloat16",
            "optimizer": {"learning_rate": 1e-4},
        }
    )  # fmt: skip
    pretrain_on_phantoms(config, Lesson(BATCH * (STEPS + 1), BATCH, 1), lambda *_: moments.append(time.perf_counter()))
    return [after - before for before, after in pairwise(moments)]


def main() -> None:
    """Measure; the first step of either side, which opens things, does not count."""
    times = {"ours": ours()[:STEPS], "peer": peer()}
    tell(
        "phantom-pretraining",
        {side: found[1:] if side == "peer" else found for side, found in times.items()},
        batch=BATCH,
        bar="at least 2",
    )


if __name__ == "__main__":
    main()
