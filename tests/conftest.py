"""What several rooms' tests share."""

import gc
import json
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: sums depend on the number of threads
if gc.isenabled():  # until all is imported and collected, of which nothing is garbage: a quarter of the time
    gc.disable()

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from flwr.serverapp import Grid
from hypothesis import settings

import fedmammo.models.torchvision_guard  # noqa: F401  (before any test imports timm, torchvision or torchmetrics)
from fedmammo.cohort.prepare import prepare
from fedmammo.cohort.store import KEY, MANIFEST_COLUMNS, PATCHES, Cohort, finish_cohort, write_header
from fedmammo.config.deployment import Deployment
from fedmammo.config.study import StudyConfig, parse
from fedmammo.disk.files import alone
from fedmammo.federation.checkpoint import Checkpoint
from fedmammo.federation.client_app import app_of
from fedmammo.federation.inline_grid import InlineGrid
from fedmammo.federation.rounds import Deployed, RoundsOf
from fedmammo.federation.server import Report, Server
from fedmammo.hospitals.dealing import deal, write_sites
from fedmammo.hospitals.site import Site
from fedmammo.models.classifier import initial_model
from fedmammo.phantom.tree import write_tree
from fedmammo.privacy.answer import Answer
from fedmammo.privacy.plan import Plan
from fedmammo.privacy.secret import Secret
from fedmammo.stages.hospital import work
from fedmammo.stages.planning import plan_of
from fedmammo.stages.stage import Incoming, Job
from fedmammo.stages.train import Train
from fedmammo.study import simulate
from fedmammo.synthesis import radiomics

settings.register_profile("same every time", derandomize=True, deadline=None)  # what passes here passes everywhere
settings.load_profile("same every time")


LONGEST = (
    "test_ray.py", "test_run.py", "test_corpus.py", "test_machines_that_die.py", "test_cli_processes.py",
    "test_surroundings.py", "test_library.py", "test_low_bits.py", "test_private_generators.py", "test_disks.py",
    "test_superlink.py", "test_at_home.py", "test_attempts.py", "test_accounting.py", "test_generators.py",
    "test_settings.py", "test_course.py", "test_audit_parts.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files: all processes then end at about the same time."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_collection_finish() -> None:
    """Look for garbage among all that was imported never again, as the study's process does."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _no_power_cut() -> Iterator[None]:
    """Processes are killed here, which loses nothing that was written: nobody waits for disks."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real patches, CSVs and weights; tests that need it skip where it is missing."""
    folder = Path(os.environ.get("FEDMAMMO_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"the real patches are not here: set FEDMAMMO_SHARED (looked in {folder})")
    return folder


@pytest.fixture(scope="session")
def phantom_cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """24 drawn patients with 46 images: 20 in `train`, 10 of them malignant, and 4 in `test`; not to be altered.

    Drawn once for all processes that run tests.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "phantom"
    with alone(folder):
        if not (folder / "cohort").exists():
            write_tree(folder / "tree", patients=24, seed=26)
            prepare(folder / "tree", folder / "cohort")
    return Cohort.open(folder / "cohort")


@pytest.fixture
def own_cohort(phantom_cohort: Cohort, tmp_path: Path) -> Cohort:
    """A copy of the phantom cohort without any computed features, for one test."""
    shutil.copytree(phantom_cohort.folder, tmp_path / "cohort", ignore=shutil.ignore_patterns("features"))
    return Cohort.open(tmp_path / "cohort")


COUNTED = ("size", "images", "patients", "quarantined", "digest")  # of a cohort's facts


@pytest.fixture(scope="session")
def write_part() -> Callable[..., None]:
    """Write a cohort of some patients of another, under its key: pseudonyms stay.

    `hospitals`: values of an attribute `hospital`, one for each image that is kept.
    """

    def write(cohort: Cohort, folder: Path, patients: Sequence[str], hospitals: Sequence[str] | None = None) -> None:
        rows = cohort.manifest.index[cohort.manifest["patient"].isin(list(patients))]
        manifest = cohort.manifest.loc[rows].reset_index(drop=True)
        if hospitals is not None:
            manifest["hospital"] = list(hospitals)
        folder.mkdir(parents=True)
        shutil.copy(cohort.folder / KEY, folder / KEY)
        with (folder / PATCHES).open("wb") as file:
            write_header(file, 0, cohort.patches.shape[1])
            file.write(cohort.patches[rows].tobytes())
        facts = {name: value for name, value in cohort.facts.items() if name not in COUNTED}
        attributes = [name for name in manifest if name not in MANIFEST_COLUMNS]
        finish_cohort(folder, manifest, attributes, [], cohort.patches.shape[1], facts)

    return write


@pytest.fixture(scope="session")
def new_study() -> Callable[[], dict[str, Any]]:
    """Make a valid study as YAML would give it, to be changed at will: a random tiny ViT on three equal hospitals."""
    return lambda: {
        "name": "small",
        "cohort": {"path": "nowhere"},
        "hospitals": {"assignment": {"by": "uniform", "count": 3}},
        "diagnosis": {
            "network": "test_vit",
            "weights": "none",
            "image_size": 32,
            "optimizer": {"learning_rate": 0.01},
        },
        "federation": {"rounds": 2, "local_steps": 2},
        "engine": {"name": "inline", "device": "cpu", "checkpoint_seconds": 0},
        "evaluation": {},
    }


@pytest.fixture
def small_study(new_study: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A study of one's own (`new_study`)."""
    return new_study()


@pytest.fixture
def phantom_study(small_study: dict[str, Any], phantom_cohort: Cohort) -> dict[str, Any]:
    """The small study on the phantom cohort."""
    small_study["cohort"]["path"] = str(phantom_cohort.folder)
    return small_study


@pytest.fixture
def phantom_config(phantom_study: dict[str, Any]) -> StudyConfig:
    """The small study on the phantom cohort, as it is."""
    return parse(phantom_study, "small")


@pytest.fixture
def without_radiomics(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without the extra: radiomic features take a quarter of a second an image."""
    monkeypatch.setattr(radiomics, "is_installed", lambda: False)


def inline(hospitals: Path, nodes: int) -> Grid:
    """The inline grid of the hospitals below a folder."""
    return InlineGrid(app_of(hospitals), nodes)


@pytest.fixture(scope="session")
def run_inline() -> Callable[..., Path]:
    """Run a study on the inline grid, as the engine's child does; returns the folder of the run.

    `grid` makes another one, when the hospitals' site files are written; `report` is told what happens.
    """

    def finish(
        config: StudyConfig, out: Path, grid: Callable[[Path, int], Grid] = inline, report: Report = lambda _: None
    ) -> Path:
        simulate(config, out, report, lambda hospitals, nodes, run: run(grid(hospitals, nodes)))
        return out

    return finish


class Hospitals:
    """The simulated hospitals of a study, spoken to as an honest server would.

    Attributes:
        config: the study.
        folder: of all hospitals; each has its site file and its state below.
        sites: by name, in order; where an arm needs it the holder of all patients, `all`, is the last.
    """

    def __init__(self, content: dict[str, Any], folder: Path) -> None:
        self.config = parse(content, "small")
        self.folder = folder
        files = write_sites(folder, self.config, deal(Cohort.open(Path(self.config.cohort.path)), self.config))
        self.sites = {path.parent.name: Site.open(path) for path in files}

    def begin(self, deployment: Deployment, features: bool = True) -> Plan | None:
        """Let everybody who trains read a deployment, agree to its plan where there is one, and compute features."""
        members = self.members(deployment)
        text = deployment.model_dump_json()
        sizes = {}
        for name in members:
            declared = work(self.sites[name], Job("declare", deployment.digest), {}, text)
            sizes[name] = int(declared.numbers["num-examples"])
        plan = plan_of(deployment, sizes)
        for name in members:
            if plan is not None:
                work(self.sites[name], Job("agree", deployment.digest, plan=plan.digest), {}, json.dumps(sizes))
            while features and self.work(name, deployment, "features", 1).numbers["remaining"]:
                pass
        return plan

    def members(self, deployment: Deployment) -> list[str]:
        """Everybody who trains."""
        hospitals = [name for name in self.sites if name != "all"]
        return [name for group in deployment.groups(hospitals) for name in group.members]

    def work(
        self,
        name: str,
        deployment: Deployment,
        stage: str,
        number: int = 0,
        incoming: Incoming | None = None,
        **job: Any,
    ) -> Answer:
        """Ask a hospital to do a stage; `job`: what else a job may say."""
        return work(self.sites[name], Job(stage, deployment.digest, number, **job), incoming or {})

    def files(self, names: Sequence[str] = ()) -> dict[str, bytes]:
        """What the hospitals keep, or these alone."""
        found = [path for path in sorted(self.folder.rglob("*")) if path.is_file()]
        mine = [path for path in found if not names or path.relative_to(self.folder).parts[0] in names]
        return {str(path): path.read_bytes() for path in mine}


@pytest.fixture(scope="session")
def hospitals_of() -> type[Hospitals]:
    """Write the sites of a study into a folder, and open them."""
    return Hospitals


class Federation:
    """Hospitals of a study with one setting on the inline grid, all ready to train, and the server that asks them.

    `grid` makes another one, as in `run_inline`.
    """

    def __init__(self, content: dict[str, Any], run: Path, grid: Callable[[Path, int], Grid] = inline) -> None:
        self.run = run
        self.hospitals = Hospitals({"arms": ["federated"], **content}, run / "hospitals")
        config = self.hospitals.config
        self.deployment = config.deployment(next(iter(config.arms)), next(iter(config.settings)))
        names = self.hospitals.members(self.deployment)
        self.server = Server(grid(self.hospitals.folder, len(self.hospitals.sites)), names, 60.0, lambda _: None)
        self.plan = self.hospitals.begin(self.deployment)
        sizes = {name: len(self.hospitals.sites[name].holder(self.deployment).training) for name in names}
        groups = self.deployment.groups([name for name in self.hospitals.sites if name != "all"])
        secret = Secret(bytes(32))
        self.deployed = Deployed(self.deployment, groups, sizes, self.plan, secret, torch.device("cpu"))
        self.initial = initial_model(self.deployment.diagnosis, 0)

    @property
    def path(self) -> Path:
        """Where the server keeps how far it is."""
        return self.run / "checkpoint.safetensors"

    def train(self) -> Checkpoint:
        """Take all rounds that are not taken yet."""
        first = {group.name: self.initial for group in self.deployed.groups}
        return RoundsOf(self.server, self.deployed, Train()).run(first, self.path)


@pytest.fixture(scope="session")
def federation_of() -> type[Federation]:
    """Make the hospitals of a study and their server in a folder."""
    return Federation
