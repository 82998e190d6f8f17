"""Arms as federations: who learns with whom, who holds the patients, and whose model a hospital is given."""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import combinations
from typing import Annotated, Literal, NamedTuple, cast, get_args

from pydantic import AfterValidator, WithJsonSchema

from fedmammo.hospitals.rules import NAME as NAME_OF_HOSPITAL

ALL = "all"  # the holder of every hospital's patients, and every hospital together, where a hospital's name could stand
MEAN = "mean over hospitals"  # of random effects, where an `all` of numbers cannot be; no hospital has such a name
Kind = Literal[
    "centralized",
    "local",
    "federated",
    "without_one",
    "personalized",
    "ensemble",
    "chosen",
    "averaged",
    "scheduled",
    "coalitions",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
ABOUT: dict[Kind, str] = {
    "centralized": "one holder of every patient learns",
    "local": "each hospital learns alone",
    "federated": "hospitals learn together, in rounds, and a server combines their models",
    "without_one": "for each hospital, all others learn together",
    "personalized": "hospitals learn together, and then each makes a model of its own",
    "ensemble": "the mean of what hospitals' own models score",
    "chosen": "in each fold, of the federated variants (and their mean, where averaged is there) the one that does "
    "best in inner folds of the training patients",
    "averaged": "the mean log odds of what the federated variants score",
    "scheduled": "hospitals learn together, each in the rounds of hospitals.schedule",
    "coalitions": "every group of hospitals that is no other arm's learns together",
}
AVERAGED = "averaged"  # has no variants
ARMS: tuple[Kind, ...] = ("centralized", "local", "federated")  # of a study that names none
NAME = rf"^({'|'.join(KINDS)})(-[A-Za-z0-9_.]+)?$"


def _known(name: str) -> str:
    if not re.fullmatch(NAME, name):
        raise ValueError(f"nobody knows an arm {name!r}; there are {', '.join(KINDS)}, and variants such as local-slow")
    return name


ArmName = Annotated[str, AfterValidator(_known), WithJsonSchema({"type": "string", "pattern": NAME})]
"""A kind, or a variant of it with overrides of its own: `federated-FedProx`."""
_OF_PARTS: tuple[Kind, ...] = ("without_one", "coalitions")
_MOST = 8  # hospitals, for all their coalitions
_JOINED = "+"
_WITHOUT = "without-"


class Group(NamedTuple):
    """Holders of patients whose models are combined.

    Attributes:
        name: where its model counts as trained: a hospital's name, `all`, or what a part of the hospitals is called.
        members: names of the holders: hospitals, or `all` alone.
    """

    name: str
    members: tuple[str, ...]


class Arm(NamedTuple):
    """How hospitals stand to each other.

    Attributes:
        name: as studies call it.
        kind: what it does; variants of a kind differ in their overrides.
    """

    name: ArmName
    kind: Kind

    @classmethod
    @lru_cache(maxsize=1024)
    def of(cls, name: ArmName) -> "Arm":
        """Return the arm with this name. Raises ValueError for another name."""
        return cls(_known(name), cast(Kind, name.partition("-")[0]))

    @property
    def pooled(self) -> bool:
        """Whether one holder has every hospital's patients."""
        return self.kind == "centralized"

    @property
    def alone(self) -> bool:
        """Whether every hospital trains for itself, and nothing travels."""
        return self.kind in ("local", "ensemble")

    @property
    def federated(self) -> bool:
        """Whether hospitals combine their models, so that these travel."""
        return not (self.pooled or self.alone)

    @property
    def of_parts(self) -> bool:
        """Whether each deployment is that of some of the hospitals."""
        return self.kind in _OF_PARTS

    @property
    def joins(self) -> bool:
        """Whether hospitals keep their images and get what all of them learned together."""
        return self.kind == "ensemble" or (self.federated and not self.of_parts)

    @property
    def trained(self) -> bool:
        """Whether it trains: not where it is made of what other arms' models score."""
        return not (self.kind == "ensemble" or self.derived)

    @property
    def derived(self) -> bool:
        """Whether it is made of federated variants: hospitals learn nothing for it alone but what `chosen` tries."""
        return self.kind in ("chosen", "averaged")

    @property
    def stream(self) -> str:
        """Whose randomness it takes: what federates all hospitals draws alike, so that differences are its own."""
        return "federated" if self.kind in ("personalized", "scheduled") else self.kind

    def model_for(self, hospital: str) -> str:
        """Name the model, by where it counts as trained, that a hospital is given."""
        if self.kind in ("local", "personalized"):
            return hospital
        return _WITHOUT + hospital if self.kind == "without_one" else ALL

    @property
    def of_hospitals(self) -> bool:
        """Whether each hospital is given a model of its own."""
        return self.model_for("") != ALL

    def parts(self, hospitals: list[str]) -> Iterator[Group]:
        """Yield the groups that are deployments of their own.

        `without_one`: for each hospital, all others. `coalitions`: all that are no other arm's, from two hospitals to
        all but two. Raises ValueError where there are too few hospitals, or too many.
        """
        if self.kind == "without_one":
            if len(hospitals) < 2:
                raise ValueError("without_one needs two hospitals or more")
            for left_out in hospitals:
                yield Group(_WITHOUT + left_out, tuple(name for name in hospitals if name != left_out))
        elif self.kind == "coalitions":
            if not 3 < len(hospitals) <= _MOST:
                raise ValueError(
                    f"coalitions: 4 to {_MOST} hospitals have some that are no other arm's, the study has "
                    f"{len(hospitals)}; those of one hospital are local's, of all but one without_one's, of all "
                    "federated's"
                )
            for count in range(2, len(hospitals) - 1):
                yield from (Group(_JOINED.join(some), some) for some in combinations(hospitals, count))

    def is_part(self, name: str, members: tuple[str, ...]) -> bool:
        """Whether `parts` calls these hospitals so, whoever else there is: what a part is called is a part of paths."""
        if not all(re.fullmatch(NAME_OF_HOSPITAL, one) for one in members):
            return False
        if self.kind == "coalitions":
            return name == _JOINED.join(members)
        left_out = name.removeprefix(_WITHOUT)
        known = re.fullmatch(NAME_OF_HOSPITAL, left_out) is not None and left_out not in members
        return self.of_parts and name == _WITHOUT + left_out and known

    def coalition(self, trained_at: str, hospitals: list[str]) -> frozenset[str]:
        """Return the hospitals whose patients a model of the arm learned from, by where it counts as trained."""
        if trained_at == ALL:
            return frozenset(hospitals)
        if self.kind == "coalitions":
            return frozenset(trained_at.split(_JOINED))
        if self.kind == "without_one":
            return frozenset(hospitals) - {trained_at.removeprefix(_WITHOUT)}
        return frozenset({trained_at})

    def groups(self, hospitals: list[str]) -> list[Group]:
        """Return who learns with whom: one group of one, one of one for each hospital, or one of all."""
        if self.pooled:
            return [Group(ALL, (ALL,))]
        if self.alone:
            return [Group(name, (name,)) for name in hospitals]
        return [Group(ALL, tuple(hospitals))]


def rank(name: ArmName) -> int:
    """Return where an arm stands among others: by its kind."""
    return KINDS.index(Arm.of(name).kind)
