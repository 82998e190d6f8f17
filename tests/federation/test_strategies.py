"""Each strategy combines models as its paper says, and goes on after a restart as if there had been none."""

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from torch import Tensor

from fedmammo.config.study import StudyConfig, parse
from fedmammo.errors import InputError
from fedmammo.federation.checkpoint import Checkpoint
from fedmammo.federation.inline_grid import InlineGrid
from fedmammo.federation.messages import pack, unpack
from fedmammo.federation.strategies import STRATEGIES, FedAvg, restore, state_of

Model = dict[str, Tensor]


def strategy(study: dict[str, Any], name: str, **parameters: Any) -> FedAvg:
    """A strategy as a study names it."""
    study["federation"]["strategy"] = {"name": name, **parameters}
    return parse(study, "study.yaml").federation.strategy


class Hospitals:
    """Nodes that answer a round with what a table says, whatever model they get, and note what they were sent."""

    def __init__(self, answers: list[list[tuple[Model, int]]]) -> None:
        app = ClientApp()
        self.received: list[tuple[Model, ConfigRecord]] = []

        @app.train()
        def train(message: Message, context: Context) -> Message:
            config = message.content.config_records["config"]
            self.received.append((unpack(message.content.array_records["arrays"]), config))
            model, patients = answers[int(config["server-round"]) - 1][int(context.node_config["partition-id"])]  # type: ignore[call-overload]
            numbers = MetricRecord({"num-examples": float(patients), "loss": 1.0})
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


def one(value: float) -> Model:
    return {"weight": torch.tensor([value])}


def combined(chosen: FedAvg, *rounds: list[tuple[float, int]], start: float = 0.0) -> list[float]:
    """One weight after each round, from the weights and patients that hospitals answer."""
    hospitals = Hospitals([[(one(value), patients) for value, patients in answers] for answers in rounds])
    return [model["weight"].item() for model in hospitals.rounds(chosen.make(), one(start), 1, len(rounds))]


ANSWERS = [(1.0, 1), (2.0, 3)]  # weights 1 and 2 from hospitals of 1 and 3 patients: mean 1.75


def test_fedavg(small_study: dict[str, Any]) -> None:
    """(1 x 1 + 3 x 2) / 4 = 1.75, from any model; a hospital alone hands its model through, bit for bit."""
    chosen = strategy(small_study, "FedAvg")
    assert combined(chosen, ANSWERS, ANSWERS, start=9.0) == [1.75, 1.75]
    assert combined(chosen, [(0.1, 7)]) == [torch.tensor(0.1).item()]


def test_fedprox_tells_hospitals_how_strongly_to_pull(small_study: dict[str, Any]) -> None:
    """The server's side is FedAvg's; mu travels in the message."""
    chosen = strategy(small_study, "FedProx", proximal_mu=0.25)
    assert combined(chosen, ANSWERS) == [1.75]
    hospitals = Hospitals([[(one(1.0), 1), (one(2.0), 3)]])
    list(hospitals.rounds(chosen.make(), one(0.5), 1, 1))
    assert [config["proximal-mu"] for _, config in hospitals.received] == [0.25, 0.25]
    assert [model["weight"].item() for model, _ in hospitals.received] == [0.5, 0.5]


def test_fedavgm(small_study: dict[str, Any]) -> None:
    """Rate .5, momentum .9, from 0, the mean is always 1.75.

    Round 1: d = 0 - 1.75 = -1.75 = v; weight 0 + .5 x 1.75 = .875.
    Round 2: d = .875 - 1.75 = -.875; v = .9 x -1.75 - .875 = -2.45; weight .875 + .5 x 2.45 = 2.1.
    """
    chosen = strategy(small_study, "FedAvgM", server_learning_rate=0.5, server_momentum=0.9)
    assert combined(chosen, ANSWERS, ANSWERS) == pytest.approx([0.875, 2.1])


def test_fedavgm_without_momentum_is_a_longer_or_shorter_step(small_study: dict[str, Any]) -> None:
    """Rate .5 goes half the way to 1.75 in each round: .875, then 1.3125; rate 1 is FedAvg."""
    half = strategy(small_study, "FedAvgM", server_learning_rate=0.5, server_momentum=0)
    assert combined(half, ANSWERS, ANSWERS) == pytest.approx([0.875, 1.3125])
    whole = strategy(small_study, "FedAvgM", server_learning_rate=1, server_momentum=0)
    assert combined(whole, ANSWERS) == [1.75]


def test_fedadam(small_study: dict[str, Any]) -> None:
    """From 0 with eta .1, b1 .9, b2 .99, tau .001; Flower's eta x sqrt(1 - b2^(t+1)) / (1 - b1^(t+1)) in round t.

    Round 1: d = 1.75; m = .1 d = .175; v = .01 d² = .030625, root .175; eta x .1410674 / .19 = .0742460;
    weight .0742460 x .175 / .176 = .0738241.
    Round 2: d = 1.6761759; m = .9 x .175 + .1 d = .3251176; v = .99 x .030625 + .01 d² = .0584144, root .2416908;
    eta x .1723398 / .271 = .0635940; weight .0738241 + .0635940 x .3251176 / .2426908 = .1590171.
    """
    chosen = strategy(small_study, "FedAdam", eta=0.1, beta_1=0.9, beta_2=0.99, tau=0.001)
    assert combined(chosen, ANSWERS, ANSWERS) == pytest.approx([0.0738241, 0.1590171], abs=1e-6)


def test_fedmedian(small_study: dict[str, Any]) -> None:
    """The middle of three whatever their patients; of two, the mean without weights."""
    chosen = strategy(small_study, "FedMedian")
    assert combined(chosen, [(1.0, 1), (9.0, 99), (2.0, 1)]) == [2.0]
    assert combined(chosen, ANSWERS) == [1.5]


def test_fedtrimmedavg(small_study: dict[str, Any]) -> None:
    """A fifth at each end of five is one: the mean of 1, 2 and 6 is 3. Two hospitals lose nobody: 1.5."""
    chosen = strategy(small_study, "FedTrimmedAvg", beta=0.2)
    assert combined(chosen, [(2.0, 1), (-50.0, 1), (6.0, 1), (99.0, 1), (1.0, 1)]) == [3.0]
    assert combined(chosen, ANSWERS) == [1.5]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("FedProx", {"proximal_mu": 0.3}),
        ("FedAvgM", {"server_learning_rate": 0.7, "server_momentum": 0.8}),
        ("FedAdam", {"eta": 0.2, "beta_1": 0.8, "beta_2": 0.95, "tau": 0.01}),
        ("FedTrimmedAvg", {"beta": 0.4}),
    ],
)
def test_parameters_reach_flower(small_study: dict[str, Any], name: str, parameters: dict[str, float]) -> None:
    made = strategy(small_study, name, **parameters).make()
    assert type(made).__name__ == name
    assert {key: getattr(made, key) for key in parameters} == parameters


# Restarts


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_restart_changes_nothing(small_study: dict[str, Any], tmp_path: Any, name: str) -> None:
    """Five rounds of three hospitals at once, and in three runs of 2, 1 and 2 rounds with a checkpoint between."""
    generator = torch.Generator().manual_seed(0)

    def drawn() -> Model:
        """A matrix, a vector, and a single number as some networks have it."""
        return {key: torch.randn(shape, generator=generator) for key, shape in (("b", (2, 3)), ("a", (4,)), ("c", ()))}

    initial = drawn()
    hospitals = Hospitals([[(drawn(), patients) for patients in (3, 1, 7)] for _ in range(5)])
    chosen = strategy(small_study, name)
    assert state_of(chosen, chosen.make(), list(initial)) == {}, "nothing to keep before the first round"
    expected = list(hospitals.rounds(chosen.make(), initial, 1, 5))[-1]

    checkpoint = Checkpoint({"all": initial})
    for first, last in ((1, 2), (3, 3), (4, 5)):
        made = chosen.make()
        restore(chosen, made, checkpoint.strategies.get("all", {}), list(initial))
        checkpoint.models["all"] = list(hospitals.rounds(made, checkpoint.models["all"], first, last))[-1]
        checkpoint.strategies["all"] = state_of(chosen, made, list(initial))
        checkpoint.write(tmp_path / "checkpoint")
        checkpoint = Checkpoint.read(tmp_path / "checkpoint")
    assert checkpoint.models["all"].keys() == expected.keys()
    assert all(torch.equal(checkpoint.models["all"][key], expected[key]) for key in expected)


@pytest.mark.parametrize(("name", "kept"), [("FedAvgM", ["momentum_vector"]), ("FedAdam", ["m_t", "v_t"])])
def test_a_forgotten_state_would_show(small_study: dict[str, Any], name: str, kept: list[str]) -> None:
    chosen = strategy(small_study, name)
    hospitals = Hospitals([[(one(1.0), 1), (one(2.0), 3)]] * 3)
    made = chosen.make()
    model = list(hospitals.rounds(made, one(0.0), 1, 2))[-1]
    state = state_of(chosen, made, ["weight"])
    assert list(state) == [f"{attribute}/weight" for attribute in kept]
    assert all(array.dtype == np.float32 for array in state.values())
    goes_on = list(hospitals.rounds(made, model, 3, 3))[-1]
    forgets = list(hospitals.rounds(chosen.make(), model, 3, 3))[-1]
    assert not torch.equal(goes_on["weight"], forgets["weight"])


# Bad input


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("FedSGD", {}, "federation.strategy: Input tag 'FedSGD' found"),
        ("FedAvg", {"proximal_mu": 1}, "federation.strategy.proximal_mu: unknown key"),
        ("FedProx", {"proximal_mu": -0.1}, "federation.strategy.proximal_mu: Input should be greater"),
        ("FedAvgM", {"server_learning_rate": 0}, "federation.strategy.server_learning_rate: Input should be greater"),
        ("FedAvgM", {"server_momentum": 1}, "federation.strategy.server_momentum: Input should be less than 1"),
        ("FedAdam", {"eta": 0}, "federation.strategy.eta: Input should be greater than 0"),
        ("FedAdam", {"beta_1": 1}, "federation.strategy.beta_1: Input should be less than 1"),
        ("FedAdam", {"beta_2": -0.1}, "federation.strategy.beta_2: Input should be greater"),
        ("FedAdam", {"tau": 0}, "federation.strategy.tau: Input should be greater than 0"),
        ("FedMedian", {"beta": 0.1}, "federation.strategy.beta: unknown key"),
        ("FedTrimmedAvg", {"beta": 0.5}, "federation.strategy.beta: Input should be less than 0.5"),
        ("FedTrimmedAvg", {"beta": "much"}, "federation.strategy.beta: Input should be a valid number"),
    ],
)
def test_wrong_parameters(small_study: dict[str, Any], name: str, parameters: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        strategy(small_study, name, **parameters)
    assert str(caught.value).startswith(f"study.yaml: {expected}")


def test_every_name_is_a_strategy(small_study: dict[str, Any]) -> None:
    choices = StudyConfig.model_json_schema()["$defs"]["FederationConfig"]["properties"]["strategy"]["discriminator"]
    assert sorted(choices["mapping"]) == sorted(STRATEGIES)
    for name in STRATEGIES:
        assert strategy(small_study, name).name == name
