"""Messages that no honest server sends, and replies that no honest hospital gives.

A hospital refuses in one line, and keeps its ledger and its state as they were. The server goes on without a hospital
whose reply is none, or ends with a StudyError.
"""

import io
import json
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict

from fedmammo.errors import StudyError
from fedmammo.federation.client_app import app_of, kind_of
from fedmammo.federation.inline_grid import InlineGrid
from fedmammo.federation.messages import pack
from fedmammo.models.classifier import initial_model
from fedmammo.stages.stage import Job
from tests.fuzz.entries import Place
from tests.fuzz.picture_files import code

BOTH = ["without a budget", "under a budget"]
DEEP = "[" * 100_000
ROUNDS = 100  # so that a release that should not have been leaves some for the next test
Tensors = dict[str, torch.Tensor]


class Spoken:
    """The first hospital of a study, which has trained a round; and what it keeps."""

    def __init__(self, hospitals: Any, setting: str, canary: Path) -> None:
        self.hospitals, self.canary = hospitals, canary
        self.deployment = hospitals.config.deployment("federated", setting)
        self.plan = hospitals.begin(self.deployment)
        self.model: Tensors = initial_model(self.deployment.diagnosis, 0)
        self.app = app_of(hospitals.folder)
        InlineGrid(self.app, 1)
        self.context = Context(1, 0, {"partition-id": 0}, RecordDict(), {})
        assert not self.train(1).has_error()

    @property
    def job(self) -> dict[str, Any]:
        return json.loads(Job("train", self.deployment.digest, 2, plan=self.plan and self.plan.digest).to_json())

    def say(self, job: str | dict[str, Any], kind: str = "train", **records: Any) -> Message:
        """Send a job; records of None are left out, those that are no records are packed."""
        text = job if isinstance(job, str) else json.dumps(job)
        content = RecordDict({"config": ConfigRecord({"job": text})})
        for name, record in ({"arrays": self.model} | records).items():
            if record is not None:
                content[name] = pack(record) if isinstance(record, dict) else record
        return self.send(kind, content)

    def send(self, kind: str, content: RecordDict) -> Message:
        return self.app(Message(content, 0, kind), self.context)

    def train(self, number: int, model: Any = None) -> Message:
        return self.say(self.job | {"round": number}, arrays=model or self.model)

    def kept(self) -> dict[str, bytes]:
        return self.hospitals.files()


@pytest.fixture(scope="module", params=BOTH)
def spoken(
    request: pytest.FixtureRequest, new_study: Any, phantom_cohort: Any, hospitals_of: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Spoken:  # fmt: skip
    folder = tmp_path_factory.mktemp("spoken")
    study = new_study()
    setting = "real" if request.param == BOTH[0] else "real-epsilon-6"
    study |= {"arms": ["federated"], "settings": [setting, *({"real"} - {setting})]}
    study["federation"]["rounds"] = ROUNDS
    study["cohort"]["path"] = str(phantom_cohort.folder)
    return Spoken(hospitals_of(study, folder / "hospitals"), setting, folder / "canary")


def refused(spoken: Spoken, reply: Message, before: dict[str, bytes]) -> str:
    """The reply is an error of one line; nothing that hospitals keep has changed."""
    assert reply.has_error(), "the hospital did it"
    assert spoken.kept() == before
    reason = reply.error.reason
    assert len(reason.splitlines()) == 1
    return reason


D, F = "0" * 64, "f" * 64
JOBS: dict[str, Callable[[dict[str, Any]], str | dict[str, Any]]] = {
    "an unknown stage": lambda job: job | {"stage": "steal"},
    "a stage of Python": lambda job: job | {"stage": "__class__"},
    "a stage that is a list": lambda job: job | {"stage": ["train"]},
    "no stage": lambda job: {"deployment": job["deployment"]},
    "another deployment": lambda job: job | {"deployment": D},
    "a deployment that is a path": lambda job: job | {"deployment": "../../../../etc/passwd"},
    "a deployment of other digits": lambda job: job | {"deployment": job["deployment"].upper().replace("0", "G")},
    "a deployment of Arabic digits": lambda job: job | {"deployment": "٣" * 64},
    "another plan": lambda job: job | {"plan": F, "stage": "agree"},
    "a pool that is a path": lambda job: job | {"pool": "../" * 21 + "a"},
    "a pool that did not arrive": lambda job: job | {"pool": F},
    "round -1": lambda job: job | {"round": -1},
    "round 1.5": lambda job: job | {"round": 1.5},
    "round true": lambda job: job | {"round": True},
    "round one": lambda job: job | {"round": "1"},
    "round NaN": lambda job: job | {"round": float("nan")},
    "round null": lambda job: job | {"round": None},
    "a round of 5000 digits": lambda job: json.dumps(job).replace('"round": 2', '"round": ' + "9" * 5000),
    "part -1": lambda job: job | {"part": -1},
    "part 2 of 2": lambda job: job | {"part": 2, "parts": 2},
    "parts 0": lambda job: job | {"parts": 0},
    "keep 1": lambda job: job | {"keep": 1},
    "attempt -1": lambda job: job | {"attempt": -1},
    "attempt true": lambda job: job | {"attempt": True},
    "members that are a text": lambda job: job | {"members": "hospital-1"},
    "members that are no texts": lambda job: job | {"members": [1]},
    "a member that is a path": lambda job: job | {"members": ["../a"]},
    "a member of two lines": lambda job: job | {"members": ["a\n"]},
    "a key of no job": lambda job: job | {"site": "/etc/passwd"},
    "a list": lambda job: "[]",
    "a number": lambda job: "7",
    "nothing": lambda job: "",
    "NUL": lambda job: "\0",
    "100000 brackets": lambda job: DEEP,
    "100000 brackets in a stage": lambda job: json.dumps(job).replace('"train"', DEEP),
    "a text of 10 MB": lambda job: json.dumps(job) + " " * 10_000_000 + "x",
    "half a surrogate": lambda job: job | {"stage": "\ud800"},
}  # fmt: skip


@pytest.mark.parametrize("name", JOBS)
def test_a_job_that_is_none(spoken: Spoken, name: str) -> None:
    before = spoken.kept()
    refused(spoken, spoken.say(JOBS[name](spoken.job)), before)


@pytest.mark.parametrize("number", [0, ROUNDS + 1, 10**9, 10**18, 10**30])
def test_a_round_that_was_not_agreed_to(spoken: Spoken, number: int) -> None:
    before = spoken.kept()
    assert "refused" in refused(spoken, spoken.train(number), before)


@pytest.mark.parametrize("kind", ["train", "evaluate", "query.features", "query.declare"])
@pytest.mark.parametrize("missing", ["everything", "the job", "records"])
def test_a_message_that_lacks_something(spoken: Spoken, kind: str, missing: str) -> None:
    before = spoken.kept()
    content = {
        "everything": RecordDict(),
        "the job": RecordDict({"config": ConfigRecord({"work": "a"}), "arrays": pack(spoken.model)}),
        "records": RecordDict({"arrays": ConfigRecord({"a": 1}), "config": pack(spoken.model)}),
    }[missing]
    refused(spoken, spoken.send(kind, content), before)


def test_no_tensors(spoken: Spoken) -> None:
    before = spoken.kept()
    refused(spoken, spoken.say(spoken.job, arrays=None), before)
    refused(spoken, spoken.say(spoken.job, arrays=None, model=spoken.model), before)


@pytest.mark.parametrize(
    "text",
    ["", "[]", DEEP, '{"federation": 1}', '{"federation": {"strategy": {"name": "os:system"}}}', "\0", '"\\ud800"',
     '{"hospital-1": 1e999}', '{"hospital-1": -5}', '{"hospital-1": NaN}', '{"hospital-1": null}', '{"a": 9e99}'],
    ids=range(12),
)  # fmt: skip
@pytest.mark.parametrize("stage", ["declare", "agree"])
def test_an_agreement_that_is_none(spoken: Spoken, stage: str, text: str) -> None:
    if stage == "agree" and spoken.plan is None:
        pytest.skip("nothing is agreed to without a budget")
    before = spoken.kept()
    job = json.dumps(spoken.job | {"stage": stage})
    content = RecordDict({"config": ConfigRecord({"job": job, "agreement": text})})
    refused(spoken, spoken.send(kind_of(stage), content), before)


def npy(shape: str, kind: str = "<f4", data: bytes = bytes(64)) -> bytes:
    head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head + data


def raw(spoken: Spoken, data: bytes, shape: tuple[int, ...] = (1,)) -> ArrayRecord:
    """The model, its first tensor in place of whose bytes are these."""
    record = pack(spoken.model)
    record[next(iter(record))] = Array("float32", shape, "numpy.ndarray", data)
    return record


RAW: dict[str, Callable[[Spoken], bytes]] = {
    "100 GB": lambda _: npy("(26843545600,)"),
    "2^62 numbers": lambda _: npy("(4611686018427387904,)"),
    "a shape below 0": lambda _: npy("(-1,)"),
    "a pickle": lambda spoken: npy("(1,)", "|O", code(Place(spoken.canary, spoken.canary, spoken.canary))),
    "a pickle alone": lambda spoken: code(Place(spoken.canary, spoken.canary, spoken.canary)),
    "texts": lambda _: npy("(4,)", "<U4"),
    "times": lambda _: npy("(4,)", "<M8[s]"),
    "the other byte order": lambda _: npy("(4,)", ">f4"),
    "nothing": lambda _: b"",
    "zeros": lambda _: bytes(1000),
    "a header that never ends": lambda _: b"\x93NUMPY\3\0\xff\xff\xff\xff" + b" " * 1000,
    "an archive": lambda _: _archive(),
}


def _archive() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.zeros(3))
    return file.getvalue()


@pytest.mark.parametrize("name", RAW)
def test_arrays_that_are_none(spoken: Spoken, name: str) -> None:
    before = spoken.kept()
    refused(spoken, spoken.say(spoken.job, arrays=raw(spoken, RAW[name](spoken))), before)
    assert not spoken.canary.exists(), "code of a message ran"


def first(model: Tensors, change: Callable[[torch.Tensor], torch.Tensor]) -> Tensors:
    """A model with its first tensor changed."""
    name = next(iter(model))
    return model | {name: change(model[name].clone())}


def filled(tensor: torch.Tensor, value: float) -> torch.Tensor:
    return torch.full_like(tensor, value)


TENSORS: dict[str, Callable[[Tensors], Tensors]] = {
    "no tensor": lambda model: {},
    "a tensor less": lambda model: dict(list(model.items())[1:]),
    "a tensor more": lambda model: model | {"another": torch.ones(1)},
    "other names": lambda model: {f"x{name}": tensor for name, tensor in model.items()},
    "a name that is a path": lambda model: dict(list(model.items())[1:]) | {"../../x": torch.ones(1)},
    "another shape": lambda model: first(model, lambda tensor: tensor[..., :1]),
    "a shape that would be broadcast": lambda model: first(model, lambda tensor: tensor.reshape(-1)[:1]),
    "a number in place of a tensor": lambda model: first(model, lambda _: torch.tensor(1.0)),
    "no numbers": lambda model: first(model, lambda tensor: tensor[:0]),
    "NaN": lambda model: first(model, lambda tensor: filled(tensor, torch.nan)),
    "infinity": lambda model: first(model, lambda tensor: filled(tensor, torch.inf)),
    "doubles": lambda model: {name: tensor.double() for name, tensor in model.items()},
    "whole numbers": lambda model: first(model, lambda tensor: tensor.long()),
    "truth values": lambda model: first(model, lambda tensor: tensor > 0),
    "complex numbers": lambda model: first(model, lambda tensor: tensor.to(torch.complex64)),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_of_another_model(spoken: Spoken, name: str) -> None:
    before = spoken.kept()
    model = TENSORS[name](spoken.model)
    refused(spoken, spoken.say(spoken.job, arrays=pack(model)), before)


def test_afterwards_the_hospital_answers_as_if_nothing_had_been(spoken: Spoken) -> None:
    """The same request as in the beginning has the same answer."""
    again = spoken.train(1)
    assert not again.has_error(), again.error.reason
    assert all(np.isfinite(array.numpy()).all() for array in again.content.array_records["arrays"].values())


class Liar(InlineGrid):
    """A grid whose second hospital replies to messages of training what `lie` makes of its true reply."""

    def __init__(self, hospitals: Path, count: int, lie: Callable[[RecordDict], RecordDict]) -> None:
        super().__init__(app_of(hospitals), count)
        self._lie = lie

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        messages = list(messages)
        ids = list(super().push_messages(messages))
        for message, identity in zip(messages, ids, strict=True):
            if message.metadata.message_type == "train" and message.metadata.dst_node_id == 1:
                self._replies[identity] = Message(self._lie(self._replies[identity].content), reply_to=message)
        return ids


def with_arrays(change: Callable[[Tensors], Tensors]) -> Callable[[RecordDict], RecordDict]:
    def lie(content: RecordDict) -> RecordDict:
        model = {name: torch.from_numpy(array.numpy().copy()) for name, array in content["arrays"].items()}
        return RecordDict({"arrays": pack(change(model)), "metrics": content["metrics"]})

    return lie


def with_data(data: bytes) -> Callable[[RecordDict], RecordDict]:
    def lie(content: RecordDict) -> RecordDict:
        record = ArrayRecord(dict(content["arrays"].items()))
        record[next(iter(record))] = Array("float32", (1,), "numpy.ndarray", data)
        return RecordDict({"arrays": record, "metrics": content["metrics"]})

    return lie


def with_numbers(**numbers: Any) -> Callable[[RecordDict], RecordDict]:
    return lambda content: RecordDict({"arrays": content["arrays"], "metrics": MetricRecord(numbers)})


LIES: dict[str, Callable[[RecordDict], RecordDict]] = {
    "nothing": lambda _: RecordDict(),
    "no numbers": lambda content: RecordDict({"arrays": content["arrays"]}),
    "no model": lambda content: RecordDict({"metrics": content["metrics"]}),
    "records of another kind": lambda content: RecordDict({"arrays": content["metrics"], "metrics": content["arrays"]}),
    "no number of patients": with_numbers(loss=1.0),
    "-5 patients": with_numbers(**{"num-examples": -5.0}),
    "NaN patients": with_numbers(**{"num-examples": float("nan")}),
    "10^300 patients": with_numbers(**{"num-examples": 1e300}),
    "lists of patients": with_numbers(**{"num-examples": [1.0, 2.0]}),
    **{f"tensors: {name}": with_arrays(change) for name, change in TENSORS.items()},
    **{f"bytes: {name}": with_data(data) for name, data in {
        "100 GB": npy("(26843545600,)"), "nothing": b"", "a pickle": npy("(1,)", "|O", b"cos\nsystem\n(S'exit'\ntR."),
        "texts": npy("(4,)", "<U4"), "the other byte order": npy("(4,)", ">f4"),
    }.items()},
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_a_reply_that_is_none(name: str, phantom_study: dict[str, Any], federation_of: Any, tmp_path: Path) -> None:
    """The others go on, the hospital's status says why; or nobody does."""
    phantom_study["federation"] |= {"rounds": 1, "local_steps": 1, "min_hospitals": 2}
    federation = federation_of(phantom_study, tmp_path, lambda folder, count: Liar(folder, count, LIES[name]))
    try:
        checkpoint = federation.train()
    except StudyError as error:
        assert "hospital-2" in str(error)
        return
    (model,) = checkpoint.models.values()
    assert all(tensor.isfinite().all() for tensor in model.values())
    status = {row["hospital"]: row["status"] for row in checkpoint.rows}
    assert status["hospital-1"] == status["hospital-3"] == "ok"
    assert status["hospital-2"].startswith("failed: "), "the server took it"
    assert len(status["hospital-2"]) < 400 and status["hospital-2"].isprintable()
