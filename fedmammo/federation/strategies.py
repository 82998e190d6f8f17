"""The strategies of Flower that a study can name: their parameters, and the state that a checkpoint keeps.

Each is a part of the schema, so that parameters are checked before anything runs. `make` builds Flower's own class.
"""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

import numpy as np
from pydantic import Field

from fedmammo.config.schema import Section

if TYPE_CHECKING:
    from flwr.serverapp.strategy import FedAvg as FlowerStrategy


class FedAvg(Section):
    """Mean of the hospitals' models weighted by training patients (McMahan et al. 2017, arXiv 1602.05629)."""

    state: ClassVar[tuple[str, ...]] = ()  # attributes of Flower's object that must survive a restart
    name: Literal["FedAvg"] = "FedAvg"

    def make(self) -> "FlowerStrategy":
        """Build Flower's strategy. All hospitals take part; a missing one never blocks a round."""
        import flwr.serverapp.strategy as flower  # only the server needs Flower; the schema is read without it

        parameters = self.model_dump(exclude={"name"})
        return getattr(flower, self.name)(min_train_nodes=1, min_available_nodes=1, **parameters)


class FedProx(FedAvg):
    """FedAvg whose hospitals stay near the round's model (Li et al. 2020, arXiv 1812.06127)."""

    name: Literal["FedProx"]  # type: ignore[assignment]
    proximal_mu: float = Field(default=0.01, ge=0, description="Weight of half the squared distance to that model.")


class FedAvgM(FedAvg):
    """FedAvg with momentum at the server (Hsu et al. 2019, arXiv 1909.06335)."""

    state: ClassVar[tuple[str, ...]] = ("momentum_vector",)
    name: Literal["FedAvgM"]  # type: ignore[assignment]
    server_learning_rate: float = Field(default=1.0, gt=0, description="Step size of the server.")
    server_momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum of the server.")


class FedAdam(FedAvg):
    """Adam at the server (Reddi et al. 2021, arXiv 2003.00295)."""

    state: ClassVar[tuple[str, ...]] = ("m_t", "v_t")
    name: Literal["FedAdam"]  # type: ignore[assignment]
    eta: float = Field(default=0.01, gt=0, description="Step size of the server.")
    beta_1: float = Field(default=0.9, ge=0, lt=1, description="Decay of the first moment.")
    beta_2: float = Field(default=0.99, ge=0, lt=1, description="Decay of the second moment.")
    tau: float = Field(default=1e-3, gt=0, description="Added to the root of the second moment.")


class FedMedian(FedAvg):
    """Coordinate-wise median of the hospitals' models (Yin et al. 2018, arXiv 1803.01498)."""

    name: Literal["FedMedian"]  # type: ignore[assignment]


class FedTrimmedAvg(FedAvg):
    """Coordinate-wise mean without the extremes (Yin et al. 2018, arXiv 1803.01498)."""

    name: Literal["FedTrimmedAvg"]  # type: ignore[assignment]
    beta: float = Field(
        default=0.2,
        ge=0,
        lt=0.5,
        description="Fraction of hospitals cut at each end; .2 cuts nobody of four hospitals, one of five.",
    )


Strategy = Annotated[FedAvg | FedProx | FedAvgM | FedAdam | FedMedian | FedTrimmedAvg, Field(discriminator="name")]
STRATEGIES = tuple(get_args(kind.model_fields["name"].annotation)[0] for kind in get_args(get_args(Strategy)[0]))


def state_of(strategy: FedAvg, made: "FlowerStrategy", names: list[str]) -> dict[str, np.ndarray]:
    """Return the strategy's state as arrays called `attribute/tensor`; empty before the first round.

    `names`: the model's tensors in order (Flower keeps some state as lists in that order).
    """
    arrays: dict[str, np.ndarray] = {}
    for attribute in strategy.state:
        value: Any = getattr(made, attribute) or {}
        items = value if isinstance(value, dict) else dict(zip(names, value, strict=True))
        arrays.update({f"{attribute}/{name}": np.asarray(array) for name, array in items.items()})
    return arrays


def restore(strategy: FedAvg, made: "FlowerStrategy", arrays: dict[str, np.ndarray], names: list[str]) -> None:
    """Give a freshly made strategy the state that `state_of` returned."""
    for attribute in strategy.state:
        items = {name: arrays[f"{attribute}/{name}"] for name in names if f"{attribute}/{name}" in arrays}
        if items:
            as_list = attribute == "momentum_vector"
            setattr(made, attribute, list(items.values()) if as_list else items)
