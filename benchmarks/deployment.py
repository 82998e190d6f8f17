"""One deployment, inline, against bare torch loops over the same shards with the same steps.

Peer: for each round and hospital, full-batch SGD on a `torch.nn.Linear` that reads features from memory, then the mean
weighted by patients. No messages, no scores, no files. Bars: training alone at most 1.5 times its time;
the whole deployment (messages, scores, files) at most 3 times.
"""

import logging
import time
from pathlib import Path

import numpy as np
import torch
from common import measure, opened, study, tell

from fedmammo.disk.files import read_tensors
from fedmammo.features.inputs import Inputs
from fedmammo.hospitals.dealing import deal
from fedmammo.hospitals.records import records_of
from fedmammo.hospitals.site import open_cohort
from fedmammo.run.public import Public
from fedmammo.training import steps

Shard = tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]
"""Features (images x views, width), labels, weights, number of patients."""


def bare(
    shards: list[Shard], start: dict[str, torch.Tensor], rounds: int, local_steps: int
) -> list[dict[str, torch.Tensor]]:
    """The peer: train the models of all groups; one group of all shards where `rounds` are shared."""
    heads = [torch.nn.Linear(shard[0].shape[1], 1) for shard in shards]
    optimizers = [torch.optim.SGD(head.parameters(), lr=0.001, momentum=0.9) for head in heads]
    model = {name.removeprefix("head."): tensor for name, tensor in start.items()}
    patients = sum(shard[3] for shard in shards)
    for _ in range(rounds):
        for head, optimizer, (x, y, weight, _) in zip(heads, optimizers, shards, strict=True):
            head.load_state_dict(model)
            for _ in range(local_steps):
                optimizer.zero_grad()
                logits = head(x).squeeze(1)
                loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, y, weight=weight, reduction="sum")
                loss.backward()
                optimizer.step()
        parts = [(head.state_dict(), shard[3] / patients) for head, shard in zip(heads, shards, strict=True)]
        model = {name: sum(state[name] * share for state, share in parts) for name in model}
    return [model]


def shards_of(config, arm: str, draw: int = 0, fold: int = 0) -> tuple[list[list[Shard]], dict[str, torch.Tensor]]:
    """Read each group's shards into memory."""
    cohort = open_cohort(Path(config.cohort.path))
    dealt, public, deployment = (
        deal(cohort, config),
        Public(config, Path()),
        config.deployment(arm, "real", 0, draw, fold),
    )
    inputs = Inputs(cohort, public.diagnosis(deployment), public.device, records_of(cohort, dealt.draws[draw], {}))
    held, groups = dealt.held(cohort, deployment), deployment.groups(dealt.names)
    found = []
    for group in groups:
        shards = []
        for name in group.members:
            own = held[name].training
            inputs.compute(np.concatenate(own))
            rows, counts = np.concatenate(own), np.array([len(rows) for rows in own])
            views = range(len(inputs.views))
            x = torch.cat([inputs.standard(rows, np.full(len(rows), view)) for view in views])
            y = torch.from_numpy(inputs.malignant[rows]).float().repeat(len(views))
            weight = (
                torch.from_numpy(np.repeat(1 / counts, counts) / len(views) / len(counts)).float().repeat(len(views))
            )
            shards.append((x, y, weight, len(counts)))
        found.append(shards)
    return found, public.start(deployment)


def whole(config, arm: str) -> tuple[float, float, list[dict[str, torch.Tensor]]]:
    """Run a deployment twice, so that all is open; return seconds of the second, of its training, and models."""
    spent: list[float] = []
    train = steps.train

    def timed(*args, **keys):
        began = time.process_time()
        try:
            return train(*args, **keys)
        finally:
            spent.append(time.process_time() - began)

    deployment = config.deployment(arm, "real")
    steps.train = timed
    try:
        with opened(config) as own:
            own.deploy(deployment)
            (own.folder.folder(deployment) / "predictions.csv").unlink()
            spent.clear()
            seconds, _ = measure(lambda: own.deploy(deployment), processor=True)
            groups = deployment.groups(own.hospitals.names)
            models = [own.folder.model(deployment, group.name) for group in groups]
            return seconds, sum(spent), [read_tensors(path)[0] for path in models]
    finally:
        steps.train = train


def compare_arm(config, arm: str) -> None:
    """Measure one arm five times, both sides in turn."""
    groups, start = shards_of(config, arm)
    rounds, local_steps = config.federation.rounds, config.federation.local_steps

    def peer() -> list[dict[str, torch.Tensor]]:
        return [bare(shards, start, rounds, local_steps)[0] for shards in groups]

    runs = [(whole(config, arm), measure(peer, processor=True)) for _ in range(5)]
    for (_, _, own), (_, models) in runs:
        for one, other in zip(own, models, strict=True):
            assert torch.allclose(one["head.weight"], other["weight"], atol=1e-5), "both sides learn the same"
    plain = [found[0] for _, found in runs]
    tell(f"deployment-{arm}-training", {"ours": [one[1] for one, _ in runs], "peer": plain}, bar="at least .67")
    tell(f"deployment-{arm}-whole", {"ours": [one[0] for one, _ in runs], "peer": plain}, bar="at least .33")


def main() -> None:
    """Measure the three arms."""
    logging.getLogger("flwr").setLevel(logging.WARNING)
    torch.set_num_threads(1)
    config = study("seeds=[0]", "engine.name=inline")
    for arm in ("federated", "centralized", "local"):
        compare_arm(config, arm)


if __name__ == "__main__":
    main()
