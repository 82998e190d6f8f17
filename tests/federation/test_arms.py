"""Who trains with whom, in each arm."""

from fedmammo.federation.arms import groups_of
from fedmammo.strategies.fedavg import FedAvg
from fedmammo.strategies.fedmedian import FedMedian

HOSPITALS = ["north", "south"]


def test_arms_are_federations_of_one_of_each_and_of_all() -> None:
    strategy = FedMedian(name="FedMedian")
    (centralized,) = groups_of("centralized", HOSPITALS, strategy)
    assert (centralized.name, centralized.members, centralized.pooled) == ("all", (0,), True)
    north, south = groups_of("local", HOSPITALS, strategy)
    assert (north.name, north.members, south.name, south.members) == ("north", (0,), "south", (1,))
    (federated,) = groups_of("federated", HOSPITALS, strategy)
    assert (federated.name, federated.members, federated.pooled) == ("all", (0, 1), False)
    assert [group.strategy for group in (centralized, north, south)] == [FedAvg()] * 3
    assert federated.strategy is strategy
