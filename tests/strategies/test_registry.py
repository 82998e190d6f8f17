"""What a study may say of strategies."""

from collections.abc import Callable
from typing import Any

import pytest

from fedmammo.config.study import StudyConfig
from fedmammo.errors import InputError
from fedmammo.strategies.registry import STRATEGIES

Choose = Callable[..., StudyConfig]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("FedProx", {"proximal_mu": 0.3}),
        ("FedAvgM", {"server_learning_rate": 0.7, "server_momentum": 0.8}),
        ("FedAdam", {"eta": 0.2, "beta_1": 0.8, "beta_2": 0.95, "tau": 0.01}),
        ("FedTrimmedAvg", {"beta": 0.4}),
    ],
)
def test_parameters_reach_flower(choose: Choose, name: str, parameters: dict[str, float]) -> None:
    study = choose(name, **parameters)
    made = study.federation.strategy.make(study)
    assert type(made).__name__ == name
    assert {key: getattr(made, key) for key in parameters} == parameters


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
def test_wrong_parameters(choose: Choose, name: str, parameters: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        choose(name, **parameters)
    assert str(caught.value).startswith(f"study.yaml: {expected}")


def test_every_name_is_a_strategy(choose: Choose) -> None:
    choices = StudyConfig.model_json_schema()["$defs"]["FederationConfig"]["properties"]["strategy"]["discriminator"]
    assert sorted(choices["mapping"]) == sorted(STRATEGIES)
    for name in STRATEGIES:
        assert choose(name).federation.strategy.name == name
