"""Arms as federations: who learns with whom, and who holds the patients."""

from typing import Literal, NamedTuple, get_args

ALL = "all"  # the holder of every hospital's patients, and every hospital together, where a hospital's name could stand
ArmName = Literal["centralized", "local", "federated"]
ARMS: tuple[ArmName, ...] = get_args(ArmName)


class Group(NamedTuple):
    """Holders of patients whose models are combined.

    Attributes:
        name: where its model counts as trained: a hospital's name, or `all`.
        members: names of the holders: hospitals, or `all` alone.
    """

    name: str
    members: tuple[str, ...]


class Arm(NamedTuple):
    """How hospitals stand to each other.

    Attributes:
        name: as studies call it.
        pooled: whether one holder has every hospital's patients.
        federated: whether hospitals combine their models, so that these travel.
    """

    name: ArmName
    pooled: bool
    federated: bool

    @classmethod
    def of(cls, name: ArmName) -> "Arm":
        """Return the arm with this name."""
        return cls(name, pooled=name == "centralized", federated=name == "federated")

    def groups(self, hospitals: list[str]) -> list[Group]:
        """Return who learns with whom: one group of one, one of one for each hospital, or one of all."""
        if self.pooled:
            return [Group(ALL, (ALL,))]
        if self.federated:
            return [Group(ALL, tuple(hospitals))]
        return [Group(name, (name,)) for name in hospitals]
