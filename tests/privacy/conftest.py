"""A private deployment on drawn patients, spoken to as a server would speak to it; patients who are told apart."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fedmammo.cohort.store import Cohort
from fedmammo.config.sections import DiagnosisConfig
from fedmammo.config.study import StudyConfig, parse
from fedmammo.disk.files import read_tensors
from fedmammo.features.inputs import Inputs
from fedmammo.hospitals.holder import holders
from fedmammo.hospitals.records import true_records
from fedmammo.models.classifier import initial_model
from fedmammo.privacy.plan import Plan, plan_of
from fedmammo.privacy.steps import PrivateSteps
from fedmammo.randomness import generator_of
from fedmammo.training.hospital import work
from fedmammo.training.steps import train
from fedmammo.training.task import Cell, Task

CELL = Cell("federated", "real-epsilon-6", 0, 0, 0)


def merged(content: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Nested dictionaries with some keys replaced."""
    both = {
        key: merged(content[key], value) if isinstance(content.get(key), dict) and isinstance(value, dict) else value
        for key, value in changes.items()
    }
    return content | both


class Deployment:
    """One private cell of three hospitals. `train` asks for a round as an honest server would, but for what it is told.

    Attributes:
        study: as the cell runs it.
        plan: what the server proposes.
        model: the initial one.
    """

    def __init__(self, content: dict[str, Any], cohort: Cohort, run: Path) -> None:
        content = merged(content, {"cohort": {"path": str(cohort.folder)}, "settings": [CELL.setting]})
        self.study: StudyConfig = parse(content, "private").for_cell(CELL.arm, CELL.setting, CELL.draw)
        self.cohort = cohort
        self.run = run
        self.held = holders(cohort, self.study, CELL.seed, CELL.fold)
        plan = plan_of(self.study, {name: len(holder.training) for name, holder in self.held.items()})
        assert plan is not None
        self.plan: Plan = plan
        self.model = initial_model(self.study.diagnosis, 0)
        for node in range(3):
            work(self.task("features"), node, {})

    def task(self, stage: str, number: int = 0, **changes: Any) -> Task:
        return replace(
            Task(stage, CELL, number, self.study.model_dump_json(), str(self.run)),  # type: ignore[arg-type]
            **changes,
        )

    def agree(self, node: int, plan: Plan | None = None, **changes: Any) -> None:
        work(self.task("plan", **{"plan": (plan or self.plan).to_json()} | changes), node, {})

    def train(
        self, node: int, number: int = 1, model: dict[str, Tensor] | None = None, **changes: Any
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Ask for a round of a hospital that has agreed; `asked`: what deviates of the mechanism."""
        asked = self.plan.mechanism("train").to_dict() | changes.pop("asked", {})
        task = self.task("train", number, **{"plan": self.plan.digest, "asked": asked} | changes)
        return work(task, node, {"arrays": self.model if model is None else model})

    def folder(self, node: int) -> Path:
        return self.run / "hospitals" / f"hospital-{node + 1}"

    def ledger(self, node: int) -> list[dict[str, Any]]:
        """The releases in a hospital's ledger."""
        path = self.folder(node) / "ledger" / f"{CELL.name}.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [line for line in lines if "request" in line]

    def kept(self, node: int) -> list[dict[str, Tensor]]:
        """The tensors that a hospital keeps of its releases, in the order of the ledger."""
        folder = self.folder(node) / CELL.name
        return [read_tensors(folder / f"release-{line['request'][:16]}.safetensors")[0] for line in self.ledger(node)]


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
        self.inputs.classifier.center.zero_()
        self.inputs.classifier.scale.fill_(1)
        for row in range(20):
            self.features(row, np.eye(64, dtype=np.float32)[row])

    def features(self, row: int, values: np.ndarray) -> None:
        _, store = self.inputs._sets[0]
        store.put("whole", row, values)

    def train(self, private: PrivateSteps, state: dict[str, Tensor] | None = None) -> np.ndarray:
        """How far the weights go in the steps, of 1 times the gradient each."""
        model = {"head.weight": torch.zeros(1, 64), "head.bias": torch.zeros(1)}
        rows = [np.array([row]) for row in range(20)]
        outgoing, _, _ = train(
            self.inputs, rows, self.config, private.mechanism.local_steps, generator_of(0, "published"), model,
            state or {}, private=private,
        )  # fmt: skip
        return outgoing["head.weight"][0].double().numpy()


@pytest.fixture(scope="session")
def phantom_cohort(request: pytest.FixtureRequest) -> Cohort:
    """The drawn patients that all tests share; `make mutants` has them drawn once for all its runs."""
    drawn = os.environ.get("FEDMAMMO_DRAWN_COHORT")
    return Cohort.open(Path(drawn)) if drawn else request.getfixturevalue("phantom_cohort")


@pytest.fixture
def deploy(
    new_study: Callable[[], dict[str, Any]], phantom_cohort: Cohort, tmp_path: Path
) -> Callable[..., Deployment]:
    """Make a deployment whose study differs in some (nested) keys: three rounds of two steps of SGD, everybody."""

    def made(run: str = "run", **changes: Any) -> Deployment:
        content = merged(
            new_study(),
            {
                "diagnosis": {"optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.5}},
                "federation": {"rounds": 3, "local_steps": 2},
                "privacy": {"secret_seed": 1},
            },
        )
        return Deployment(merged(content, changes), phantom_cohort, tmp_path / run)

    return made


@pytest.fixture
def one_by_one(own_cohort: Cohort) -> OneByOne:
    return OneByOne(own_cohort)
