"""Studies over a real SuperLink, with a process, a user and a folder for each hospital: TLS, keys, kills, restarts."""

import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from flwr.serverapp import Grid

import fedmammo
from fedmammo.cohort.store import Cohort
from fedmammo.commands.canary import taken
from fedmammo.config.study import parse
from fedmammo.errors import StudyError
from fedmammo.federation import superlink
from fedmammo.federation.server import Real, Server
from tests.deploy.loopback import Loopback, loopback, until

NORTH, SOUTH, WEST = NAMES = ("hospital-north", "hospital-south", "hospital-west")
COLUMNS = ["density", "subtlety", "lesion_type", "view", "assessment"]
WILLING = {"scores": "rows", "columns": COLUMNS, "local_models": "shared", "limits": {"without_budget": "accepted"}}
SEED = 7  # of the hospitals' secrets, for the study with a budget
Small = dict[str, Any]


@pytest.fixture(scope="module")
def link(joined: Cohort, write_part: Callable[..., None]) -> Iterator[Loopback]:
    """A SuperLink to which three hospitals are connected; they are willing to do anything."""
    with tempfile.TemporaryDirectory(prefix="hospitals-") as folder, loopback(Path(folder), NAMES) as made:
        made.start_superlink()
        for name in NAMES:
            own = joined.patients.index[joined.patients["hospital"] == name.removeprefix("hospital-")]
            write_part(joined, made.folder / name / "cohort", own)
            made.write_site(name, **WILLING)
            made.register(name)
            made.serve(name)
        yield made


def run(link: Loopback, study: Small, out: Path, on_event: Callable[[dict[str, Any]], None] = lambda _: None) -> Path:
    """Run a study at the hospitals, to which their people agreed."""
    config = parse(link.study(study), "at sites")
    for name in NAMES:
        link.approve(name, {one.study for one in config.deployments})
    try:
        fedmammo.run_study(config, out, on_event)
    except StudyError as error:
        for name in NAMES:
            error.add_note(f"{name}:\n{link.log(name)[-2000:]}")
        raise
    return out


def equal(simulated: Path, real: Path) -> None:
    """Tables and models are the same to the last byte."""
    for table in ("results.csv", "rounds.csv", "comparisons.csv", "predictions.csv"):
        assert (real / table).read_bytes() == (simulated / table).read_bytes(), table
    models = sorted(path.name for path in (simulated / "models").iterdir())
    assert sorted(path.name for path in (real / "models").iterdir()) == models
    for name in models:
        assert (real / "models" / name).read_bytes() == (simulated / "models" / name).read_bytes(), name


def test_one_round_over_tls_is_that_of_the_simulation(
    link: Loopback, small: Small, run_inline: Callable[..., Path], tmp_path: Path
) -> None:
    """The shortest study: no hospital can read another's folder, and what it printed names no patient."""
    small = small | {"arms": ["federated"], "federation": {"rounds": 1, "local_steps": 1}}
    equal(run_inline(parse(small, "joined"), tmp_path / "simulated"), run(link, small, tmp_path / "real"))
    links = taken(pd.read_csv(tmp_path / "real" / "links.csv"))
    assert set(links["hospital"]) == set(NAMES) and (links["seconds"] > 0).all()
    for name in NAMES:
        folder = link.folder / name
        for path in [folder, *folder.rglob("*")]:
            assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
        patients = Cohort.open(folder / "cohort").patients.index
        assert not [patient for patient in patients if patient in link.log(name)]


@pytest.mark.long
def test_kills_and_restarts_in_mid_study_change_nothing(
    link: Loopback, small: Small, run_inline: Callable[..., Path], tmp_path: Path
) -> None:
    """A hospital is killed after a round of one arm and started again; the SuperLink is, in the other."""
    small["federation"] = {"rounds": 3, "local_steps": 2}
    done: list[str] = []

    def disturb(event: dict[str, Any]) -> None:
        at = f"{event['deployment']['arm']} {event['stage']} {event['round']}"
        if event["rows"] and at == "local train 1" and at not in done:
            link.kill(NORTH)
            link.serve_again(NORTH)
            done.append(at)
        if event["rows"] and at == "federated train 2" and at not in done:
            link.kill("server")
            link.start_superlink()
            done.append(at)

    equal(run_inline(parse(small, "joined"), tmp_path / "simulated"), run(link, small, tmp_path / "real", disturb))
    assert len(done) == 2


@pytest.mark.long
def test_a_budget_is_spent_once_whoever_is_killed(
    link: Loopback, small: Small, run_inline: Callable[..., Path], tmp_path: Path
) -> None:
    small |= {"settings": ["real-epsilon-6"], "federation": {"rounds": 3, "local_steps": 1}}
    seeded = parse(small | {"privacy": {"secret_seed": SEED}}, "joined")
    for name in NAMES:  # another state: before, something of these patients left without a budget
        link.write_site(name, **{**WILLING, "state": f"under-a-budget/{name}", "secret_seed": SEED})
    done: list[str] = []

    def disturb(event: dict[str, Any]) -> None:
        if event["rows"] and event["deployment"]["arm"] == "local" and event["round"] == 2 and not done:
            done.append("killed")
            link.kill(SOUTH)
            link.serve_again(SOUTH)

    real = run(link, small, tmp_path / "real", disturb)
    simulated = run_inline(seeded, tmp_path / "simulated")
    equal(simulated, real)
    for table in ("guarantees.csv", "privacy.csv"):
        assert (real / table).read_bytes() == (simulated / table).read_bytes()
    for name in NAMES:  # what the hospital has, what it showed, and what the simulation's has
        ledger = (link.folder / name / "under-a-budget" / name / "ledger").glob("*.jsonl")
        kept = sorted(path.read_text() for path in ledger)
        for folder in (real, simulated):
            assert kept == sorted(path.read_text() for path in (folder / "hospitals" / name / "ledger").glob("*.jsonl"))
    assert done


@pytest.mark.long
def test_strangers_are_turned_away(link: Loopback, small: Small, joined: Cohort, tmp_path: Path) -> None:
    """An unknown key, another authority, another's name, another app: each is told why, and takes no part."""
    for name in ("unknown", "elsewhere", "impostor"):
        link.make_key(link.folder / name / "key")
        shutil.copytree(joined.folder, link.folder / name / "cohort")
        link.write_site(name, **WILLING | {"name": NORTH if name == "impostor" else name})
        if name == "elsewhere":
            link.certificates("other", "other-server")
            shutil.copy(link.server / "other.crt", link.folder / name / "ca.crt")
            link.give_away(name)
        if name != "unknown":
            link.register(name)
        link.serve(name)
    until(lambda: not link.runs("unknown") and not link.runs("elsewhere"), 120)
    assert "Failed to activate SuperNode" in link.log("unknown")
    assert "CERTIFICATE_VERIFY_FAILED" in link.log("elsewhere")
    for name in ("unknown", "elsewhere"):
        assert f"fedmammo: {name}: the SuperNode ended with" in link.log(name)
    link.kill(NORTH)
    config = parse(link.study(small) | {"arms": ["federated"]}, "at sites")
    config = config.model_copy(update={"engine": config.engine.model_copy(update={"timeout": 20.0})})
    with pytest.raises(StudyError, match=f"no node answered as {NORTH} .*a node that says it is {NORTH} has not that"):
        fedmammo.run_study(config, tmp_path / "real")
    link.kill("impostor")
    link.serve_again(NORTH)


@pytest.mark.long
def test_another_app_than_the_hospitals_own_is_never_loaded(
    link: Loopback, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedmammo.federation.bundle.LICENSE", "Anything else.\n")
    for cached in (superlink.bundle, superlink.hash_of_bundle):
        cached.cache_clear()
    config = parse(link.study(small), "at sites")
    said: list[str] = []

    def greet(grid: Grid) -> None:
        Server(grid, NAMES, 30.0, lambda _: None, real=Real(link.keys, False, tmp_path / "links.csv", said.append))

    assert config.engine.link is not None
    with pytest.raises(StudyError, match="refused: app: the run brought another version of this software, or another"):
        superlink.on_superlink(config.engine.link, 30.0, greet)
    for cached in (superlink.bundle, superlink.hash_of_bundle):
        cached.cache_clear()
    until(lambda: all("refused: the run brought app" in link.log(name) for name in NAMES))


@pytest.mark.long
def test_a_hospital_that_refuses_or_is_stopped_says_why(link: Loopback, small: Small, tmp_path: Path) -> None:
    small |= {"arms": ["federated"]}
    for name in NAMES:  # another state: before, some of these patients may have had a budget
        link.write_site(name, **WILLING | {"state": f"anew/{name}", **({"limits": {}} if name == WEST else {})})
    with pytest.raises(StudyError, match=f"{WEST} failed: RefusalError: refused: without_budget"):
        run(link, small, tmp_path / "refused")
    link.write_site(WEST, **WILLING | {"state": f"anew/{WEST}"})
    stopped: list[str] = []

    def stop(event: dict[str, Any]) -> None:
        if event["stage"] == "train" and not stopped:
            stopped.append(WEST)
            link.tell(WEST, "site", "stop", "site.yaml")

    with pytest.raises(StudyError, match=f"{WEST} failed: RefusalError: refused: stopped: the hospital has stopped"):
        run(link, small, tmp_path / "stopped", stop)
    link.tell(WEST, "site", "start", "site.yaml")
    assert (run(link, small, tmp_path / "stopped") / "results.csv").exists()
