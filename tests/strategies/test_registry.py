"""What a study may say of strategies, and what they cannot do for it."""

from collections.abc import Callable
from typing import Any

import pytest

from fedmammo.config.study import StudyConfig, parse
from fedmammo.errors import InputError
from fedmammo.run.checks import check
from fedmammo.strategies.registry import STRATEGIES

Choose = Callable[..., StudyConfig]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("FedProx", {"proximal_mu": 0.3}),
        ("FedAvgM", {"server_learning_rate": 0.7, "server_momentum": 0.8}),
        ("FedAdam", {"eta": 0.2, "beta_1": 0.8, "beta_2": 0.95, "tau": 0.01}),
        ("FedYogi", {"eta": 0.2, "beta_1": 0.8, "beta_2": 0.95, "tau": 0.01}),
        ("FedAdagrad", {"eta": 0.2, "tau": 0.01}),
        ("FedTrimmedAvg", {"beta": 0.4}),
        ("Krum", {"num_malicious_nodes": 2}),
        ("MultiKrum", {"num_malicious_nodes": 2, "num_nodes_to_select": 3}),
        ("Bulyan", {"num_malicious_nodes": 2}),
        ("QFedAvg", {"q": 0.7, "client_learning_rate": 0.3}),
    ],
)
def test_parameters_reach_flower(choose: Choose, name: str, parameters: dict[str, float]) -> None:
    deployment = choose(name, **parameters).deployment("federated", "real")
    made = deployment.strategy.make(deployment)
    assert type(made).__name__ == name
    assert {key: getattr(made, key) for key in parameters} == parameters


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("FedSGD", {}, "federation.strategy: expected one of FedAvg, FedAvgSquared, FedProx, FedAvgM, FedAdam, "),
        ("SCAFFOLD", {"server_learning_rate": 0}, "federation.strategy.server_learning_rate: Input should be greater"),
        ("FedAvg", {"proximal_mu": 1}, "federation.strategy.proximal_mu: unknown key"),
        ("FedProx", {"proximal_mu": -0.1}, "federation.strategy.proximal_mu: Input should be greater"),
        ("FedAvgM", {"server_learning_rate": 0}, "federation.strategy.server_learning_rate: Input should be greater"),
        ("FedAvgM", {"server_momentum": 1}, "federation.strategy.server_momentum: Input should be less than 1"),
        ("FedAdam", {"eta": 0}, "federation.strategy.eta: Input should be greater than 0"),
        ("FedAdam", {"beta_1": 1}, "federation.strategy.beta_1: Input should be less than 1"),
        ("FedAdam", {"beta_2": -0.1}, "federation.strategy.beta_2: Input should be greater"),
        ("FedAdam", {"tau": 0}, "federation.strategy.tau: Input should be greater than 0"),
        ("FedYogi", {"beta_2": 1}, "federation.strategy.beta_2: Input should be less than 1"),
        ("FedAdagrad", {"beta_1": 0.9}, "federation.strategy.beta_1: unknown key"),
        ("FedMedian", {"beta": 0.1}, "federation.strategy.beta: unknown key"),
        ("FedTrimmedAvg", {"beta": 0.5}, "federation.strategy.beta: Input should be less than 0.5"),
        ("FedTrimmedAvg", {"beta": "much"}, "federation.strategy.beta: Input should be a valid number"),
        ("Krum", {"num_malicious_nodes": -1}, "federation.strategy.num_malicious_nodes: Input should be greater"),
        ("MultiKrum", {"num_nodes_to_select": 0}, "federation.strategy.num_nodes_to_select: Input should be greater"),
        ("QFedAvg", {"q": -0.1}, "federation.strategy.q: Input should be greater"),
        ("QFedAvg", {"client_learning_rate": 0}, "federation.strategy.client_learning_rate: Input should be greater"),
    ],
)
def test_wrong_parameters(choose: Choose, name: str, parameters: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        choose(name, **parameters)
    assert str(caught.value).startswith(f"study.yaml: {expected}")


def test_every_name_is_a_strategy(choose: Choose) -> None:
    """The message for a name that nobody knows lists them all, and the schema explains each one's parameters."""
    with pytest.raises(InputError) as caught:
        choose("FedSGD")
    assert str(caught.value).endswith(f"expected one of {', '.join(STRATEGIES)}, or package.module:Class")
    schema = StudyConfig.model_json_schema()["$defs"]
    told = {found.get("properties", {}).get("name", {}).get("const") for found in schema.values()}
    assert set(STRATEGIES) <= told
    for name in STRATEGIES:
        assert choose(name).federation.strategy.name == name


@pytest.mark.parametrize(
    ("name", "parameters", "needed"),
    [
        ("FedAvg", {}, 1),
        ("Krum", {}, 3),
        ("Krum", {"num_malicious_nodes": 2}, 7),
        ("MultiKrum", {"num_malicious_nodes": 1, "num_nodes_to_select": 4}, 5),
        ("MultiKrum", {"num_malicious_nodes": 1, "num_nodes_to_select": 5}, 6),
        ("Bulyan", {"num_malicious_nodes": 2}, 11),
    ],
)
def test_too_few_hospitals(choose: Choose, name: str, parameters: dict[str, int], needed: int) -> None:
    """2f + 3 for Krum and MultiKrum, which takes at most n - f models; 4f + 3 for Bulyan."""
    deployment = choose(name, **parameters).deployment("federated", "real")
    assert deployment.strategy.refuses(deployment, needed) is None
    refused = deployment.strategy.refuses(deployment, needed - 1)
    assert refused is not None and refused.endswith(f"needs {needed} hospitals or more, the study has {needed - 1}")


@pytest.mark.parametrize(
    ("setting", "synthesis", "refused"),
    [
        ("real", None, None),
        ("real", {"source": "gan", "combine": "average"}, None),
        ("real-epsilon-6", None, "real-epsilon-6 has a budget"),
        ("augmented", {"source": "gan", "combine": "pool"}, None),
        ("augmented", {"source": "gan", "combine": "average"}, "not GANs"),
        ("augmented", {"source": "gan", "method": "mean_embedding", "combine": "average"}, None),
        ("augmented", {"source": "phantom"}, None),
    ],
)
def test_losses_that_qfedavg_cannot_have(
    choose: Choose, setting: str, synthesis: dict[str, Any] | None, refused: str | None
) -> None:
    content = choose("QFedAvg").model_dump() | {"settings": [setting], "synthesis": synthesis}
    deployment = parse(content, "study.yaml").deployment("federated", setting)
    found = deployment.strategy.refuses(deployment, 3)
    assert found is None if refused is None else found is not None and refused in found
    mean = deployment.model_copy(update={"federation": choose("FedAvg").federation})
    assert mean.strategy.refuses(mean, 3) is None


def test_two_rates_that_qfedavg_cannot_have(choose: Choose) -> None:
    content = choose("QFedAvg").model_dump()
    content["diagnosis"] |= {"train": "all"}
    content["diagnosis"]["optimizer"] |= {"head_learning_rate": 0.1}
    deployment = parse(content, "study.yaml").deployment("federated", "real")
    assert "by one step size" in str(deployment.strategy.refuses(deployment, 3))


def test_what_a_strategy_refuses_is_found_before_anything_runs(phantom_study: dict[str, Any]) -> None:
    """In the federated arm, also where a setting's own overrides name the strategy; others combine nothing."""
    krum = {"name": "Krum", "num_malicious_nodes": 1}
    phantom_study["federation"]["strategy"] = krum
    phantom_study["arms"] = ["centralized", "local"]
    check(parse(phantom_study, "study.yaml"))
    phantom_study["arms"] = ["federated"]
    with pytest.raises(InputError) as caught:
        check(parse(phantom_study, "study.yaml"))
    needs = "{name: Krum, num_malicious_nodes: 1} needs 5 hospitals or more, the study has 3"
    assert str(caught.value) == f"federation.strategy: {needs}"
    phantom_study["federation"]["strategy"] = {"name": "FedAvg"}
    phantom_study["settings"] = {"real": {}, "real-epsilon-6": {"federation.strategy": {"name": "QFedAvg"}}}
    with pytest.raises(InputError, match=r"^federation\.strategy: QFedAvg needs hospitals' losses"):
        check(parse(phantom_study, "study.yaml"))
