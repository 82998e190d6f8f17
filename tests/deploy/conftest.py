"""Patients who are divided among hospitals, and the same patients joined: for studies at both."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.app import Message
from flwr.proto.node_pb2 import NodeInfo

from fedmammo.cohort.store import Cohort
from fedmammo.config.study import StudyConfig, parse
from fedmammo.federation.client_app import app_at
from fedmammo.federation.inline_grid import InlineGrid
from fedmammo.federation.server import Report
from fedmammo.hospitals.site import Site
from fedmammo.study import at_sites

NAMES = ("hospital-north", "hospital-south", "hospital-west")


@pytest.fixture(scope="session")
def joined(phantom_cohort: Cohort, write_part: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """The phantom cohort with a column that says each patient's hospital: in turn, in every split and class."""
    patients = phantom_cohort.patients.sort_values(["split", "malignant"], kind="stable")
    named = [name.removeprefix("hospital-") for name in NAMES] * len(patients)
    hospital = dict(zip(patients.index, named, strict=False))
    column = phantom_cohort.manifest["patient"].map(hospital)
    folder = tmp_path_factory.mktemp("joined") / "cohort"
    write_part(phantom_cohort, folder, list(patients.index), column)
    return Cohort.open(folder)


class Sites:
    """Real hospitals in this process, each opened from its own site file, and a server that speaks to them.

    Attributes:
        folder: of all; each hospital has its site file, cohort and state below.
        names: of the hospitals.
        replies: every message that has come back.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder, self.names, self.replies = folder, list(names), list[Message]()
        self.keys = {name: new_key() for name in names}
        self.nodes = dict(enumerate(names, start=100))  # who is behind each node; a test may exchange them

    def path(self, name: str) -> Path:
        """Return a hospital's site file."""
        return self.folder / name / "site.yaml"

    def write(self, name: str, **more: Any) -> None:
        """Write a hospital's site file, which begins with what lets it take part in everything."""
        content = {"name": name, "cohort": "cohort", "state": f"state/{name}", "device": "cpu", "scores": "rows"}
        content |= {"limits": {"without_budget": "accepted"}, "local_models": "shared", **more}
        self.path(name).write_text(yaml.safe_dump(content))

    def approve(self, config: StudyConfig) -> None:
        """Let everybody's people approve of all that a study does."""
        for name in self.names:
            for study in {one.study for one in config.deployments}:
                Site.open(self.path(name)).approve(study)

    def study(self, content: dict[str, Any]) -> StudyConfig:
        """Return a study at these hospitals."""
        rule = {"by": "site", "keys": {name: ssh_of(key) for name, key in self.keys.items()}}
        link = {"address": "nowhere:1", "certificate": "none", "secret": "none"}
        engine = {**content["engine"], "name": "superlink", "link": link, "timeout": 1.0}
        return parse({**content, "cohort": {}, "hospitals": {"assignment": rule}, "engine": engine}, "at sites")

    def run(self, config: StudyConfig, out: Path, report: Report = lambda _: None) -> Path:
        """Run a study's server to its end."""
        at_sites(config, out, report, lambda run: run(SitesGrid(self)))
        return out


class SitesGrid(InlineGrid):
    """Nodes of real hospitals in this process; each has the key of the hospital whose node it is."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites
        super().__init__(app_at(Path()), len(sites.nodes))
        self._contexts = dict(zip(sites.nodes, self._contexts, strict=True))

    def get_node_ids(self) -> list[int]:
        return list(self._sites.nodes)

    def get_nodes(self) -> list[NodeInfo]:
        keys = zip(self._sites.nodes, self._sites.keys.values(), strict=True)
        return [NodeInfo(node_id=node, public_key=pem_of(key)) for node, key in keys]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        ids = []
        for message in messages:
            self._app = app_at(self._sites.path(self._sites.nodes[message.metadata.dst_node_id]))
            ids += list(super().push_messages([message]))
            self._sites.replies.append(self._replies[ids[-1]])
        return ids


def new_key() -> ec.EllipticCurvePrivateKey:
    """Make a key of a node."""
    return ec.generate_private_key(ec.SECP384R1())


def ssh_of(key: ec.EllipticCurvePrivateKey) -> str:
    """Write a public key as `ssh-keygen` does."""
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Write a public key as Flower tells it."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def sites(joined: Cohort, write_part: Callable[..., None], tmp_path: Path) -> Sites:
    """Three hospitals with a third of the joined cohort each."""
    made = Sites(tmp_path / "sites", NAMES)
    for name in NAMES:
        own = joined.patients.index[joined.patients["hospital"] == name.removeprefix("hospital-")]
        write_part(joined, made.folder / name / "cohort", own)
        made.write(name)
    return made


@pytest.fixture
def small(small_study: dict[str, Any], joined: Cohort) -> dict[str, Any]:
    """The small study on the joined cohort: its hospitals are those of the column."""
    small_study["cohort"]["path"] = str(joined.folder)
    small_study["hospitals"] = {"assignment": {"by": "attribute", "attribute": "hospital"}}
    return small_study | {"arms": ["local", "federated"], "federation": {"rounds": 2, "local_steps": 1}}
