"""A classifier from the few keys that a test names."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from fedmammo.config.sections import DiagnosisConfig
from fedmammo.models.classifier import Classifier


@pytest.fixture
def diagnosis() -> Callable[..., DiagnosisConfig]:
    def make(**keys: Any) -> DiagnosisConfig:
        defaults = {"network": "test_vit", "weights": "none", "image_size": 32, "optimizer": {"learning_rate": 0.01}}
        return DiagnosisConfig.model_validate(defaults | keys)

    return make


@pytest.fixture
def classifier(diagnosis: Callable[..., DiagnosisConfig]) -> Callable[..., Classifier]:
    def make(**keys: Any) -> Classifier:
        torch.manual_seed(0)
        with torch.enable_grad():  # a classifier asks a backward pass what is trained
            return Classifier(diagnosis(**keys))

    return make
