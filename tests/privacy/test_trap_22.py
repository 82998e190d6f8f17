"""Trap 22: paths in messages, and what errors tell of files. Everything goes through the client app."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ConfigRecord, Message, RecordDict

from fedmammo.cohort.store import Cohort
from fedmammo.config.deployment import Deployment
from fedmammo.errors import StudyError
from fedmammo.federation.bundle import software
from fedmammo.federation.client_app import HELLO, kind_of
from fedmammo.hospitals.site import open_cohort
from fedmammo.privacy.reasons import RefusalError
from fedmammo.stages.hospital import work
from fedmammo.stages.stage import Job

Deploy = Callable[..., Any]
PROTECTED = r"^refused: patients (are|who are) protected by a budget"


def approved(one: Any, *deployments: Deployment) -> Any:
    """The hospital's people agree to what deployments do."""
    for deployment in deployments or (one.deployment,):
        one.site(0).approve(deployment.study)
    return one


def altered(deployment: Deployment, **changes: Any) -> str:
    """A deployment's text with some keys of it changed, or sections where their values are tables."""
    content = deployment.model_dump(mode="json")
    for key, value in changes.items():
        content[key] = content[key] | value if isinstance(value, dict) and isinstance(content.get(key), dict) else value
    return json.dumps(content)


PATHS = ["../..", "/etc/passwd", "../../../../tmp/x", "", "a/b", ".", "A" * 64, "0" * 63 + "/"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("field", ["deployment", "plan", "pool"])
def test_trap_22_paths_where_digests_belong(deploy: Deploy, tmp_path: Path, path: str, field: str) -> None:
    """In a job, whatever its stage; no file is made, none is read, and the answer does not say what is there."""
    one = deploy()
    one.agree(0)
    before = sorted(tmp_path.rglob("*"))
    for stage in ("train", "share", "features", "agree", "score"):
        job = {"stage": stage, "deployment": one.deployment.digest, "round": 1, field: path}
        with pytest.raises(RefusalError) as refused:
            one.ask(0, json.dumps(job), {"arrays": one.model})
        assert str(refused.value) == (
            "refused: not a job that is understood here: what is named by a digest has another name"
        )
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("round_", [-1, "1", 1.5, True, None])
def test_trap_22_rounds_that_are_none(deploy: Deploy, round_: Any) -> None:
    one = deploy()
    one.agree(0)
    job = {"stage": "train", "deployment": one.deployment.digest, "round": round_, "plan": one.plan.digest}
    with pytest.raises(RefusalError, match=r"^refused: not a job that is understood here: a value of another kind$"):
        one.ask(0, json.dumps(job), {"arrays": one.model})
    nobody_knows = json.dumps({"stage": "rm", "deployment": "0" * 64})
    for text in ("", "[]", "3", '{"stage": ["train"], "deployment": ""}', nobody_knows):
        with pytest.raises(RefusalError, match=r"^refused: "):
            one.ask(0, text, {"arrays": one.model})


@pytest.mark.parametrize(
    "change",
    [
        {"arm_name": "../.."},
        {"setting_name": "../../real"},
        {"setting_name": "real-epsilon-../6"},
        {"seed": "../0"},
        {"draw": -1},
        {"diagnosis": {"harmonisation": "../window"}},
        {"federation": {"strategy": {"name": "../fedavg"}}},
    ],
)
def test_trap_22_names_in_a_deployment_are_no_paths(deploy: Deploy, tmp_path: Path, change: dict[str, Any]) -> None:
    """Names of files are made of choices and numbers; only algorithms that the site file lists are imported."""
    one = deploy()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RefusalError, match=r"^refused: not a deployment that is understood here$"):
        one.ask(0, Job("declare", one.deployment.digest), text=altered(one.deployment, **change))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("arm", ["without_one", "coalitions"])
@pytest.mark.parametrize("group", ["x/../../escaped", "without-../x", "without-", "without-hospital-1", "a/b", "b"])
def test_trap_22_a_part_of_the_hospitals_is_called_as_its_arm_calls_it(
    deploy: Deploy, tmp_path: Path, arm: str, group: str
) -> None:
    """What people approve of names no part, and generators' ledgers are called by it: one in another folder would be
    on no odometer, and under each new name a budget anew.
    """
    one = deploy()
    before = sorted(tmp_path.rglob("*"))
    for members in (["hospital-1", "hospital-2"], ["hospital-1", "../x"]):
        text = altered(one.deployment, arm_name=arm, group=group, members=members)
        with pytest.raises(RefusalError, match=r"^refused: not a deployment that is understood here$"):
            one.ask(0, Job("declare", one.deployment.digest), text=text)
    assert sorted(tmp_path.rglob("*")) == before


def test_trap_22_algorithms_are_not_imported_by_their_paths(deploy: Deploy) -> None:
    """Refused before anything is imported: a module need not hold an algorithm to do harm."""
    one = deploy()
    text = altered(one.deployment, federation={"strategy": {"name": "this:Zen"}})
    with pytest.raises(RefusalError, match=r"^refused: algorithm this:Zen is not in algorithms of the site file$"):
        one.ask(0, Job("declare", one.deployment.digest), text=text)
    assert "this" not in sys.modules


@pytest.mark.parametrize("how", [{"weights": "/etc/passwd"}, {"network": "local-dir:/etc"}, {"network": "../x"}])
def test_trap_22_networks_and_weights_are_no_paths(deploy: Deploy, tmp_path: Path, how: dict[str, str]) -> None:
    """Weights are those that the site file names by digest; and a real hospital does not say why it could not."""
    one = deploy(real={})
    deployment = one.of("real-epsilon-6", diagnosis=how)
    approved(one, deployment).declare(0, deployment)
    with pytest.raises(StudyError, match=r"^failed$"):
        one.ask(0, Job("features", deployment.digest))


def test_trap_22_what_files_hold_stays_at_home(deploy: Deploy, own_cohort: Cohort) -> None:
    """A real hospital whose cohort cannot be read says so to nobody, not even when asked for its name."""
    one = deploy(real={}, cohort=own_cohort)
    approved(one)
    open_cohort.cache_clear()
    (own_cohort.folder / "cohort.json").write_text("a secret")
    with pytest.raises(StudyError, match=r"^failed$"):
        one.declare(0, one.of("real-epsilon-6", seed=1, draw=5))
    greeting = RecordDict({"about": ConfigRecord({"software": software()})})
    (reply,) = one._grid.send_and_receive([Message(greeting, 0, kind_of(HELLO))])
    assert reply.has_error() and reply.error.reason == "failed"


def test_trap_22_a_site_of_its_own_believes_no_digest_either(deploy: Deploy, tmp_path: Path) -> None:
    """Below the client app: whoever hands a site a job, in whatever way it came."""
    one = deploy()
    (one.folder(0) / "deployments").mkdir(exist_ok=True)
    (tmp_path / "other.json").write_text(one.deployment.model_dump_json())
    for digest in ("../../../other", str(tmp_path / "other"), ""):
        with pytest.raises(RefusalError, match=r"^refused: that is not a digest$"):
            work(one.site(0), Job("train", digest), {"arrays": one.model})


def test_counts_stay_at_home_under_a_budget(deploy: Deploy) -> None:
    """Trap 13 at the door: a stage whose fields are local answers, and the answer does not leave."""
    one = deploy(
        settings=["pretrained-epsilon-6"],
        synthesis={"source": "gan", "method": "mean_embedding"},
        privacy={"generator_share": 0.5},
    )
    one.agree(0)
    with pytest.raises(RefusalError, match=r"^refused: benign of stage count is not for others to see$"):
        one.ask(0, Job("count", one.deployment.digest, plan=one.plan.digest))
    plain = deploy("plain")
    plain.agree(0)
    with pytest.raises(RefusalError, match=r"^refused: the budget has no part for stage count$"):
        plain.ask(0, Job("count", plain.deployment.digest, plan=plain.plan.digest))
