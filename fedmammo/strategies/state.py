"""The state of a strategy that a checkpoint keeps, so that a restart changes nothing."""

from typing import TYPE_CHECKING, Any

import numpy as np

from fedmammo.strategies.base import BaseStrategy

if TYPE_CHECKING:
    from flwr.serverapp.strategy import FedAvg as FlowerStrategy


def state_of(strategy: BaseStrategy, made: "FlowerStrategy", names: list[str]) -> dict[str, np.ndarray]:
    """Return the strategy's state as arrays called `attribute/tensor`; empty before the first round.

    `names`: the model's tensors in order (Flower keeps some state as lists in that order).
    """
    arrays: dict[str, np.ndarray] = {}
    for attribute in strategy.state:
        value: Any = getattr(made, attribute) or {}
        items = value if isinstance(value, dict) else dict(zip(names, value, strict=True))
        arrays.update({f"{attribute}/{name}": np.asarray(array) for name, array in items.items()})
    return arrays


def restore(strategy: BaseStrategy, made: "FlowerStrategy", arrays: dict[str, np.ndarray], names: list[str]) -> None:
    """Give a freshly made strategy the state that `state_of` returned."""
    for attribute in strategy.state:
        items = {name: arrays[f"{attribute}/{name}"] for name in names if f"{attribute}/{name}" in arrays}
        if items:
            as_list = attribute == "momentum_vector"
            setattr(made, attribute, list(items.values()) if as_list else items)
