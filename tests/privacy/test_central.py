"""A trusted server: the total of the hospitals' clipped sums is noised once, by what one patient can move it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from fedmammo.federation.arms import Group
from fedmammo.federation.central import CentralRounds
from fedmammo.federation.checkpoint import Checkpoint
from fedmammo.federation.server import Server
from fedmammo.privacy.mechanism import Mechanism
from fedmammo.privacy.plan import Plan
from fedmammo.strategies.fedavg import FedAvg

NAMES = ["hospital-1", "hospital-2", "hospital-3"]
GROUP = Group("all", (0, 1, 2), False, FedAvg())
CENTRAL = {
    "privacy": {"trust": "central"},
    "federation": {"rounds": 2, "local_steps": 1},
    "diagnosis": {"augmentation": {"flips": "none"}, "optimizer": {"momentum": 0.0}},
}


class Run:
    """All of a server that rounds at a trusted server look at."""

    def __init__(self, run: Path) -> None:
        self.run = run


def rounds_of(deployment: Any, **changes: Any) -> CentralRounds:
    plan = replace(deployment.plan, **changes)
    server = cast(Server, Run(deployment.run))
    return CentralRounds(server, deployment.task("train").cell, deployment.study, [GROUP], {}, plan)


def stepped(rounds: CentralRounds, model: dict[str, Tensor], sent: dict[str, Tensor], number: int = 1) -> Tensor:
    """The step that the server takes from a model, as one vector."""
    after = rounds.stepped(Checkpoint({"all": model}), GROUP, number, sent, NAMES)
    return torch.cat([(after[name] - tensor).flatten() for name, tensor in model.items()]).double()


def test_the_total_is_noised_once(deploy: Callable[..., Any]) -> None:
    """Three hospitals send means of clipped gradients; weighted by patients they are the mean of all 17, noised with
    sigma C / 17: a third of what the mean of the hospitals' own noise would have in variance.
    """
    deployment = deploy(**CENTRAL)
    mechanism, patients = deployment.plan.mechanism("train"), deployment.plan.patients
    sent: dict[str, Tensor] = {name: torch.zeros_like(tensor) for name, tensor in deployment.model.items()}
    for node, hospital in enumerate(NAMES):
        deployment.agree(node)
        for name, tensor in deployment.train(node)[0].items():
            sent[name] += patients[hospital] / patients["all"] * tensor
    mean = torch.cat([tensor.flatten() for tensor in sent.values()]).double()
    assert patients["all"] == 17 and 0.01 < mean.norm() <= 1
    rounds = rounds_of(deployment)
    noise = torch.cat([stepped(rounds, deployment.model, sent, number) / -0.1 - mean for number in range(1, 31)])
    low, high = chi2.ppf([5e-5, 1 - 5e-5], noise.numel())
    assert low < ((noise / (mechanism.noise_multiplier * mechanism.clipping_norm / 17)) ** 2).sum() < high
    assert len(np.unique(noise.numpy())) == noise.numel()


def test_the_mean_of_all_hospitals_is_that_of_the_holder_of_all_patients(deploy: Callable[..., Any]) -> None:
    """Without noise: every patient is clipped on its own, so it does not matter who holds whom."""
    deployment = deploy(**CENTRAL)
    mean: dict[str, Tensor] = {name: torch.zeros_like(tensor) for name, tensor in deployment.model.items()}
    for node, hospital in enumerate(NAMES):
        deployment.agree(node)
        for name, tensor in deployment.train(node)[0].items():
            mean[name] += deployment.plan.patients[hospital] / 17 * tensor
    deployment.agree(0, pooled=True)
    pooled, _ = deployment.train(0, pooled=True)
    for name, tensor in pooled.items():
        torch.testing.assert_close(mean[name], tensor)


@pytest.mark.parametrize(
    ("rate", "answered", "expected"),
    [(1.0, ["a", "b"], 2 / 40), (0.5, ["a", "b"], 4 / 40), (1.0, ["b"], 2 / 30), (0.5, ["a"], 4 / 10)],
)
def test_what_one_patient_moves(deploy: Callable[..., Any], rate: float, answered: list[str], expected: float) -> None:
    """A norm of 2 over the expected patients of the hospital (10 or 30 times the rate), times its weight: 2 over the
    rate times the patients of all who answered.
    """
    mechanism = Mechanism("train", 2.0, 1.0, rate, 2, 1)
    rounds = rounds_of(deploy(**CENTRAL), mechanisms=(mechanism,), patients={"a": 10, "b": 30})
    assert rounds.spread(answered) == pytest.approx(expected)


def test_what_one_patient_moves_beside_images_of_nobody(deploy: Callable[..., Any]) -> None:
    """As many images of nobody as patients halve what a patient moves."""
    deployment = deploy(**CENTRAL, synthesis={"source": "phantom", "synthetic_per_real": 1.0})
    rounds = rounds_of(deployment, mechanisms=(Mechanism("train", 2.0, 1.0, 1.0, 2, 1),), patients={"a": 10, "b": 30})
    assert rounds.spread(["a", "b"]) == pytest.approx(2 / 40)
    rounds.config = rounds.config.model_copy(update={"settings": {"augmented-epsilon-6": {}}})
    assert rounds.spread(["a", "b"]) == pytest.approx(1 / 40)


def test_the_same_gradient_is_noised_alike_and_another_otherwise(deploy: Callable[..., Any]) -> None:
    """A server that was killed after a round takes the same step again; another gradient, round or plan has other
    noise, which therefore cannot be cancelled.
    """
    deployment = deploy(**CENTRAL)
    rounds, sent = rounds_of(deployment), {name: torch.zeros_like(one) for name, one in deployment.model.items()}
    other: Plan = replace(deployment.plan, budget=deployment.plan.budget + 1)
    steps = [
        stepped(rounds, deployment.model, sent),
        stepped(rounds, deployment.model, sent, number=2),
        stepped(rounds, deployment.model, {name: one + 1e-3 for name, one in sent.items()}),
        stepped(rounds, {name: one + 1e-3 for name, one in deployment.model.items()}, sent),
        stepped(rounds_of(deployment, budget=other.budget), deployment.model, sent),
    ]
    assert torch.equal(stepped(rounds, deployment.model, sent), steps[0])
    correlations = np.corrcoef(torch.stack(steps).numpy())[np.triu_indices(5, 1)]
    assert abs(correlations).max() < 5 / np.sqrt(len(steps[0]))
