"""A hospital's client app: opens the site of its own node's configuration and nothing else, and tells no more."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict

from fedmammo.cohort.store import Cohort
from fedmammo.config.deployment import Deployment
from fedmammo.config.study import parse
from fedmammo.features.store import FeatureStore
from fedmammo.federation.bundle import software
from fedmammo.federation.client_app import SITES, app_of, kind_of
from fedmammo.federation.inline_grid import InlineGrid
from fedmammo.federation.messages import pack, unpack
from fedmammo.hospitals.site import Site
from fedmammo.hospitals.site_file import SiteFile, write_site_file
from fedmammo.models.classifier import initial_model
from fedmammo.privacy.limits import Limits
from fedmammo.privacy.reasons import code_of
from fedmammo.stages.stage import Job


class Node:
    """A node with a configuration of its own, as the grid would call it."""

    def __init__(self, hospitals: Path | None, **config: Any) -> None:
        self.app = app_of(hospitals)
        InlineGrid(self.app, 1)
        self.context = Context(1, 0, config, RecordDict(), {})

    def ask(self, kind: str, content: RecordDict | None = None) -> Message:
        return self.app(Message(content or RecordDict(), 0, kind), self.context)

    def work(self, job: Job, agreement: str = "", **records: Any) -> Message:
        said = {"job": job.to_json()} | ({"agreement": agreement} if agreement else {})
        content = RecordDict({name: pack(record) for name, record in records.items()})
        content["config"] = ConfigRecord(said)
        return self.ask(kind_of(job.stage), content)

    @property
    def name(self) -> str:
        return str(self.ask(kind_of("hello"), greeting()).content.config_records["about"]["name"])


def greeting() -> RecordDict:
    """What a server of the same software asks first."""
    return RecordDict({"about": ConfigRecord({"software": software()})})


@pytest.fixture
def real_site(own_cohort: Cohort, tmp_path: Path) -> Path:
    """The site file of a real hospital, which accepts studies without a budget."""
    path = tmp_path / "basement" / "site.yaml"
    path.parent.mkdir()
    limits = Limits(without_budget="accepted")
    file = SiteFile(name="north", cohort=own_cohort.folder, state=Path("state"), limits=limits, scores="rows")
    path.write_text(write_site_file(file))
    return path


@pytest.fixture
def deployment(phantom_study: dict[str, Any]) -> Deployment:
    return parse(phantom_study, "study.yaml").deployment("federated", "real")


def test_a_node_of_a_simulation_finds_its_site_by_its_number(
    phantom_study: dict[str, Any], hospitals_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the folder that the engine gives, or the environment, as of the processes that Flower starts."""
    folder = hospitals_of(phantom_study, tmp_path / "hospitals").folder
    names = json.loads((folder / "nodes.json").read_text())
    assert [Node(folder, **{"partition-id": number}).name for number in range(4)] == names
    monkeypatch.setenv(SITES, str(folder))
    assert Node(None, **{"partition-id": 2}).name == "hospital-3"


def test_a_node_that_names_its_site_opens_nothing_else(
    phantom_study: dict[str, Any], hospitals_of: Any, real_site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a folder of a simulation, the environment or a number say; and whatever a message says."""
    folder = hospitals_of(phantom_study, tmp_path / "hospitals").folder
    monkeypatch.setenv(SITES, str(folder))
    opened: list[Path] = []
    open_site = Site.open
    monkeypatch.setattr(Site, "open", lambda path: opened.append(path) or open_site(path))
    node = Node(folder, **{"site": str(real_site), "partition-id": 1})
    assert node.name == "north"
    elsewhere = str(folder / "hospital-1" / "site.yaml")
    content = greeting()
    content["config"] = ConfigRecord({"site": elsewhere, "job": "{}", "partition-id": 2})
    about = node.ask(kind_of("hello"), content).content.config_records["about"]
    assert about["name"] == "north" and set(about) == {"name", "software", "local_models"}
    refused = node.ask(kind_of("features"), content)
    assert refused.has_error() and refused.error.reason == "not_understood"
    text = json.dumps({"stage": "features", "deployment": "a" * 64, "site": elsewhere})
    refused = node.ask(kind_of("features"), RecordDict({"config": ConfigRecord({"job": text})}))
    assert refused.error.reason == "not_understood"
    assert node.work(Job("features", "a" * 64)).error.reason == "not_agreed"
    assert set(opened) == {real_site}


def test_a_real_hospital_works_for_what_its_people_approved(
    deployment: Deployment, real_site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node = Node(None, site=str(real_site))
    text = deployment.model_dump_json()
    refused = node.work(Job("declare", deployment.digest), text)
    assert refused.error.reason == "approval" and refused.error.code == code_of("approval")
    assert (
        f"refused: study {deployment.study} is not approved; fedmammo site approve does so" in capsys.readouterr().out
    )
    Site.open(real_site).approve(deployment.study)
    declared = node.work(Job("declare", deployment.digest), text).content.metric_records["metrics"]
    assert dict(declared) == {"num-examples": 16.0}, "of 20 patients in `train` a fifth sets thresholds"
    while node.work(Job("features", deployment.digest, 1)).content.metric_records["metrics"]["remaining"]:
        pass
    incoming = initial_model(deployment.diagnosis, 0)
    trained = node.work(Job("train", deployment.digest, 1), arrays=incoming)
    assert unpack(trained.content.array_records["arrays"]).keys() == incoming.keys()
    assert set(trained.content.array_records) == {"arrays"}, "nothing beside it, so no record of it"
    assert deployment.digest[:32] in {path.name for path in (real_site.parent / "state").iterdir()}


def test_the_text_of_an_unexpected_error_stays_at_a_real_hospital(
    deployment: Deployment, real_site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may tell what files hold; the hospital's own log has it, but for whose they are."""
    Site.open(real_site).approve(deployment.study)
    node = Node(None, site=str(real_site))
    node.work(Job("declare", deployment.digest), deployment.model_dump_json())

    def broken(*_: Any) -> Any:
        raise KeyError("patient P_00017 at /basement/cohort")

    monkeypatch.setattr(FeatureStore, "files", broken)
    reply = node.work(Job("features", deployment.digest, 1))
    assert reply.has_error() and reply.error.reason == "failed"
    assert "KeyError: 'patient (of a patient) at /basement/cohort'" in capsys.readouterr().out


def test_a_simulated_hospital_says_all(
    phantom_study: dict[str, Any], hospitals_of: Callable[..., Any], tmp_path: Path
) -> None:
    """Whoever simulates owns the patients, and has to find the fault."""
    hospitals = hospitals_of(phantom_study, tmp_path / "hospitals")
    deployment = hospitals.config.deployment("federated", "real")
    hospitals.begin(deployment)
    node = Node(hospitals.folder, **{"partition-id": 0})
    reply = node.work(Job("train", deployment.digest, 1), arrays={"another": torch.ones(1)})
    assert reply.error.reason == (
        "RefusalError: refused: what arrived is no model of this deployment: tensor head.bias is missing"
    )
