"""Lists in a study become variants of its arms."""

from typing import Any

import pytest

from fedmammo.config.variants import expand


def test_further_strategies_are_variants_of_the_federated_arm() -> None:
    """One named twice is numbered; the arm's own overrides stay."""
    strategies: list[Any] = ["FedAvg", {"name": "FedProx", "proximal_mu": 1}, {"name": "FedProx", "proximal_mu": 2}]
    content = {
        "arms": {"local": {}, "federated": {"privacy.delta": 1e-6}},
        "federation": {"rounds": 2, "strategy": [*strategies, {"name": "my.module:Mine"}]},
    }
    found = expand(content)
    assert found["federation"] == {"rounds": 2, "strategy": {"name": "FedAvg"}}
    assert list(found["arms"]) == ["local", "federated", "federated-FedProx", "federated-FedProx2", "federated-Mine"]
    assert found["arms"]["federated-FedProx2"] == {"privacy.delta": 1e-6, "federation.strategy": strategies[2]}


def test_smaller_fractions_are_variants_of_arms_of_which_curves_are_drawn() -> None:
    found = expand({"arms": ["local", "without_one"], "cohort": {"path": "p", "fraction": [1, 0.5, 0.25]}})
    assert found["cohort"] == {"path": "p", "fraction": 1}
    assert list(found["arms"]) == ["local", "without_one", "local-fraction0.25", "local-fraction0.5"]
    assert found["arms"]["local-fraction0.5"] == {"cohort.fraction": 0.5}


@pytest.mark.parametrize("content", [None, 7, {}, {"arms": ["local"]}, {"arms": 7, "cohort": {"fraction": [0.5, 1]}}])
def test_what_has_no_list_stays(content: Any) -> None:
    found = expand(content)
    assert found == content or (isinstance(content, dict) and found["arms"] == content["arms"])
