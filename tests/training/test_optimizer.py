"""What the hospital's optimisers are made of; their steps by hand are in test_steps.py."""

from typing import Any

import numpy as np
import pytest
import torch

from fedmammo.cohort.store import Cohort
from fedmammo.config.sections import DiagnosisConfig, OptimizerConfig
from fedmammo.features.inputs import Inputs
from fedmammo.hospitals.records import true_records
from fedmammo.models.classifier import initial_model
from fedmammo.randomness import generator_of
from fedmammo.training.steps import train

Tensors = dict[str, torch.Tensor]


def diagnosis(optimizer: dict[str, Any]) -> DiagnosisConfig:
    return DiagnosisConfig.model_validate({
        "network": "test_vit", "weights": "none", "image_size": 32, "train": "last_blocks:1", "optimizer": optimizer,
        "augmentation": {"flips": "none"},
    })  # fmt: skip


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_the_head_may_step_at_a_rate_of_its_own(phantom_cohort: Cohort, name: str) -> None:
    """A step is as long as its rate (AdamW's to a thousandth): the head's is the same twice, the block's a quarter."""
    models = []
    for rates in ({"learning_rate": 0.02}, {"learning_rate": 0.005, "head_learning_rate": 0.02}):
        config = diagnosis({"name": name, "momentum": 0.0, **rates})
        inputs = Inputs(phantom_cohort, config, torch.device("cpu"), true_records(phantom_cohort))
        inputs.compute(np.arange(4))
        initial = initial_model(config, 0)
        (model, _), _, _ = train(inputs, [np.arange(4)], config, 1, generator_of(0, "test"), initial, {})
        models.append({name: model[name] - initial[name] for name in model})
    one, two = models
    for tensor in one:
        head = tensor.startswith("head.")
        torch.testing.assert_close(two[tensor], one[tensor] if head else one[tensor] / 4, rtol=1e-3, atol=1e-7)
    assert all(moved.any() for moved in one.values())


def test_one_rate_takes_the_place_of_two() -> None:
    two = OptimizerConfig(learning_rate=0.1, head_learning_rate=0.4)
    assert (two.rate("head.weight"), two.rate("chain.network.norm.weight")) == (0.4, 0.1)
    assert {two.at(0.5).rate(name) for name in ("head.weight", "head.bias", "chain.network.norm.weight")} == {0.5}


def test_two_rates_live_on_between_rounds(phantom_cohort: Cohort) -> None:
    """Two steps in one round equal one in each of two, bit for bit: all images of one patient are in every step."""
    optimizer = {"name": "sgd", "learning_rate": 0.005, "head_learning_rate": 0.02, "momentum": 0.9}
    config = diagnosis(optimizer)
    inputs = Inputs(phantom_cohort, config, torch.device("cpu"), true_records(phantom_cohort))
    inputs.compute(np.arange(4))

    def steps(count: int, model: Tensors, state: Tensors) -> tuple[Tensors, Tensors]:
        trained, _, after = train(inputs, [np.arange(4)], config, count, generator_of(0, "test"), model, state)
        return trained.model, after

    whole, _ = steps(2, initial_model(config, 0), {})
    again, _ = steps(1, *steps(1, initial_model(config, 0), {}))
    assert all(torch.equal(again[name], whole[name]) for name in whole)
