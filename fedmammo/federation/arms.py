"""Arms as federations: who trains with whom."""

from dataclasses import dataclass

from fedmammo.config.sections import ALL, ArmName
from fedmammo.strategies.base import BaseStrategy
from fedmammo.strategies.fedavg import FedAvg


@dataclass(frozen=True)
class Group:
    """Hospitals whose models are combined by a strategy.

    Attributes:
        name: where its model counts as trained: a hospital's name, or `all`.
        members: positions of the hospitals.
        pooled: whether the one member holds every hospital's patients.
        strategy: how models are combined; for a group of one, FedAvg hands the model through unchanged.
    """

    name: str
    members: tuple[int, ...]
    pooled: bool
    strategy: BaseStrategy


def groups_of(arm: ArmName, hospitals: list[str], strategy: BaseStrategy) -> list[Group]:
    """Return the groups of an arm: one of one, one of one for each hospital, or one of all."""
    if arm == "centralized":
        return [Group(ALL, (0,), pooled=True, strategy=FedAvg())]
    if arm == "local":
        return [Group(name, (position,), False, FedAvg()) for position, name in enumerate(hospitals)]
    return [Group(ALL, tuple(range(len(hospitals))), False, strategy)]
