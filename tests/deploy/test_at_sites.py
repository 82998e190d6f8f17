"""A study at real hospitals, all in this process: what they refuse, what leaves them, what stays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fedmammo.commands.canary import shortest, taken
from fedmammo.config.deployment import Deployment
from fedmammo.config.study import parse
from fedmammo.errors import InputError, StudyError
from fedmammo.evaluation.predictions import COLUMNS
from fedmammo.federation import bundle
from fedmammo.hospitals.site import Site
from fedmammo.hospitals.stopping import start, stop
from fedmammo.privacy.masks import public_key
from fedmammo.privacy.reasons import REASONS, RefusalError
from fedmammo.privacy.secret import Secret
from fedmammo.stages.hospital import work
from fedmammo.stages.stage import Job

Small = dict[str, Any]
NORTH, SOUTH, WEST = NAMES = "hospital-north", "hospital-south", "hospital-west"


@pytest.mark.parametrize(("change", "reason"), [({"limits": {}}, "without_budget"), ({"cohort": "nowhere"}, "failed")])
def test_a_hospital_says_one_word_and_keeps_the_rest_to_itself(
    sites: Any, small: Small, tmp_path: Path, change: dict[str, Any], reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    config = sites.study(small)
    sites.approve(config)
    sites.write(SOUTH, **change)
    with pytest.raises(StudyError) as caught:
        sites.run(config, tmp_path / "run")
    assert REASONS[reason] in str(caught.value)  # type: ignore[index]
    errors = [reply.error.reason for reply in sites.replies if reply.has_error()]
    assert set(errors) == {reason}
    assert str(tmp_path) not in str(caught.value)
    home = capfd.readouterr()
    assert (str(tmp_path) if reason == "failed" else "refused") in home.out + home.err


def test_a_hospitals_log_names_nobody(
    sites: Any, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever goes wrong: patients, their images and files are not named where it is written down."""
    config, named = sites.study(small), set[str]()
    sites.approve(config)

    def fail(_: str, patients: pd.DataFrame, __: Deployment) -> None:
        row = patients.iloc[0]
        named.update((str(row.name), row["image"], row["source"]))
        raise KeyError(f"{row.name} has no {row['image']} in {row['source']}")

    monkeypatch.setattr("fedmammo.hospitals.holder.divide", fail)
    with pytest.raises(StudyError, match=REASONS["failed"]):
        sites.run(config, tmp_path / "run")
    logged = capfd.readouterr()
    assert "KeyError: '(of a patient) has no (of a patient) in (of a patient)'" in logged.out
    assert named and not [name for name in named if name in logged.out + logged.err]


def test_nothing_is_done_that_people_did_not_approve(sites: Any, small: Small, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="refused: approval: the hospital's people have not approved this study"):
        sites.run(sites.study(small), tmp_path / "run")


def test_a_node_with_another_key_is_not_the_hospital_that_it_says(sites: Any, small: Small, tmp_path: Path) -> None:
    config = sites.study(small)
    sites.approve(config)
    first, second, _ = sites.nodes
    sites.nodes |= {first: SOUTH, second: NORTH}  # both say the other's name
    with pytest.raises(StudyError, match=f"no node answered as {NORTH}, {SOUTH} .*has not that hospital's key"):
        sites.run(config, tmp_path / "run")


def test_another_version_of_the_software_is_one_line_at_both_ends(
    sites: Any, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    config = sites.study(small)
    monkeypatch.setattr("fedmammo.federation.server.software", lambda: "9.9 0123")
    with pytest.raises(StudyError, match="refused: software: the hospital has another version of this software"):
        sites.run(config, tmp_path / "run")
    assert f"refused: the server has software 9.9 0123, here it is {bundle.software()}\n" in capfd.readouterr().out


def test_a_hospital_that_stopped_does_nothing_until_it_starts_again(sites: Any, small: Small, tmp_path: Path) -> None:
    config = sites.study(small)
    sites.approve(config)
    stop(sites.folder / WEST / "state" / WEST)
    with pytest.raises(StudyError, match="refused: stopped: the hospital has stopped its part"):
        sites.run(config, tmp_path / "run")
    with pytest.raises(RefusalError, match="refused: stopped by fedmammo site stop"):  # whoever asks, and for what
        work(Site.open(sites.path(WEST)), Job("score", "0" * 64), {})
    start(sites.folder / WEST / "state" / WEST)
    assert (sites.run(config, tmp_path / "run") / "results.csv").exists()


def test_models_of_one_hospital_stay_there_and_are_what_a_server_would_have_made(
    sites: Any, small: Small, run_inline: Callable[..., Path], tmp_path: Path
) -> None:
    """Nothing of one hospital alone leaves it, and its scores are those of the model that rounds would have made."""
    small = small | {"arms": ["local", "federated", "personalized", "without_one"]}
    small["federation"] |= {"averaged_rounds": 2}
    small["hospitals"]["assignment"]["names"] = [*NAMES]
    for name in sites.names:
        sites.write(name, local_models="home")
    config = sites.study(small)
    sites.approve(config)
    simulated, out = run_inline(parse(small, "joined"), tmp_path / "simulated"), sites.run(config, tmp_path / "run")
    models = {path.name for path in (out / "models").iterdir()}
    assert {name.partition("-")[0] for name in models} == {"federated", "without_one"}
    found, whole = (pd.read_csv(path / "predictions.csv")[[*COLUMNS]] for path in (out, simulated))
    alone = whole[(whole["trained_at"] == whole["hospital"]) | whole["arm"].isin(["federated", "without_one"])]
    assert found.to_csv() == alone.reset_index(drop=True).to_csv()
    told = pd.read_csv(out / "results.csv")  # no model is scored everywhere, so hospitals are told of one by one
    assert set(told["tested_at"]) == {*NAMES, "mean over hospitals", "all"}
    assert told.loc[told["tested_at"] == "all", "value"].isna().all()
    assert not list(sites.folder.rglob("own-model.safetensors"))  # all is dropped when a deployment is finished
    for reply in sites.replies:  # what came back of a hospital alone
        kind = reply.metadata.message_type
        if kind.endswith(("alone", "personalize")):
            assert not reply.content.array_records["arrays"]
            assert set(reply.content.metric_records["metrics"]) == {"num-examples"}


def test_a_hospital_does_not_answer_with_its_own_model_whatever_it_is_asked(
    sites: Any, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that asks for the rounds of a model that stays at home is refused, and the model is not there."""
    sites.write(NORTH, local_models="home")
    config = sites.study(small)
    sites.approve(config)
    monkeypatch.setattr("fedmammo.federation.hospitals.Hospitals.divide", lambda _, all: (all_of(all, 0), all))
    with pytest.raises(StudyError, match="refused: local_models: the hospital's own model does not leave it"):
        sites.run(config, tmp_path / "run")


def test_a_part_of_one_hospital_is_that_hospital_alone(sites: Any, small: Small) -> None:
    """What people approve of names no members: a server can ask for a model without everybody else."""
    config = sites.study(small | {"arms": ["without_one"]})
    sites.approve(config)
    content = next(iter(config.deployments)).model_dump(mode="json")
    one = Deployment.model_validate(content | {"group": f"without-{SOUTH}", "members": [NORTH]})
    work(Site.open(sites.path(NORTH)), Job("declare", one.digest), {}, one.model_dump_json())
    sites.write(NORTH, local_models="home")
    for job in (Job("declare", one.digest), Job("features", one.digest), Job("train", one.digest, 1)):
        with pytest.raises(RefusalError, match="refused: local_models: home; a model of this hospital alone"):
            work(Site.open(sites.path(NORTH)), job, {}, one.model_dump_json())


def all_of(deployed: Any, count: int) -> Any:
    """A deployment of so many of its groups."""
    from dataclasses import replace

    return replace(deployed, groups=deployed.groups[:count])


@pytest.mark.parametrize("trust", ["local", "secure"])
def test_a_canary_touches_nobody(sites: Any, small: Small, tmp_path: Path, trust: str) -> None:
    """No cohort is there, nothing is approved, and all limits stand against it: drawn patients alone take part. Nor do
    the keys by which hospitals hide their sums: those of peers are none here.
    """
    small |= {"settings": ["real-epsilon-6"], "privacy": {"trust": trust}}
    config = shortest(sites.study(small))
    for name in sites.names:
        peers = {other: "0" * 64 for other in sites.names if other != name}
        sites.write(name, limits={"maximum_epsilon": 0.1}, scores="not", local_models="home", peers=peers)
        drawn = sites.folder / name / "state" / name / "canary" / "cohort"  # by an earlier canary: it takes a while
        drawn.parent.mkdir(parents=True)
        (sites.folder / name / "cohort").rename(drawn)
    out = sites.run(config, tmp_path / "run")
    table = taken(pd.read_csv(out / "links.csv"))
    assert list(table["stage"][:7]) == ["declare", "agree", "features", "train", "score", "finish", "declare"]
    assert (table["messages"] == 1).all() and (table.loc[table["stage"] == "train", "bytes up"] > 0).all()
    assert len(pd.read_csv(out / "rounds.csv")) == 3
    for name in sites.names:
        kept = sites.folder / name / "state" / name
        assert [path.name for path in kept.iterdir()] == ["canary"]


def test_only_studies_at_real_hospitals_have_a_canary(small: Small) -> None:
    with pytest.raises(InputError, match="a canary flies to real hospitals"):
        shortest(parse(small, "small"))


def test_hospitals_share_the_noise_with_those_whose_keys_their_people_wrote_down(
    sites: Any, small: Small, run_inline: Callable[..., Path], tmp_path: Path
) -> None:
    """With the simulation's secrets the model is the simulation's; with a key from anybody else nothing adds up."""
    small |= {"arms": ["federated"], "settings": ["real-epsilon-6"]}
    trust = {"trust": "secure"}
    keys = {name: public_key(Secret.of(Path(name), 5)) for name in NAMES}
    for name in NAMES:
        others = {other: key for other, key in keys.items() if other != name}
        sites.write(name, secret_seed=5, peers=others)
    config = sites.study(small | {"privacy": trust})
    sites.approve(config)
    simulated = run_inline(parse(small | {"privacy": {**trust, "secret_seed": 5}}, "joined"), tmp_path / "simulated")
    out = sites.run(config, tmp_path / "run")
    for name in ("models/federated-real-epsilon-6-seed0-draw0-fold0-all.safetensors", "privacy.csv"):
        assert (out / name).read_bytes() == (simulated / name).read_bytes()
    sites.write(NORTH, peers={SOUTH: keys[WEST], WEST: keys[SOUTH]}, secret_seed=5, state="anew/hospital-north")
    Site.open(sites.path(NORTH)).approve(config.deployment("federated", "real-epsilon-6").study)
    with pytest.raises(StudyError, match="the hospitals' masks do not cancel; compare the keys under peers"):
        sites.run(config, tmp_path / "other")


GAN = {"source": "gan", "images": 6, "image_size": 32, "width": 4, "rounds": 1, "local_steps": 1, "batch": 2}


@pytest.mark.parametrize("synthesis", [{"source": "phantom", "images": 6}, GAN], ids=lambda one: one["source"])
def test_pools_come_to_hospitals_by_message(
    sites: Any, small: Small, run_inline: Callable[..., Path], tmp_path: Path, synthesis: dict[str, Any]
) -> None:
    """Each hospital keeps them in a folder of its own, and computes their features itself."""
    small |= {"arms": ["federated"], "settings": ["augmented"], "synthesis": synthesis}
    config = sites.study(small)
    sites.approve(config)
    out = sites.run(config, tmp_path / "run")
    simulated = run_inline(parse(small, "joined"), tmp_path / "simulated")
    for path in sorted((simulated / "models").iterdir()):
        assert (out / "models" / path.name).read_bytes() == path.read_bytes()
    assert all((sites.folder / name / "state" / name / "pools").is_dir() for name in NAMES)
