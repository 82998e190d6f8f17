"""A trusted server: hospitals' sums of integers are added up and noised once, as one hospital would noise its own."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from fedmammo.config.arm import Group
from fedmammo.config.study import parse
from fedmammo.privacy.answer import Answer
from fedmammo.privacy.central import noised_mean
from fedmammo.privacy.mechanism import Mechanism
from fedmammo.privacy.noise import Grid
from fedmammo.privacy.plan import Plan
from fedmammo.privacy.secret import Secret
from fedmammo.stages.embedding import Embedding
from fedmammo.stages.stage import Turn
from fedmammo.stages.train import Train

CENTRAL = {
    "privacy": {"trust": "central"},
    "federation": {"rounds": 2, "local_steps": 1},
    "diagnosis": {"augmentation": {"flips": "none"}, "optimizer": {"momentum": 0.0}},
}
SECRET = Secret.of(Path("server"), 1)
Sums = dict[str, Tensor]


def turn_of(deployed: Any, sums: dict[str, Sums], number: int = 1, plan: Plan | None = None, **changes: Any) -> Turn:
    """What the server has in hand after a round."""
    answers = {name: Answer(tensors) for name, tensors in sums.items()}
    turn = Turn(
        deployed.deployment,
        plan or deployed.plan,
        Group("all", tuple(deployed.names)).name,
        number,
        deployed.model,
        {},
        answers,
        lambda: pytest.fail("sums are not combined as models are"),
        sum(deployed.sizes.values()),
        SECRET,
        torch.device("cpu"),
    )
    return turn._replace(**changes)


def stepped(turn: Turn) -> Tensor:
    """The step that the server takes from its model, as one vector."""
    after, _ = Train().at_server(turn)
    return torch.cat([(after[name] - tensor).flatten() for name, tensor in turn.model.items()]).double()


def nothing(deployed: Any) -> Sums:
    return {name: torch.zeros_like(tensor, dtype=torch.int64) for name, tensor in deployed.model.items()}


def test_the_total_is_noised_once(deploy: Callable[..., Any]) -> None:
    """Three hospitals send sums of clipped gradients, in steps; over all 17 patients they are the mean, noised with
    sigma C / 17: a third of what the mean of the hospitals' own noise would have in variance.
    """
    deployed = deploy(**CENTRAL)
    mechanism = deployed.plan.mechanism("train")
    grid = Grid.of(mechanism.clipping_norm, mechanism.noise_multiplier, 65)
    sums: dict[str, Sums] = {}
    for node, name in enumerate(deployed.names):
        deployed.agree(node)
        sums[name] = deployed.train(node)[0]
        assert all(tensor.dtype == torch.int64 for tensor in sums[name].values())
    exact = torch.cat([sum(one[name] for one in sums.values()).flatten() for name in deployed.model]).double()  # type: ignore[union-attr, misc]
    mean = exact * grid.step / 17
    assert sum(deployed.sizes.values()) == 17 and 0.01 < mean.norm() <= 1
    noise = torch.cat([stepped(turn_of(deployed, sums, number)) / -0.1 - mean for number in range(1, 31)])
    low, high = chi2.ppf([5e-5, 1 - 5e-5], noise.numel())
    assert low < ((noise / (grid.deviation * grid.step / 17)) ** 2).sum() < high
    assert len(np.unique(noise.numpy().round(9))) > 0.9 * noise.numel()


def test_the_sum_of_all_hospitals_is_that_of_the_holder_of_all_patients(deploy: Callable[..., Any]) -> None:
    """Without noise, exactly: every patient is clipped and rounded on its own, so it does not matter who holds whom."""
    deployed = deploy(**CENTRAL, arms=["federated", "centralized"])
    total = nothing(deployed)
    for node in range(3):
        deployed.agree(node)
        for name, tensor in deployed.train(node)[0].items():
            total[name] += tensor
    deployed.sizes = {"all": 17}
    pooled = deployed.config.deployment("centralized", "real-epsilon-6")
    deployed.agree(3, pooled)
    found, _ = deployed.train(3, deployment=pooled)
    assert all(torch.equal(total[name], tensor) for name, tensor in found.items())


@pytest.mark.parametrize(
    ("rate", "answered", "expected"),
    [(1.0, ["a", "b"], 2 / 40), (0.5, ["a", "b"], 4 / 40), (1.0, ["b"], 2 / 30), (0.5, ["a"], 4 / 10)],
)
def test_what_one_patient_moves(deploy: Callable[..., Any], rate: float, answered: list[str], expected: float) -> None:
    """A norm of 2 over the rate times the patients of all who answered; the noise of multiplier 1 is as large."""
    deployed = deploy(**CENTRAL)
    plan = replace(deployed.plan, mechanisms=(Mechanism("train", 2.0, 1.0, rate, 2, 1),), patients={"a": 10, "b": 30})
    grid, none = Grid.of(2.0, 1.0, 65), nothing(deployed)
    moved = none | {"head.bias": none["head.bias"] + grid.sensitivity}
    sums = dict.fromkeys(answered, none)
    steps = [stepped(turn_of(deployed, sums, number, plan)) / -0.1 for number in range(1, 41)]
    assert torch.cat(steps).std().item() == pytest.approx(expected, rel=0.05)
    # What the patient moves is what is left of the mean of many.
    first = {answered[0]: moved, **dict.fromkeys(answered[1:], none)}
    there = [stepped(turn_of(deployed, first, number, plan))[-1] / -0.1 for number in range(1, 401)]
    assert float(torch.stack(there).mean()) == pytest.approx(expected, abs=5 * expected / 20)


def test_sums_are_added_as_integers_and_noised_once() -> None:
    """By hand: (3 + 4) steps, and whole steps of noise, over the divisor, whatever the order of hospitals."""
    mechanism, request = Mechanism("train", 1.0, 2.0, 1.0, 1, 1), {"of": "a round"}
    sums = [
        {"b": torch.tensor([3, 2**50]), "a": torch.tensor([[1]])},
        {"b": torch.tensor([4, 1]), "a": torch.tensor([[5]])},
    ]
    grid = Grid.of(1.0, 2.0, 3)
    found = noised_mean(sums, mechanism, 7.0, request, SECRET)
    again = noised_mean(list(reversed(sums)), mechanism, 7.0, request, SECRET)
    assert list(found) == ["b", "a"] and found["a"].shape == (1, 1) and found["b"].dtype == torch.float64
    assert all(torch.equal(found[name], again[name]) for name in found)
    clean = [7, 2**50 + 1, 6]
    noise = [
        round(float(value) * 7 / grid.step) - exact
        for value, exact in zip([*found["b"], found["a"][0, 0]], clean, strict=True)
    ]
    assert all(0 < abs(number) < 6 * grid.deviation for number in noise)


def test_images_of_nobody_share_the_divisor(deploy: Callable[..., Any]) -> None:
    """As many images of nobody as patients halve what a patient moves; their own gradient comes with its part."""
    deployed = deploy(
        **CENTRAL,
        settings=["augmented-epsilon-6"],
        synthesis={"source": "phantom", "synthetic_per_real": 1.0},
    )
    plan = replace(deployed.plan, mechanisms=(Mechanism("train", 2.0, 1.0, 1.0, 2, 1),), patients={"a": 10, "b": 30})
    none = nothing(deployed)
    spread = torch.cat([stepped(turn_of(deployed, {"a": none, "b": none}, n, plan)) for n in range(1, 41)]) / -0.1
    assert spread.std().item() == pytest.approx(2 / 80, rel=0.05)
    turn = turn_of(deployed, {"a": none, "b": none}, 1, plan)
    ones = {name: torch.ones_like(tensor) for name, tensor in deployed.model.items()}
    beside = turn._replace(answers={"a": Answer(none, beside=ones), "b": Answer(none, beside=ones)})
    assert ((stepped(beside) - stepped(turn)) / -0.1).numpy() == pytest.approx(0.5, rel=1e-3)  # 10/80 + 30/80


def test_the_same_sums_are_noised_alike_and_others_otherwise(deploy: Callable[..., Any]) -> None:
    """A server that was killed after a round takes the same step again; another sum, round, model, group, deployment or
    set of who answered has other noise, which therefore cannot be cancelled.
    """
    deployed = deploy(**CENTRAL)
    none = nothing(deployed)
    sums = dict.fromkeys(deployed.names, none)
    turn = turn_of(deployed, sums)
    near = {name: one + 1e-3 for name, one in deployed.model.items()}
    other = deployed.of("real-epsilon-6", seed=1)
    (mechanism,) = deployed.plan.mechanisms
    other_sums = {name: one + 1 for name, one in none.items()}
    steps = [
        stepped(turn),
        stepped(turn._replace(number=2)),
        stepped(turn._replace(answers=turn.answers | {"hospital-1": Answer(other_sums)})),
        stepped(turn._replace(model=near)),
        stepped(turn._replace(group="other")),
        stepped(turn._replace(deployment=other)),
        stepped(turn._replace(answers=dict(list(turn.answers.items())[:2]))),
        stepped(turn._replace(plan=replace(deployed.plan, mechanisms=(replace(mechanism, clipping_norm=1.01),)))),
        stepped(turn._replace(secret=Secret.of(Path("server"), 2))),
    ]  # fmt: skip
    assert torch.equal(stepped(turn), steps[0])
    correlations = np.corrcoef(torch.stack(steps).numpy())[np.triu_indices(len(steps), 1)]
    assert abs(correlations).max() < 5 / np.sqrt(len(steps[0]))


def test_a_mean_of_features_is_noised_by_the_server_too(new_study: Any, deploy: Callable[..., Any]) -> None:
    """Of three hospitals without features: the noise of one sum over all 17 patients, told as the spread."""
    content = new_study() | {"arms": ["federated"], "settings": ["synthetic-epsilon-6"]}
    content["federation"] = {"rounds": 1, "local_steps": 1}
    content |= {"privacy": {"trust": "central"}, "synthesis": {"source": "gan", "method": "mean_embedding"}}
    deployment = parse(content, "").deployment("federated", "synthetic-epsilon-6")
    plan = Plan(
        deployment.study, "central", 6.0, 1e-4, (Mechanism("embedding", 2.0, 3.0, 1.0, 1, 1),), {"a": 10, "b": 7}
    )
    deployed = deploy(**CENTRAL)
    none = {"embedding": torch.zeros(2, 201, dtype=torch.int64)}
    turn = turn_of(deployed, {"a": none, "b": none}, 1, plan, deployment=deployment)
    mean, kept = Embedding().at_server(turn)
    assert float(kept["spread"]) == pytest.approx(2 * 3 / 17)
    assert float(mean["embedding"].std()) == pytest.approx(2 * 3 / 17, rel=0.15)
    trusting = replace(plan, trust="local")
    own = turn._replace(plan=trusting, mean=lambda: {"embedding": torch.ones(1)})
    mean, kept = Embedding().at_server(own)
    assert mean["embedding"].tolist() == [1] and float(kept["spread"]) == pytest.approx(2 * 3 * 2**0.5 / 17)
