"""Hospitals' own models against plain torch, bit for bit: nothing is frozen, so that all is read image by image."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedmammo.cohort.store import Cohort
from fedmammo.config.arm import ALL, Group
from fedmammo.federation.rounds import RoundsOf
from fedmammo.randomness import generator_of
from fedmammo.stages.personalize import Personalize
from fedmammo.stages.train import Train
from tests.plain_torch import PlainTraining

Tensors = dict[str, Tensor]
ROUNDS, STEPS = 3, 2
WHO = "hospital-2"


class Both:
    """A personalised arm of the house, and one of its hospitals in plain torch.

    Attributes:
        arrived: the model that came in each round, from the first; the last is the federated one.
        own: the hospitals' own models.
        plain: training of `WHO`, from the initial model.
    """

    def __init__(self, federation: Any, run: Path, study: dict[str, Any], cohort: Cohort, personal: Any) -> None:
        study = study | {"arms": ["personalized"]}
        study["diagnosis"] |= {"train": "all", "optimizer": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.5}}
        study["federation"] = {"rounds": ROUNDS, "local_steps": STEPS, "personal": personal}
        found = federation(study, run)
        self.diagnosis = found.deployment.diagnosis
        self.arrived: list[Tensors] = [found.initial]
        rounds = RoundsOf(found.server, found.deployed, Train())
        rounds.run({ALL: found.initial}, found.path, lambda _, models: self.arrived.append(models[ALL]))
        alone = replace(found.deployed, groups=[Group(name, (name,)) for name in found.deployed.members])
        last = dict.fromkeys(alone.members, self.arrived[-1])
        self.own = RoundsOf(found.server, alone, Personalize()).run(last, run / "own.safetensors").models
        patients = found.hospitals.sites[WHO].holder(found.deployment).training
        self.plain = PlainTraining(found.deployment.diagnosis, found.initial, cohort, patients)


@pytest.fixture
def both(
    federation_of: Any, phantom_study: dict[str, Any], phantom_cohort: Cohort, tmp_path: Path
) -> Callable[..., Both]:
    """Run both sides."""
    return lambda **personal: Both(federation_of, tmp_path, phantom_study, phantom_cohort, personal)


def stream(number: int, stage: str = "personalize") -> Any:
    """A personalised arm's randomness in a round is that of the federated one; 0 is after all rounds."""
    return generator_of(0, "federated", "real", 0, 0, stage, number, WHO)


def equal(found: Tensors, expected: Tensors) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


def test_fine_tuning(both: Callable[..., Both]) -> None:
    found = both(name="FineTuning", steps=3)
    found.plain.load(found.arrived[-1])
    found.plain.take(3, stream(0))
    assert equal(found.own[WHO], found.plain.tensors)
    assert not equal(found.own["hospital-1"], found.own[WHO])


def test_fine_tuning_of_the_head_leaves_all_else(both: Callable[..., Both]) -> None:
    found = both(name="FineTuning", steps=2, tensors="head", learning_rate=0.5)
    changed = {name for name, tensor in found.own[WHO].items() if not torch.equal(tensor, found.arrived[-1][name])}
    assert changed == {"head.weight", "head.bias"}


@pytest.mark.parametrize(("penalty", "steps"), [(0.0, None), (0.7, 3)])
def test_ditto(both: Callable[..., Both], penalty: float, steps: int | None) -> None:
    """The own model steps towards what arrived in the round; its momentum lives on. The federated one is as without."""
    found = both(name="Ditto", penalty=penalty, steps=steps)
    for number in range(1, ROUNDS + 1):
        arrived = found.arrived[number - 1]

        def near(parameters: dict[str, nn.Parameter], arrived: Tensors = arrived) -> None:
            for name, parameter in parameters.items():
                if parameter.grad is not None:
                    parameter.grad += penalty * (parameter - arrived[name])

        found.plain.take(steps or STEPS, stream(number), near)
    assert equal(found.own[WHO], found.plain.tensors)
    assert not equal(found.own[WHO], found.arrived[-1])


def test_fedper_shares_all_but_the_head(both: Callable[..., Both]) -> None:
    """In the first round the hospital's steps are everybody's; its head stays, and the shared one never changes."""
    found = both(name="FedPer")
    first = found.arrived[0]
    for arrived in found.arrived[1:]:
        for name in ("head.weight", "head.bias"):
            torch.testing.assert_close(arrived[name], first[name], atol=1e-7, rtol=0)  # a mean of equals rounds
        assert not torch.equal(arrived["chain.network.norm.weight"], first["chain.network.norm.weight"])
    for number in range(1, ROUNDS + 1):
        own_head = {name: tensor for name, tensor in found.plain.tensors.items() if name.startswith("head.")}
        found.plain.load(found.arrived[number - 1] | own_head)
        found.plain.take(STEPS, stream(number, "train"))
    head = {name: tensor for name, tensor in found.plain.tensors.items() if name.startswith("head.")}
    assert equal(found.own[WHO], found.arrived[-1] | head)
