"""Whole private studies on the inline grid: what is told at the end, kills and resumptions, servers that deviate."""

import json
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from flwr.app import Context, Message
from flwr.serverapp import Grid

from fedmammo.cohort.store import Cohort
from fedmammo.config.study import StudyConfig, parse
from fedmammo.errors import StudyError
from fedmammo.federation.client_app import app_of
from fedmammo.federation.inline_grid import InlineGrid
from fedmammo.hospitals.site_file import read_site_file
from fedmammo.privacy.accounting import epsilon
from fedmammo.run.results import FINISHED
from fedmammo.study import simulate

NAME = "federated-real-epsilon-6-seed0-draw0-fold0"
Events = Callable[[dict[str, Any]], None]
Change = Callable[[Message], None]


def go(config: StudyConfig, out: Path, change: Change = lambda _: None, report: Events = lambda _: None) -> Path:
    """Run a study on the inline grid, behind a server that changes what it asks."""

    def on_grid(hospitals: Path, nodes: int, run: Callable[[Grid], None]) -> None:
        app = app_of(hospitals)

        def altered(message: Message, context: Context) -> Message:
            change(message)
            return app(message, context)

        run(InlineGrid(altered, nodes))  # type: ignore[arg-type]

    simulate(config, out, report, on_grid)
    return out


@pytest.fixture
def config(phantom_study: dict[str, Any]) -> StudyConfig:
    phantom_study |= {"arms": ["federated"], "settings": ["real", "real-epsilon-6"], "privacy": {"secret_seed": 1}}
    return parse(phantom_study, "private")


def contents(run: Path) -> dict[str, bytes]:
    """What must be the same in equal runs."""
    found = [path for path in run.rglob("*") if path.is_file() and path.name not in {"timings.csv", "run.log", ".lock"}]
    return {str(path.relative_to(run)): path.read_bytes() for path in found}


def ledgers(run: Path) -> list[list[dict[str, Any]]]:
    """The releases that each hospital's ledger holds."""
    files = [run / "hospitals" / f"hospital-{number}" / "ledger" / f"{NAME}.jsonl" for number in (1, 2, 3)]
    lines = [[json.loads(line) for line in file.read_text().splitlines()] for file in files]
    return [[line for line in own if "request" in line] for own in lines]


def killed_at(fsync: int, work: Callable[[], Any]) -> bool:
    """Do something in a fork that SIGKILL ends when it flushes a file for the n-th time; whether it came so far."""
    pid = os.fork()
    if pid == 0:
        flush, calls = os.fsync, []

        def counted(descriptor: int) -> None:
            calls.append(descriptor)
            if len(calls) == fsync:
                os.kill(os.getpid(), signal.SIGKILL)
            flush(descriptor)

        os.fsync = counted
        try:
            work()
        finally:
            os._exit(0)
    status = os.waitpid(pid, 0)[1]
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def test_a_hospital_killed_anywhere_between_drawing_and_delivery(deploy: Callable[..., Any]) -> None:
    """At each flush of a release in turn (state, bytes, line, folder): asked again it answers the same, paid once."""
    whole = deploy("whole")
    whole.agree(0)
    expected, told = whole.train(0)
    kills = 0
    while True:
        deployment = deploy(f"killed-{kills}")
        deployment.agree(0)
        if not killed_at(kills + 1, partial(deployment.train, 0)):
            break
        kills += 1
        sent, numbers = deployment.train(0)
        (line,) = deployment.ledger(0)
        assert numbers == told and numbers["epsilon"] == line["epsilon"]["0.0001"]
        assert {name: tensor.tolist() for name, tensor in sent.items()} == {
            name: tensor.tolist() for name, tensor in expected.items()
        }
        (kept,) = deployment.kept(0)
        assert all((kept[name] == tensor).all() for name, tensor in sent.items())
    assert kills >= 6


@pytest.fixture
def finished(config: StudyConfig, tmp_path: Path) -> Path:
    return go(config, tmp_path / "whole")


def test_a_study_tells_what_its_ledgers_say(finished: Path) -> None:
    """Two rounds of two steps at each hospital; the table's epsilon is the ledgers' last; a seeded secret is marked."""
    for own in ledgers(finished):
        assert [line["round"] for line in own] == [1, 2]
        sigma = own[0]["mechanism"]["noise_multiplier"]
        assert [line["epsilon"]["0.0001"] for line in own] == [epsilon(((1.0, sigma, n),), 1e-4) for n in (2, 4)]
    spent = ledgers(finished)[0][-1]["epsilon"]["0.0001"]
    results = pd.read_csv(finished / "results.csv").groupby("setting").first()
    assert results["epsilon"]["real-epsilon-6"] == pytest.approx(spent, rel=1e-9) and 5.9 < spent <= 6
    expected = {"real": "none", "real-epsilon-6": "none", "assessment": "no patient"}  # the reader's
    assert results["end_to_end"].to_dict() == expected
    rounds = pd.read_csv(finished / "rounds.csv").query("setting == 'real-epsilon-6'")
    assert rounds["epsilon_spent"].tolist() == pytest.approx(
        3 * [ledgers(finished)[0][0]["epsilon"]["0.0001"]] + 3 * [spent]
    )
    assert rounds["loss"].isna().all() and rounds["simulated_seconds"].isna().all()


def test_a_study_killed_while_it_releases_goes_on_to_the_same_bytes(
    config: StudyConfig, finished: Path, tmp_path: Path
) -> None:
    """The setting with a budget alone, killed at the fifteenth flush after its hospitals agreed; then resumed."""
    agreed: list[bool] = []

    def first() -> None:
        def report(event: dict[str, Any]) -> None:
            if event["stage"] == "agree" and not agreed:
                agreed.append(True)
                flush, calls = os.fsync, []

                def counted(descriptor: int) -> None:
                    calls.append(descriptor)
                    if len(calls) == 15:
                        os.kill(os.getpid(), signal.SIGKILL)
                    flush(descriptor)

                os.fsync = counted

        go(config, tmp_path / "killed", report=report)

    assert killed_at(10**9, first)
    before = ledgers(tmp_path / "killed")
    assert any(before) and not (tmp_path / "killed/results.csv").exists()
    resumed = go(config, tmp_path / "killed")
    assert [own[: len(kept)] for own, kept in zip(ledgers(resumed), before, strict=True)] == before
    assert contents(resumed) == contents(finished)


# Servers that deviate


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"round": 3}, "refused: round 3 was asked for, 2 were agreed to"),
        ({"plan": "0" * 64}, "refused: it was not agreed to this plan"),
        ({"deployment": "0" * 64}, "refused: no deployment of this digest was agreed to here"),
        ({"noise_multiplier": 0}, "refused: not a job that is understood here"),
    ],
)
def test_a_server_that_deviates_is_refused_by_every_hospital(
    config: StudyConfig, tmp_path: Path, asked: dict[str, Any], reason: str
) -> None:
    """The study ends with that message; what was finished before, the setting without a budget, has its results."""

    def change(message: Message) -> None:
        record = message.content.config_records.get("config")
        job = json.loads(str(record["job"])) if record else {}
        if record and job["stage"] == "train" and "plan" in job:
            record["job"] = json.dumps(job | asked)

    seen: list[dict[str, str]] = []

    def report(event: dict[str, Any]) -> None:
        if event["deployment"]["setting"] == "real-epsilon-6" and event["stage"] == "train":
            seen.append(event["hospitals"])

    with pytest.raises(StudyError) as ended:
        go(config, tmp_path / "run", change, report)
    assert reason in str(ended.value) and "\n" not in str(ended.value)
    assert "0 of 3 hospitals answered" in str(ended.value)
    (statuses,) = seen
    assert len(statuses) == 3 and all(reason in status for status in statuses.values())
    assert ledgers(tmp_path / "run") == [[], [], []]
    assert set(pd.read_csv(tmp_path / "run/results.csv")["setting"]) == {"real", "assessment"}
    assert not (tmp_path / "run" / FINISHED).exists(), "a report of it would leave out the setting with a budget"


def test_others_do_not_go_on_without_a_hospital_that_refuses(config: StudyConfig, tmp_path: Path) -> None:
    """The last of three is asked by another plan: the study ends, although the others answered."""

    def change(message: Message) -> None:
        record = message.content.config_records.get("config")
        job = json.loads(str(record["job"])) if record else {}
        if record and job["stage"] == "train" and "plan" in job and message.metadata.dst_node_id == 2:
            record["job"] = json.dumps(job | {"plan": "0" * 64})

    with pytest.raises(
        StudyError, match=r"2 of 3 hospitals answered, .*; hospital-3 failed: RefusalError: refused: it"
    ):
        go(config, tmp_path / "run", change)


def test_a_plan_beyond_a_hospitals_limits_ends_the_study(
    phantom_study: dict[str, Any], phantom_cohort: Cohort, tmp_path: Path
) -> None:
    (tmp_path / "a.yaml").write_text("{name: A, privacy: {maximum_epsilon: 5}}")
    (tmp_path / "b.yaml").write_text("{name: B}")
    profiles = [str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]
    phantom_study |= {
        "settings": ["real-epsilon-6"],
        "hospitals": {"assignment": {"by": "profiles", "profiles": profiles}},
    }
    with pytest.raises(
        StudyError, match=r"A failed: RefusalError: refused: epsilon 6\.0 is not between 0 and the maximum"
    ):
        go(parse(phantom_study | {"arms": ["federated"]}, ""), tmp_path / "run")


def test_a_hospital_refuses_whatever_has_no_budget(
    phantom_study: dict[str, Any], phantom_cohort: Cohort, tmp_path: Path
) -> None:
    """Unless its profile says otherwise. Whoever holds all patients keeps to what each hospital allows."""
    (tmp_path / "a.yaml").write_text("{name: A}")
    (tmp_path / "b.yaml").write_text("{name: B, privacy: {without_budget: accepted, central_trust: accepted}}")
    dealt = {"by": "profiles", "profiles": [str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]}
    phantom_study |= {"hospitals": {"assignment": dealt}, "arms": ["federated"]}
    go(parse(phantom_study | {"settings": ["real-epsilon-6"]}, ""), tmp_path / "private")
    with pytest.raises(StudyError, match="A failed: RefusalError: refused: without_budget: refused"):
        go(parse(phantom_study | {"settings": ["real"]}, ""), tmp_path / "run")
    with pytest.raises(StudyError, match="A failed: RefusalError: refused: without_budget: refused"):
        go(parse(phantom_study | {"settings": ["real"], "arms": ["centralized"]}, ""), tmp_path / "pooled")
    assert read_site_file(tmp_path / "pooled/hospitals/all/site.yaml").limits.without_budget == "refused"
    central = {"settings": ["real-epsilon-6"], "privacy": {"trust": "central"}}
    phantom_study["federation"] = {"rounds": 1, "local_steps": 1}
    with pytest.raises(StudyError, match="A failed: RefusalError: refused: central_trust: refused"):
        go(parse(phantom_study | central, ""), tmp_path / "central")
