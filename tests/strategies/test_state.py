"""A strategy goes on after a restart as if there had been none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fedmammo.config.study import StudyConfig
from fedmammo.federation.checkpoint import Checkpoint
from fedmammo.strategies.registry import STRATEGIES
from fedmammo.strategies.state import restore, state_of

Choose = Callable[..., StudyConfig]


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_restart_changes_nothing(hospitals: Any, choose: Choose, tmp_path: Path, name: str) -> None:
    """Five rounds of three hospitals at once, and in three runs of 2, 1 and 2 rounds with a checkpoint between."""
    generator = torch.Generator().manual_seed(0)

    def drawn() -> dict[str, Tensor]:
        """A matrix, a vector, and a single number as some networks have it."""
        return {key: torch.randn(shape, generator=generator) for key, shape in (("b", (2, 3)), ("a", (4,)), ("c", ()))}

    initial = drawn()
    answering = hospitals([[(drawn(), patients, patients / 8) for patients in (3, 1, 7)] for _ in range(5)])
    deployment = choose(name).deployment("federated", "real")
    strategy = deployment.strategy
    assert state_of(strategy, strategy.make(deployment), list(initial)) == {}, "nothing to keep before the first round"
    expected = list(answering.rounds(strategy.make(deployment), initial, 1, 5))[-1]

    checkpoint = Checkpoint({"all": initial})
    for first, last in ((1, 2), (3, 3), (4, 5)):
        made = strategy.make(deployment)
        restore(strategy, made, checkpoint.strategies.get("all", {}), list(initial))
        checkpoint.models["all"] = list(answering.rounds(made, checkpoint.models["all"], first, last))[-1]
        checkpoint.strategies["all"] = state_of(strategy, made, list(initial))
        checkpoint.write(tmp_path / "checkpoint")
        checkpoint = Checkpoint.read(tmp_path / "checkpoint")
    assert checkpoint.models["all"].keys() == expected.keys()
    assert all(torch.equal(checkpoint.models["all"][key], expected[key]) for key in expected)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("FedAvgM", ["momentum_vector"]),
        ("FedAdam", ["m_t", "v_t"]),
        ("FedYogi", ["m_t", "v_t"]),
        ("FedAdagrad", ["v_t"]),
    ],
)
def test_a_forgotten_state_would_show(hospitals: Any, choose: Choose, name: str, kept: list[str]) -> None:
    deployment = choose(name).deployment("federated", "real")
    strategy = deployment.strategy
    answering = hospitals([[({"weight": torch.tensor([1.0])}, 1), ({"weight": torch.tensor([2.0])}, 3)]] * 3)
    made = strategy.make(deployment)
    model = list(answering.rounds(made, {"weight": torch.tensor([0.0])}, 1, 2))[-1]
    state = state_of(strategy, made, ["weight"])
    assert list(state) == [f"{attribute}/weight" for attribute in kept]
    assert all(array.dtype == np.float32 for array in state.values())
    goes_on = list(answering.rounds(made, model, 3, 3))[-1]
    forgets = list(answering.rounds(strategy.make(deployment), model, 3, 3))[-1]
    assert not torch.equal(goes_on["weight"], forgets["weight"])
