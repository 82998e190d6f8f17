"""The strategies that a study can name. To add one: its file, and its class in `KINDS`.

A class of somebody else's is used by its import path, `name: package.module:Class`, without any of these.
"""

from functools import reduce
from importlib import import_module
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import BeforeValidator, Discriminator, SerializeAsAny, Tag

from fedmammo.strategies.base import BaseStrategy
from fedmammo.strategies.bulyan import Bulyan
from fedmammo.strategies.fedadagrad import FedAdagrad
from fedmammo.strategies.fedadam import FedAdam
from fedmammo.strategies.fedavg import FedAvg
from fedmammo.strategies.fedavgm import FedAvgM
from fedmammo.strategies.fedavgsquared import FedAvgSquared
from fedmammo.strategies.fedmedian import FedMedian
from fedmammo.strategies.fedprox import FedProx
from fedmammo.strategies.fedtrimmedavg import FedTrimmedAvg
from fedmammo.strategies.fedyogi import FedYogi
from fedmammo.strategies.krum import Krum
from fedmammo.strategies.multikrum import MultiKrum
from fedmammo.strategies.qfedavg import QFedAvg
from fedmammo.strategies.scaffold import Scaffold

KINDS: tuple[type[BaseStrategy], ...] = (
    FedAvg,
    FedAvgSquared,
    FedProx,
    FedAvgM,
    FedAdam,
    FedYogi,
    FedAdagrad,
    FedMedian,
    FedTrimmedAvg,
    Krum,
    MultiKrum,
    Bulyan,
    QFedAvg,
    Scaffold,
)
STRATEGIES = tuple(str(get_args(kind.model_fields["name"].annotation)[0]) for kind in KINDS)
OWN = "own"  # the tag of a class that is named by its import path


def is_own(name: str) -> bool:
    """Whether a strategy's name is an import path."""
    return ":" in name


def _tag(value: Any) -> str | None:
    name = value.get("name") if isinstance(value, dict) else getattr(value, "name", None)
    return OWN if isinstance(name, str) and is_own(name) else name


def _own(value: Any) -> BaseStrategy:
    """Import the class that a study names, and check its parameters."""
    if isinstance(value, BaseStrategy):
        return value
    module, _, name = value["name"].partition(":")
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{value['name']} cannot be imported ({error}); give package.module:Class") from error
    if not (isinstance(kind, type) and issubclass(kind, BaseStrategy)):
        raise ValueError(f"{value['name']} is no subclass of fedmammo.strategies.base.BaseStrategy")
    found: BaseStrategy = kind.model_validate(value)
    return found


if TYPE_CHECKING:
    Strategy = BaseStrategy
else:
    _union = reduce(or_, (Annotated[kind, Tag(name)] for kind, name in zip(KINDS, STRATEGIES, strict=True)))
    Strategy = Annotated[
        _union | Annotated[SerializeAsAny[BaseStrategy], BeforeValidator(_own), Tag(OWN)],
        Discriminator(
            _tag,
            custom_error_type="strategy",
            custom_error_message="expected one of " + ", ".join(STRATEGIES) + ", or package.module:Class",
        ),
    ]
