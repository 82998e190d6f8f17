"""A hospital's optimisers: made from the study's schema, and their state as tensors that can be kept."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fedmammo.config.sections import OptimizerConfig


def make_optimizer(config: OptimizerConfig, parameters: Mapping[str, torch.nn.Parameter]) -> torch.optim.Optimizer:
    """Build the hospital's optimiser of these tensors by name."""
    groups: Any = list(parameters.values())
    if config.head_learning_rate:  # a group for each tensor: their order stays
        groups = [{"params": [parameter], "lr": config.rate(name)} for name, parameter in parameters.items()]
    if config.name == "sgd":
        return torch.optim.SGD(
            groups, lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
        )
    return torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay)


def state_of(optimizer: torch.optim.Optimizer, parameters: dict[str, torch.nn.Parameter]) -> dict[str, Tensor]:
    """Flatten the optimiser's state to tensors called `quantity/tensor`."""
    return {
        f"{quantity}/{name}": value.detach().cpu().clone()
        for name, parameter in parameters.items()
        for quantity, value in optimizer.state[parameter].items()
        if isinstance(value, Tensor)
    }


def restore(
    optimizer: torch.optim.Optimizer, parameters: dict[str, torch.nn.Parameter], state: dict[str, Tensor]
) -> None:
    """Give a new optimiser the state that `state_of` returned; none where that is empty."""
    by_number: dict[int, dict[str, Tensor]] = {}
    numbers = {name: number for number, name in enumerate(parameters)}
    for key, value in state.items():
        quantity, _, name = key.partition("/")
        by_number.setdefault(numbers[name], {})[quantity] = value.clone()
    optimizer.load_state_dict({"state": by_number, "param_groups": optimizer.state_dict()["param_groups"]})
