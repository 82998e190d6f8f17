"""Rounds: how answers are combined and averaged, who is asked again, how it goes on after a stop."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fedmammo.config.study import parse
from fedmammo.errors import StudyError
from fedmammo.federation.checkpoint import Checkpoint
from fedmammo.federation.client_app import app_of
from fedmammo.federation.inline_grid import InlineGrid
from fedmammo.federation.messages import unpack
from fedmammo.federation.rounds import Combiner, RoundsOf
from fedmammo.privacy.answer import Answer
from fedmammo.strategies.fedavg import FedAvg

Model = dict[str, Tensor]


@given(
    weights=st.lists(st.integers(1, 500), min_size=1, max_size=6),
    values=st.lists(st.floats(-100, 100, width=32), min_size=18, max_size=18),
)
def test_the_mean_is_weighted_by_patients_in_the_order_and_types_of_the_initial_model(
    new_study: Callable[[], dict[str, Any]], weights: list[int], values: list[float]
) -> None:
    """Sum n_h x_h / sum n_h, whatever order an answer's tensors come in; a single number stays one."""
    deployment = parse(new_study(), "study").deployment("federated", "real")
    initial = {"b": torch.zeros(2), "a": torch.zeros(())}
    names = [f"hospital-{number}" for number in range(len(weights))]
    InlineGrid(ClientApp(), len(names))
    answers = {
        name: Answer(
            {"a": torch.tensor(values[3 * number]), "b": torch.tensor(values[3 * number + 1 : 3 * number + 3])},
            {"num-examples": float(weights[number])},
        )
        for number, name in enumerate(names)
    }
    combiner = Combiner(FedAvg(), deployment, initial)
    combiner.begin(1, initial, list(range(len(names))))
    found = combiner.mean(1, answers, {name: node for node, name in enumerate(names)})
    assert list(found) == ["b", "a"] and combiner.state == {}
    for name, tensor in found.items():
        expected = sum(
            weight * answer.tensors[name].double() for weight, answer in zip(weights, answers.values(), strict=True)
        ) / sum(weights)
        assert tensor.dtype == torch.float32 and tensor.shape == initial[name].shape
        torch.testing.assert_close(tensor.double(), expected, atol=1e-4, rtol=1e-5)


class Watched(InlineGrid):
    """Notes the models that go out to the first hospital, and loses messages of some round to a hospital."""

    def __init__(self, hospitals: Path, count: int, lost: dict[int, int] | None = None) -> None:
        super().__init__(self._lossy(app_of(hospitals)), count)  # type: ignore[arg-type]
        self.models: list[Model] = []
        self.asked: list[int] = []
        self._lost = dict(lost or {})

    def _lossy(self, app: ClientApp) -> Callable[[Message, Context], Message]:
        def call(message: Message, context: Context) -> Message:
            node = int(context.node_config["partition-id"])
            if message.metadata.message_type == "train":
                self.asked.append(node)
                if self._lost.get(node, 0):
                    self._lost[node] -= 1
                    raise ConnectionError("the worker is gone")
            return app(message, context)

        return call

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        messages = list(messages)
        if messages and messages[0].metadata.message_type == "train":
            self.models.append(unpack(messages[0].content.array_records["arrays"]))
        return super().push_messages(messages)


def grid(found: list[Watched], lost: dict[int, int] | None = None) -> Callable[[Path, int], Grid]:
    def make(hospitals: Path, count: int) -> Grid:
        found.append(Watched(hospitals, count, lost))
        return found[-1]

    return make


@pytest.mark.parametrize("averaged", [1, 2, 3, 9])
def test_the_final_model_is_the_mean_over_the_last_rounds(
    phantom_study: dict[str, Any], federation_of: Any, tmp_path: Path, averaged: int
) -> None:
    """Of three rounds; more than there are is all of them. What hospitals begin a round with is the last model."""
    phantom_study["federation"] = {"rounds": 3, "local_steps": 1, "averaged_rounds": averaged}
    watched: list[Watched] = []
    federation = federation_of(phantom_study, tmp_path, grid(watched))
    found = federation.train()
    last = Checkpoint.read(federation.path).models["all"]
    after = [*watched[0].models[1:], last]
    assert len(after) == 3 and not torch.equal(after[0]["head.weight"], after[1]["head.weight"])
    for name, tensor in found.models["all"].items():
        expected = torch.stack([model[name] for model in after[-averaged:]]).double().mean(dim=0)
        torch.testing.assert_close(tensor.double(), expected, atol=1e-7, rtol=1e-5)
    if averaged == 1:
        assert torch.equal(found.models["all"]["head.weight"], last["head.weight"])


class Stopped(Exception):
    """In place of a kill."""


@pytest.mark.parametrize("kept", [0, 1, 2])
@pytest.mark.parametrize(
    "keys", [{"averaged_rounds": 2}, {"strategy": {"name": "FedAdam"}}, {"strategy": {"name": "FedAvgM"}}]
)
def test_rounds_go_on_after_the_last_that_was_kept(
    phantom_study: dict[str, Any], federation_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    keys: dict[str, Any], kept: int,
) -> None:  # fmt: skip
    """Stopped when hospitals had answered, before the server kept the round: the same bytes in the end."""
    phantom_study["federation"] = {"rounds": 3, "local_steps": 1, **keys}
    whole = federation_of(phantom_study, tmp_path / "whole")
    expected = whole.train()
    write = Checkpoint.write

    def killed(self: Checkpoint, path: Path) -> None:
        if self.round > kept:
            raise Stopped
        write(self, path)

    with monkeypatch.context() as broken:
        broken.setattr(Checkpoint, "write", killed)
        with pytest.raises(Stopped):
            federation_of(phantom_study, tmp_path / "run").train()
    watched: list[Watched] = []
    again = federation_of(phantom_study, tmp_path / "run", grid(watched))
    found = again.train()
    assert len(watched[0].models) == 3 - kept
    assert again.path.read_bytes() == whole.path.read_bytes()
    assert all(torch.equal(found.models["all"][name], tensor) for name, tensor in expected.models["all"].items())


@pytest.mark.parametrize("privacy", [False, True])
def test_rounds_since_the_last_checkpoint_are_done_again(
    phantom_study: dict[str, Any], federation_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, privacy: bool
) -> None:
    """Checkpoints an hour apart, stopped in round 4: the same bytes in the end. What was charged is charged once."""
    phantom_study["federation"] = {"rounds": 4, "local_steps": 1}
    if privacy:
        phantom_study |= {"settings": ["real-epsilon-6"], "privacy": {"secret_seed": 1}}
    whole = federation_of(phantom_study, tmp_path / "whole")
    whole.train()
    asked: list[Watched] = []
    run = federation_of(phantom_study, tmp_path / "run", grid(asked))
    run.server.checkpoint_seconds = 3600.0
    combine = RoundsOf._combine

    def stopped(self: RoundsOf, *args: Any) -> None:
        if args[-2] == 4:
            raise Stopped
        combine(self, *args)

    with monkeypatch.context() as broken, pytest.raises(Stopped):
        broken.setattr(RoundsOf, "_combine", stopped)
        run.train()
    assert run.path.exists() == privacy
    again = federation_of(phantom_study, tmp_path / "run", grid(asked))
    again.train()
    assert [len(one.models) for one in asked] == [4, 1 if privacy else 4]
    assert again.path.read_bytes() == whole.path.read_bytes()
    for hospital in whole.hospitals.sites:
        ledgers = [folder / "hospitals" / hospital / "ledger" for folder in (tmp_path / "run", tmp_path / "whole")]
        found = [[path.read_text() for path in sorted(ledger.glob("*.jsonl"))] for ledger in ledgers]
        assert found[0] == found[1]
        assert bool(found[0]) == (privacy and hospital != "all")


@pytest.mark.parametrize(("lost", "enough"), [(2, True), (3, False)])
def test_who_trains_alone_is_asked_three_times(
    phantom_study: dict[str, Any], federation_of: Any, tmp_path: Path, lost: int, enough: bool
) -> None:
    """Nobody stands in for it: hospital-2 of the local arm. Its answer is as if it had been asked once."""
    phantom_study |= {"arms": ["local"], "federation": {"rounds": 1, "local_steps": 1}}
    watched: list[Watched] = []
    federation = federation_of(phantom_study, tmp_path / "run", grid(watched, {1: lost}))
    if enough:
        found = federation.train()
        assert watched[0].asked == [0, 1, 2, 1, 1]
        assert [row["status"] for row in found.rows] == ["ok"] * 3
        undisturbed = federation_of(phantom_study, tmp_path / "other").train()
        for name, model in undisturbed.models.items():
            assert all(torch.equal(found.models[name][key], tensor) for key, tensor in model.items())
    else:
        with pytest.raises(StudyError, match="train, round 1: 2 of 3 hospitals answered, 3 are needed; hospital-2"):
            federation.train()


def test_in_a_federation_nobody_is_asked_twice_and_the_mean_is_of_those_who_answered(
    phantom_study: dict[str, Any], federation_of: Any, tmp_path: Path
) -> None:
    """Hospital-2 is lost in round 1 of two; the model of that round is the weighted mean of the others'."""
    phantom_study["federation"] = {"rounds": 2, "local_steps": 1}
    watched: list[Watched] = []
    federation = federation_of(phantom_study, tmp_path / "run", grid(watched, {1: 1}))
    found = federation.train()
    assert watched[0].asked == [0, 1, 2, 0, 1, 2]
    assert [row["status"].partition(":")[0] for row in found.rows] == ["ok", "failed", "ok", "ok", "ok", "ok"]
    other = federation_of(phantom_study, tmp_path / "other")
    answers = {
        name: other.hospitals.work(name, other.deployment, "train", 1, {"arrays": other.initial})
        for name in ("hospital-1", "hospital-3")
    }
    patients = {name: answer.numbers["num-examples"] for name, answer in answers.items()}
    for name, tensor in watched[0].models[1].items():
        mean = sum(patients[who] * answer.tensors[name].double() for who, answer in answers.items())
        torch.testing.assert_close(tensor.double(), mean / sum(patients.values()), atol=1e-6, rtol=1e-5)
