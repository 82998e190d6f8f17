"""What the hospital's optimisers are made of; their steps by hand are in test_steps.py."""

import numpy as np
import pytest
import torch

from fedmammo.cohort.store import Cohort
from fedmammo.config.sections import DiagnosisConfig
from fedmammo.features.inputs import Inputs
from fedmammo.hospitals.records import true_records
from fedmammo.models.classifier import initial_model
from fedmammo.randomness import generator_of
from fedmammo.training.steps import train


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_the_head_may_step_at_a_rate_of_its_own(phantom_cohort: Cohort, name: str) -> None:
    """The first step is as far as the rate, up to AdamW's small number below: of the head 4 times that of the block."""
    models = []
    for rates in ({"learning_rate": 0.02}, {"learning_rate": 0.005, "head_learning_rate": 0.02}):
        config = DiagnosisConfig.model_validate({
            "network": "test_vit", "weights": "none", "image_size": 32, "train": "last_blocks:1",
            "optimizer": {"name": name, "momentum": 0.0, **rates}, "augmentation": {"flips": "none"},
        })  # fmt: skip
        inputs = Inputs(phantom_cohort, config, torch.device("cpu"), true_records(phantom_cohort))
        inputs.compute(np.arange(4))
        initial = initial_model(config, 0)
        (model, _), _, _ = train(inputs, [np.arange(4)], config, 1, generator_of(0, "test"), initial, {})
        models.append({name: model[name] - initial[name] for name in model})
    one, two = models
    for tensor in one:
        head = tensor.startswith("head.")
        torch.testing.assert_close(two[tensor], one[tensor] if head else one[tensor] / 4, rtol=1e-3, atol=1e-6)
    assert all(moved.any() for moved in one.values())
