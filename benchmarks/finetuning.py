"""Fine-tuning under a budget and without one, against the recipe that runs the backbone in every step.

Five hospitals, 20 rounds of 5 steps over all patients. Peers, for each round and hospital: the whole model arrives as
Flower's ArrayRecord and is loaded; every step runs the backbone on all images of the hospital, in batches of 16.
`dp`: a frozen ViT-S/14 and a head, Opacus's PrivacyEngine, gradients per image, as Flower's example of Opacus does it.
`block`: the last block and the head are trained, no privacy.
The whole recipe takes hours: one step on 60 images is measured, and multiplied by the images and steps that there are.
Of ours, `dp` is measured whole and of `block` two steps, multiplied likewise; the features of all images are included
(scaled from the same 60 images), then again with features that are there.
Bars: dp at least 30 times faster and 100 times fewer bytes; block at least 5 times.
With noise off the peer's loop over stored features, patients weighed alike, must score as ours does: AUROC within .005.
"""

import logging
import time
from pathlib import Path

import numpy as np
import torch
from common import opened, study, tell
from flwr.app import ArrayRecord
from torch.nn import functional

from fedmammo.features.inputs import Inputs
from fedmammo.hospitals.dealing import deal
from fedmammo.hospitals.records import records_of
from fedmammo.hospitals.site import open_cohort
from fedmammo.models.classifier import Classifier, build_classifier
from fedmammo.run.public import Public

ROUNDS, STEPS, SAMPLE, BATCH = 20, 5, 60, 16
BLOCK_STEPS = 2  # that are measured


class Whole(torch.nn.Module):
    """A network that a peer runs in every step."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.backbone, self.head = classifier.chain.network, torch.nn.Linear(384, 1)
        self.mean, self.std = classifier.mean, classifier.std

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of images (images, 1, side, side)."""
        shown = functional.interpolate(images, (224, 224), mode="bilinear").expand(-1, 3, -1, -1)
        return self.head(self.backbone((shown - self.mean) / self.std)).squeeze(1)


def peer(config, images: torch.Tensor, labels: torch.Tensor, blocks: int, private: bool) -> tuple[float, int]:
    """Return seconds of a step over these images, and bytes that one hospital sends in a round."""
    from opacus import PrivacyEngine

    model = Whole(build_classifier(Public(config, Path()).diagnosis(config.deployment("federated", "real"))))
    model.requires_grad_(False)
    for part in (model.head, *model.backbone.blocks[len(model.backbone.blocks) - blocks :]):
        part.requires_grad_(True)
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, labels), batch_size=BATCH)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.001)
    sent = ArrayRecord(model.state_dict())
    if private:
        model, optimizer, data = PrivacyEngine().make_private(
            module=model.train(), optimizer=optimizer, data_loader=data, noise_multiplier=1.0, max_grad_norm=1.0
        )
    began = time.perf_counter()
    getattr(model, "_module", model).load_state_dict(sent.to_torch_state_dict())
    seen = 0
    for some, wanted in data:
        optimizer.zero_grad()
        if len(some):
            functional.binary_cross_entropy_with_logits(model(some), wanted).backward()
            optimizer.step()
        seen += len(some)
    size = sum(len(array.data) for array in ArrayRecord(getattr(model, "_module", model).state_dict()).values())
    return (time.perf_counter() - began) * len(images) / seen, size


def ours(config, setting: str) -> tuple[float, int]:
    """Return seconds of all rounds of a deployment whose features are there, and a hospital's bytes in one."""
    from fedmammo.federation.rounds import RoundsOf

    spent: list[float] = []
    run = RoundsOf.run

    def timed(self, *args):
        began = time.perf_counter()
        found = run(self, *args)
        spent.append(time.perf_counter() - began)
        spent.append(max(row["bytes_up"] for row in found.rows))
        return found

    RoundsOf.run = timed
    try:
        with opened(config) as own:
            own.deploy(config.deployment("federated", setting))
    finally:
        RoundsOf.run = run
    return spent[0], int(spent[1])


def main() -> None:
    """Measure both."""
    logging.getLogger("flwr").setLevel(logging.WARNING)
    torch.set_num_threads(1)
    common = [
        "seeds=[0]", "engine.name=inline", "arms=[federated]", f"federation.rounds={ROUNDS}",
        f"federation.local_steps={STEPS}", "diagnosis.features=pooled",
        "diagnosis.augmentation={flips: none, views_per_step: 1}",
    ]  # fmt: skip
    dp = study(*common, "settings=[real, real-epsilon-6]", "diagnosis.optimizer.learning_rate=0.05")
    cohort = open_cohort(Path(dp.cohort.path))
    held = deal(cohort, dp).held(cohort, dp.deployment("federated", "real"))["all"]
    everything = sum(map(len, held.training))
    rows = np.concatenate(held.training)[:SAMPLE]
    images = torch.from_numpy(cohort.patches[rows].astype(np.float32) / 65535)[:, None]
    labels = torch.from_numpy(cohort.manifest["malignant"].to_numpy()[rows].astype(np.float32))
    few = ["diagnosis.train=last_blocks:1", "federation.rounds=1", f"federation.local_steps={BLOCK_STEPS}"]
    for name, config, setting, blocks, part, times in (
        ("dp", dp, "real-epsilon-6", 0, 1, 3),
        ("block", study(*common, *few), "real", 1, ROUNDS * STEPS / BLOCK_STEPS, 1),
    ):
        public = Public(config, Path())
        classifier = build_classifier(public.diagnosis(config.deployment("federated", "real")))
        began = time.perf_counter()
        for image in images:
            classifier.prefix(image[None])
        features = (time.perf_counter() - began) * everything / len(images)
        _, size = ours(config, setting)  # once, so that features are there
        measured = [part * ours(config, setting)[0] for _ in range(times)]
        steps = [peer(config, images, labels, blocks, name == "dp") for _ in range(2)]
        whole = [one * everything / len(images) * ROUNDS * STEPS for one, _ in steps]
        about = {"bytes_ratio": steps[0][1] / size, "images": everything, "features": features}
        cold = [one + features for one in measured]
        tell(f"finetuning-{name}-with-features", {"ours": cold, "peer": whole}, bar="30 (dp), 5 (block)", **about)
        tell(f"finetuning-{name}-rounds", {"ours": measured, "peer": whole}, **about)
    _same_scores(dp)


def _same_scores(config) -> None:
    """Assert that the peer's loop over stored features, no noise, scores as ours does without a budget."""
    from sklearn.metrics import roc_auc_score

    cohort, deployment = open_cohort(Path(config.cohort.path)), config.deployment("federated", "real")
    dealt, public = deal(cohort, config), Public(config, Path())
    inputs = Inputs(cohort, public.diagnosis(deployment), public.device, records_of(cohort, dealt.draws[0], {}))
    held = dealt.held(cohort, deployment)
    parts = [np.concatenate(held[name].training) for name in dealt.names]
    shares = [
        torch.tensor([1 / len(rows) / len(held[name].training) for rows in held[name].training for _ in rows])
        for name in dealt.names
    ]
    patients = [len(held[name].training) for name in dealt.names]
    heads = public.start(deployment)
    weight, bias = heads["head.weight"].clone(), heads["head.bias"].clone()
    momenta = [None] * len(parts)
    for _ in range(ROUNDS):
        found = []
        for number, rows in enumerate(parts):
            head = torch.nn.Linear(weight.shape[1], 1)
            head.load_state_dict({"weight": weight, "bias": bias})
            optimizer = torch.optim.SGD(head.parameters(), lr=0.05, momentum=0.9)
            if momenta[number]:
                optimizer.load_state_dict(momenta[number])
            x = inputs.standard(rows, np.zeros(len(rows), dtype=np.int64))
            y = torch.from_numpy(inputs.malignant[rows]).float()
            for _ in range(STEPS):
                optimizer.zero_grad()
                functional.binary_cross_entropy_with_logits(
                    head(x).squeeze(1), y, weight=shares[number], reduction="sum"
                ).backward()
                optimizer.step()
            momenta[number] = optimizer.state_dict()
            found.append((patients[number], head.state_dict()))
        total = sum(count for count, _ in found)
        weight, bias = (sum(state[key] * (count / total) for count, state in found) for key in ("weight", "bias"))
    test = held["all"].test
    logits = inputs.standard(test, np.zeros(len(test), dtype=np.int64)) @ weight[0] + bias
    labels = inputs.malignant[test]
    with opened(config) as own:
        own.deploy(deployment)
        scored = own.folder.predictions([deployment]).query("split != 'validation' and trained_at == 'all'")
    difference = roc_auc_score(scored["label"], scored["score"]) - roc_auc_score(labels, logits.detach().numpy())
    print(f"AUROC with noise off: ours - peer {difference:+.4f}")
    assert abs(difference) < 0.005


if __name__ == "__main__":
    main()
