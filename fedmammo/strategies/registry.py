"""The strategies that a study can name. To add one: its file, and its class in `KINDS`."""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, get_args

from pydantic import Field

from fedmammo.strategies.base import BaseStrategy
from fedmammo.strategies.bulyan import Bulyan
from fedmammo.strategies.fedadagrad import FedAdagrad
from fedmammo.strategies.fedadam import FedAdam
from fedmammo.strategies.fedavg import FedAvg
from fedmammo.strategies.fedavgm import FedAvgM
from fedmammo.strategies.fedmedian import FedMedian
from fedmammo.strategies.fedprox import FedProx
from fedmammo.strategies.fedtrimmedavg import FedTrimmedAvg
from fedmammo.strategies.fedyogi import FedYogi
from fedmammo.strategies.krum import Krum
from fedmammo.strategies.multikrum import MultiKrum
from fedmammo.strategies.qfedavg import QFedAvg

KINDS: tuple[type[BaseStrategy], ...] = (
    FedAvg,
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
)
STRATEGIES = tuple(get_args(kind.model_fields["name"].annotation)[0] for kind in KINDS)

if TYPE_CHECKING:
    Strategy = BaseStrategy
else:
    Strategy = Annotated[reduce(or_, KINDS), Field(discriminator="name")]  # what federation.strategy may be
