"""Hospitals that answer what a test says, combined by Flower's strategies as the server does it."""

import gc
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import torch
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from torch import Tensor

from fedmammo.config.study import StudyConfig, parse
from fedmammo.federation.inline_grid import InlineGrid
from fedmammo.federation.messages import pack, unpack

Model = dict[str, Tensor]


class Hospitals:
    """Nodes that answer a round with what a table says, whatever model they get, and note what they were sent.

    `answers`: for each round and hospital a model, training patients, and where it matters the loss.
    """

    def __init__(self, answers: list[list[tuple[Any, ...]]]) -> None:
        app = ClientApp()
        self.received: list[tuple[Model, ConfigRecord]] = []

        @app.train()
        def train(message: Message, context: Context) -> Message:
            config = message.content.config_records["config"]
            self.received.append((unpack(message.content.array_records["arrays"]), config))
            answer = answers[int(config["server-round"]) - 1][int(context.node_config["partition-id"])]  # type: ignore[call-overload]
            model, patients, loss = (*answer, 1.0)[:3]
            numbers = MetricRecord({"num-examples": float(patients), "loss": float(loss)})
            return Message(RecordDict({"arrays": pack(model), "metrics": numbers}), reply_to=message)

        self.grid = InlineGrid(app, len(answers[0]))

    def rounds(self, made: Any, model: Model, first: int, last: int) -> Iterator[Model]:
        """The model after each round; as the server does it, replies in the order of nodes, float32 throughout."""
        for number in range(first, last + 1):
            messages = made.configure_train(number, pack(model), ConfigRecord(), cast(Grid, self.grid))
            replies = sorted(self.grid.send_and_receive(messages), key=lambda reply: reply.metadata.src_node_id)
            combined, _ = made.aggregate_train(number, replies)
            model = {name: tensor.float() for name, tensor in unpack(combined).items()}
            yield model


@pytest.fixture(scope="module", autouse=True)
def _little_garbage() -> None:
    """Keep what earlier tests left out of the collections of garbage that Bulyan and QFedAvg of Flower ask for."""
    gc.freeze()


@pytest.fixture(scope="session")
def hospitals() -> type[Hospitals]:
    """Hospitals of one's own."""
    return Hospitals


@pytest.fixture(scope="session")
def choose(new_study: Callable[[], dict[str, Any]]) -> Callable[..., StudyConfig]:
    """Make a study that names a strategy and its parameters; its federated deployment is what strategies look at."""

    def chosen(name: str, **parameters: Any) -> StudyConfig:
        study = new_study()
        study["federation"]["strategy"] = {"name": name, **parameters}
        return parse(study, "study.yaml")

    return chosen


@pytest.fixture(scope="session")
def combine(choose: Callable[..., StudyConfig]) -> Callable[..., list[float]]:
    """Combine one weight, round by round, from the weights, patients (and losses) that hospitals answer."""

    def combined(name: str, *rounds: list[tuple[float, ...]], start: float = 0.0, **parameters: Any) -> list[float]:
        study = choose(name, **parameters)
        answers = [[({"weight": torch.tensor([value])}, *more) for value, *more in answers] for answers in rounds]
        models = Hospitals(answers).rounds(
            study.federation.strategy.make(study.deployment("federated", "real")),
            {"weight": torch.tensor([start])},
            1,
            len(rounds),
        )
        return [model["weight"].item() for model in models]

    return combined
