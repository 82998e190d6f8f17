"""A private deployment on drawn patients, spoken to as a server would speak to it; patients who are told apart."""

import json
import os
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord, Message, RecordDict
from torch import Tensor

from fedmammo.cohort.store import Cohort
from fedmammo.config.deployment import Deployment
from fedmammo.config.sections import DiagnosisConfig
from fedmammo.config.study import StudyConfig, parse
from fedmammo.disk.files import read_tensors, write_text
from fedmammo.errors import StudyError
from fedmammo.features import memory
from fedmammo.features.inputs import Inputs
from fedmammo.federation.client_app import SITE, app_of, kind_of
from fedmammo.federation.inline_grid import InlineGrid
from fedmammo.federation.messages import pack, unpack
from fedmammo.hospitals.dealing import deal, write_sites
from fedmammo.hospitals.records import true_records
from fedmammo.hospitals.site import Site
from fedmammo.hospitals.site_file import SiteFile, read_site_file, write_site_file
from fedmammo.models.classifier import initial_model
from fedmammo.privacy import noise
from fedmammo.privacy.answer import Answer
from fedmammo.privacy.odometer import ledger_of
from fedmammo.privacy.plan import Plan
from fedmammo.privacy.reasons import RefusalError, reason_of
from fedmammo.privacy.steps import PrivateSteps
from fedmammo.randomness import generator_of
from fedmammo.stages.planning import plan_of
from fedmammo.stages.stage import Incoming, Job
from fedmammo.training.steps import train

SETTING = "real-epsilon-6"
REFUSED = f"{RefusalError.__name__}: "


def merged(content: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Nested dictionaries with some keys replaced."""
    both = {
        key: merged(content[key], value) if isinstance(content.get(key), dict) and isinstance(value, dict) else value
        for key, value in changes.items()
    }
    return content | both


class Deployed:
    """A private deployment at three hospitals, spoken to through their client app, as an honest server would do it but
    for what a test tells.

    Attributes:
        config: the study.
        deployment: its federated one, under a budget.
        sizes: declared training patients by hospital.
        plan: what everybody agrees to.
        model: the initial one.
    """

    def __init__(self, content: dict[str, Any], cohort: Cohort, run: Path, real: dict[str, Any] | None) -> None:
        self.config: StudyConfig = parse(merged(content, {"cohort": {"path": str(cohort.folder)}}), "private")
        self.cohort, self.run, dealt = cohort, run, deal(cohort, self.config)
        self.names = dealt.names
        self._files = write_sites(run, self.config, dealt)
        grid = InlineGrid(app_of(run), len(self._files))
        if real is not None:
            for path, context in zip(self._files, grid._contexts, strict=True):
                file = read_site_file(path).model_dump(mode="json", exclude={"patients", "pools", "digitisers"})
                write_text(path, write_site_file(SiteFile.model_validate(merged(file | {"kind": "real"}, real))))
                context.node_config[SITE] = str(path)
        self._grid = grid
        setting = next(name for name in self.config.settings if "epsilon" in name)
        self.deployment = self.of(setting)
        self.held = {
            name: Site.open(path).holder(self.deployment) for name, path in zip(self.names, self._files, strict=False)
        }
        self.sizes = {name: len(holder.training) for name, holder in self.held.items()}
        plan = plan_of(self.deployment, self.sizes)
        assert plan is not None
        self.plan: Plan = plan
        self.model = initial_model(self.deployment.diagnosis, 0)

    def of(self, setting: str, seed: int = 0, draw: int = 0, fold: int = 0, **changes: Any) -> Deployment:
        """A federated deployment of the study, of which some keys differ."""
        found = self.config.deployment("federated", setting, seed, draw, fold)
        return Deployment.model_validate(merged(found.model_dump(mode="json"), changes)) if changes else found

    def site(self, node: int) -> Site:
        return Site.open(self._files[node])

    def folder(self, node: int) -> Path:
        return self._files[node].parent

    def ask(
        self,
        node: int,
        job: Job | str,
        incoming: Incoming | None = None,
        text: str | None = None,
        kind: str | None = None,
    ) -> Answer:
        """Send a hospital any message. Raises RefusalError where it refuses, as its own log says, StudyError where it
        fails.
        """
        content = RecordDict({name: pack(record) for name, record in (incoming or {}).items()})
        said = job if isinstance(job, str) else job.to_json()
        content["config"] = ConfigRecord({"job": said, **({} if text is None else {"agreement": text})})
        kind = kind or (job.stage if isinstance(job, Job) else "train")
        with redirect_stdout(StringIO()) as log:
            (reply,) = self._grid.send_and_receive([Message(content, node, kind_of(kind))])
        if reply.has_error():
            reason = reply.error.reason or ""
            if reason_of(reply.error.code) not in (None, "failed"):  # a real hospital's, whose texts stay in its log
                raise RefusalError(log.getvalue().strip())
            raise RefusalError(reason.removeprefix(REFUSED)) if reason.startswith(REFUSED) else StudyError(reason)
        records = {name: unpack(record) for name, record in reply.content.array_records.items()}
        numbers = {name: float(value) for name, value in reply.content.metric_records["metrics"].items()}  # type: ignore[arg-type]
        return Answer(records.get("arrays", {}), numbers, records.get("beside", {}))

    def declare(self, node: int, deployment: Deployment | None = None) -> Answer:
        one = deployment or self.deployment
        return self.ask(node, Job("declare", one.digest), text=one.model_dump_json())

    def agree(
        self, node: int, deployment: Deployment | None = None, plan: Plan | None = None, sizes: Any = None
    ) -> None:
        """Let a hospital read a deployment, agree to its plan, and compute its features."""
        one = deployment or self.deployment
        self.declare(node, one)
        sizes = self.sizes if sizes is None else sizes
        plan = plan or plan_of(one, sizes)
        if plan is not None:
            self.ask(node, Job("agree", one.digest, plan=plan.digest), text=json.dumps(sizes))
        while self.ask(node, Job("features", one.digest)).numbers["remaining"]:
            pass

    def train(
        self,
        node: int,
        number: int = 1,
        model: dict[str, Tensor] | None = None,
        deployment: Deployment | None = None,
        beside: dict[str, Tensor] | None = None,
        **changes: Any,
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Ask for a round of a hospital that has agreed; `changes`: of the job."""
        one = deployment or self.deployment
        plan = plan_of(one, self.sizes)
        about = {"plan": plan.digest if plan else None} | changes
        incoming = {"arrays": self.model if model is None else model} | ({"beside": beside} if beside else {})
        answer = self.ask(node, Job("train", one.digest, number, **about), incoming)
        return answer.tensors, answer.numbers

    def score(self, node: int, deployment: Deployment | None = None, **models: dict[str, Tensor]) -> Answer:
        one = deployment or self.deployment
        return self.ask(node, Job("score", one.digest), {f"model/{name}": model for name, model in models.items()})

    def ledger(self, node: int, deployment: Deployment | None = None) -> list[dict[str, Any]]:
        """The releases in a hospital's ledger."""
        path = ledger_of(self.folder(node), self.site(node).name_of(deployment or self.deployment))
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [line for line in lines if "request" in line]

    def kept(self, node: int) -> list[dict[str, Tensor]]:
        """The tensors that a hospital keeps of its releases, in the order of the ledger."""
        folder = self.folder(node) / self.site(node).name_of(self.deployment)
        found = [read_tensors(folder / f"release-{line['request'][:16]}.safetensors")[0] for line in self.ledger(node)]
        return [{name.removeprefix("tensors/"): tensor for name, tensor in one.items()} for one in found]

    def files(self, node: int) -> dict[str, bytes]:
        """What a hospital has on disk."""
        folder = self.folder(node)
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class OneByOne:
    """Twenty patients with an image each, whose features are told apart: patient i has 1 at place i and 0 elsewhere.

    The head starts at zero, so that at a clipping norm that nobody reaches patient i, if in the step, moves weight i by
    1/2 in a sum, and nothing else does.
    """

    def __init__(self, cohort: Cohort) -> None:
        content = {"network": "test_vit", "weights": "none", "image_size": 32, "augmentation": {"flips": "none"}}
        optimizer = {"name": "sgd", "learning_rate": 1.0, "momentum": 0.0}
        self.config = DiagnosisConfig.model_validate({**content, "optimizer": optimizer})
        self.inputs = Inputs(cohort, self.config, torch.device("cpu"), true_records(cohort))
        self.inputs.model.center.zero_()
        self.inputs.model.scale.fill_(1)
        for row in range(20):
            self.features(row, np.eye(64, dtype=np.float32)[row])

    def features(self, row: int, values: np.ndarray) -> None:
        _, store = self.inputs._sets[0]
        store.put("whole", row, values)
        memory.forget()  # what was read before

    def train(self, private: PrivateSteps, state: dict[str, Tensor] | None = None) -> np.ndarray:
        """How far the weights go in the steps, of 1 times the gradient each."""
        model = {"head.weight": torch.zeros(1, 64), "head.bias": torch.zeros(1)}
        rows = [np.array([row]) for row in range(20)]
        trained, _, _ = train(
            self.inputs, rows, self.config, private.mechanism.local_steps, generator_of(0, "published"), model,
            state or {}, private=private,
        )  # fmt: skip
        return trained.model["head.weight"][0].double().numpy()


@pytest.fixture(scope="session")
def phantom_cohort(request: pytest.FixtureRequest) -> Cohort:
    """The drawn patients that all tests share; `make mutants` has them drawn once for all its runs."""
    drawn = os.environ.get("FEDMAMMO_DRAWN_COHORT")
    return Cohort.open(Path(drawn)) if drawn else request.getfixturevalue("phantom_cohort")


@pytest.fixture
def deploy(new_study: Callable[[], dict[str, Any]], phantom_cohort: Cohort, tmp_path: Path) -> Callable[..., Deployed]:
    """Make a deployment whose study differs in some (nested) keys: three rounds of two steps of SGD, everybody.

    `real`: changes of the site files of hospitals that are real, each with the whole cohort; simulated without.
    """

    def made(run: str = "run", real: dict[str, Any] | None = None, **changes: Any) -> Deployed:
        content = merged(
            new_study(),
            {
                "arms": ["federated"],
                "settings": [SETTING],
                "diagnosis": {"optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.5}},
                "federation": {"rounds": 3, "local_steps": 2},
                "privacy": {"secret_seed": 1},
            },
        )
        cohort = changes.pop("cohort", phantom_cohort)
        return Deployed(merged(content, changes), cohort, tmp_path / run, real)

    return made


@pytest.fixture
def fine_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """A grid 1024 times as fine as ours: noise of one step at least is then as good as none."""
    monkeypatch.setattr(noise, "FINEST", 2**20)


@pytest.fixture
def one_by_one(own_cohort: Cohort) -> OneByOne:
    return OneByOne(own_cohort)
