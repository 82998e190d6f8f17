"""The folder of a run: who may use it, when a deployment is finished, and what its tables hold."""

import fcntl
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml

from fedmammo.config.deployment import Deployment
from fedmammo.config.study import StudyConfig, dump, parse
from fedmammo.disk.files import read_tensors, write_tensors
from fedmammo.errors import InputError
from fedmammo.evaluation.predictions import COLUMNS
from fedmammo.run import folder as run_folder
from fedmammo.run.folder import RunFolder, read_config, write_rounds
from fedmammo.run.results import Run

DIGESTS = {"code": "c0de", "weights": "3e1", "cohort": "c0"}


@pytest.fixture
def config(small_study: dict[str, Any]) -> StudyConfig:
    return parse(small_study, "small")


@pytest.fixture
def deployment(config: StudyConfig) -> Deployment:
    """One of its deployments."""
    return config.deployment("local", "real", seed=3)


def changed(small_study: dict[str, Any], section: str, **values: Any) -> StudyConfig:
    return parse({**small_study, section: {**small_study[section], **values}}, "small")


def refused(out: Path, config: StudyConfig, expected: str, digests: dict[str, str] = DIGESTS) -> None:
    """Check that a folder is refused and left as it is."""
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=expected), RunFolder(out).opened(config, digests):
        pass
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.fixture
def run(config: StudyConfig, tmp_path: Path) -> Path:
    """A run of the small study that has begun."""
    with RunFolder(tmp_path / "run").opened(config, DIGESTS):
        pass
    return tmp_path / "run"


def test_a_run_says_of_what_it_is(run: Path, config: StudyConfig) -> None:
    assert read_config(run) == (config, DIGESTS)
    assert "rounds: 2" in (run / "config.yaml").read_text()


def test_the_same_study_is_taken_up_wherever_it_computes(run: Path, small_study: dict[str, Any]) -> None:
    elsewhere = changed(small_study, "engine", name="ray", address="somewhere:6379", timeout=5.0, gpus_per_hospital=0.5)
    with RunFolder(run).opened(elsewhere, DIGESTS):
        assert read_config(run)[0].engine.name == "ray"


def test_what_people_tell_of_a_study_may_change(run: Path, small_study: dict[str, Any]) -> None:
    told = parse({**small_study, "about": {"funding": "none"}}, "small")
    with RunFolder(run).opened(told, DIGESTS):
        assert read_config(run)[0].about.funding == "none"


@pytest.mark.parametrize(
    ("section", "values", "what"),
    [
        ("federation", {"rounds": 3}, "federation"),
        ("engine", {"threads_per_hospital": 2}, "engine"),
        ("cohort", {"path": "elsewhere"}, "cohort"),
    ],
)
def test_another_study_is_refused(
    run: Path, small_study: dict[str, Any], section: str, values: dict[str, Any], what: str
) -> None:
    refused(run, changed(small_study, section, **values), rf"holds a run of another study \({what} differ\)")


def test_other_code_weights_or_patients_are_refused(run: Path, config: StudyConfig) -> None:
    refused(run, config, r"\(the code, the weights differ\)", {**DIGESTS, "code": "new", "weights": "new"})
    refused(run, config, r"\(the cohort differ\)", {**DIGESTS, "cohort": "new"})


def test_what_belongs_to_somebody_else_is_left_alone(tmp_path: Path, config: StudyConfig) -> None:
    (tmp_path / "file").write_text("mine")
    refused(tmp_path / "file", config, "file: is a file")
    refused(tmp_path / "file/out", config, "cannot write there")
    refused(tmp_path, config, "is not empty and holds no run")
    with pytest.raises(InputError, match="cannot write there"), RunFolder(tmp_path / ("x" * 300)).opened(config, {}):
        pass


@pytest.mark.parametrize(
    "content", [b"", b"a: 1", b"- 1", b"digests: 1", b"digests: [1]", b"\xff\xfe", b"a: [", b"digests: {}"]
)
def test_a_foreign_config_yaml_is_refused(tmp_path: Path, config: StudyConfig, content: bytes) -> None:
    (tmp_path / "config.yaml").write_bytes(content)
    refused(tmp_path, config, "config.yaml: ")


def test_a_run_that_hardly_began_is_taken_up(tmp_path: Path, config: StudyConfig) -> None:
    """Killed before its configuration was in place: nothing is there but the lock and a file written beside."""
    for name in (".lock", "run.log", ".config.yaml.4711"):
        (tmp_path / name).write_text("")
    with RunFolder(tmp_path).opened(config, DIGESTS):
        assert read_config(tmp_path) == (config, DIGESTS)


def test_two_cannot_use_it_at_once(run: Path, config: StudyConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "LOCK_SECONDS", 0.2)
    with RunFolder(run).opened(config, DIGESTS):
        refused(run, config, "another process runs this study")
    with RunFolder(run).opened(config, DIGESTS):
        pass


def test_whoever_waited_looks_again(
    tmp_path: Path, config: StudyConfig, small_study: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two studies are started in one new folder: the second waits for the lock, and then finds the first."""
    other = changed(small_study, "federation", rounds=9)

    def first_was_faster(lock: Any, _: int) -> None:
        (tmp_path / "config.yaml").write_text(dump(other, digests=DIGESTS))

    monkeypatch.setattr(fcntl, "flock", first_was_faster)
    with pytest.raises(InputError, match="holds a run of another study"), RunFolder(tmp_path).opened(config, DIGESTS):
        pass
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["federation"]["rounds"] == 9


def predictions(deployment: Deployment, score: float) -> pd.DataFrame:
    """One image, whose pseudonyms look like numbers."""
    row = [*deployment.place.values(), "NA", "test", "NA", "0000000000000001", "1e4", "007", "1e5", 1, score]
    return pd.DataFrame([row], columns=list(COLUMNS))


def grown(small_study: dict[str, Any], **more: Any) -> StudyConfig:
    return parse({**small_study, **more}, "small")


def test_a_run_grows_by_seeds_draws_arms_and_settings(tmp_path: Path, small_study: dict[str, Any]) -> None:
    """What was there is still finished, by its name; a setting may bring a network of its own."""
    first = grown(small_study, arms=["federated"])
    with RunFolder(tmp_path / "run").opened(first, DIGESTS) as folder:
        for one in first.deployments:
            folder.finish(one, {}, [], pd.DataFrame(columns=list(COLUMNS)), seconds=0)
        assert folder.unfinished(first.deployments) == []
    hospitals = {**small_study["hospitals"], "seed": [0, 4]}
    more = {"arms": ["federated", "local"], "seeds": "0..2", "hospitals": hospitals}
    second = grown(small_study, **more)
    with RunFolder(tmp_path / "run").opened(second, DIGESTS | {"weights": f"{DIGESTS['weights']} another"}) as folder:
        left = folder.unfinished(second.deployments)
        assert len(left) == 2 * 3 * 2 - 1
        assert {one.name for one in second.deployments} - {one.name for one in left} == {
            one.name for one in first.deployments
        }


def test_new_settings_bring_a_source_of_images_and_another_source_is_another_study(
    tmp_path: Path, small_study: dict[str, Any]
) -> None:
    with RunFolder(tmp_path / "run").opened(grown(small_study), DIGESTS):
        pass
    more = {"settings": ["real", "pretrained"], "synthesis": {"source": "phantom"}}
    with RunFolder(tmp_path / "run").opened(grown(small_study, **more), DIGESTS | {"images": "1"}) as folder:
        assert folder.path.exists()
    refused(tmp_path / "run", grown(small_study, **more), r"the images differ", DIGESTS | {"images": "2"})
    more["synthesis"] = {"source": "phantom", "images": 8}
    refused(tmp_path / "run", grown(small_study, **more), r"synthesis differ", DIGESTS | {"images": "1"})


@pytest.mark.parametrize(
    ("less", "what"),
    [
        ({"seeds": [1]}, "federated-real-seed0-draw0-fold0 is missing from this study"),
        ({"arms": ["local"]}, "federated-real-seed0-draw0-fold0 is missing from this study"),
        ({"settings": {"real": {"federation.rounds": 7}}}, "federated-real-seed0-draw0-fold0 is another in this study"),
        ({"settings": ["real", "real-epsilon-6"]}, "federated-real-seed0-draw0-fold0 is another in this study"),
    ],
)
def test_what_a_run_has_stays_in_its_study(
    tmp_path: Path, small_study: dict[str, Any], less: dict[str, Any], what: str
) -> None:
    """A first budget divides patients without labels, in every setting: that is another study."""
    with RunFolder(tmp_path / "run").opened(grown(small_study, arms=["federated"]), DIGESTS):
        pass
    refused(tmp_path / "run", grown(small_study, **{"arms": ["federated"], **less}), what)


def test_a_finished_deployment(tmp_path: Path, deployment: Deployment) -> None:
    folder, model = RunFolder(tmp_path), {"head.weight": torch.arange(3.0)}
    write_tensors(folder.checkpoint(deployment), model)
    state, other = (
        tmp_path / "hospitals/A" / deployment.name / "state",
        tmp_path / "hospitals/A/another-deployment/state",
    )
    for path in (state, other):
        path.parent.mkdir(parents=True)
        path.write_text("")
    assert not folder.finished(deployment)

    folder.finish(deployment, {"A": model}, [{"arm": "local", "round": 1}], predictions(deployment, 0.5), seconds=1.234)
    assert folder.finished(deployment)
    assert torch.equal(read_tensors(folder.model(deployment, "A"))[0]["head.weight"], model["head.weight"])
    assert not folder.checkpoint(deployment).exists()
    assert not state.exists()
    assert other.exists()
    assert (tmp_path / "timings.csv").read_text() == "arm,setting,seed,draw,fold,seconds\nlocal,real,3,0,0,1.23\n"

    for table in ("rounds", "predictions"):
        path = folder.folder(deployment) / f"{table}.csv"
        content = path.read_text()
        path.unlink()
        assert not folder.finished(deployment)
        path.write_text(content)


def test_deployments_are_gathered_in_their_order_and_read_as_written(tmp_path: Path, config: StudyConfig) -> None:
    """Scores come back to the last bit, and names that look like numbers or missing values as text."""
    folder, found = RunFolder(tmp_path), [config.deployment("local", "real", seed) for seed in (10, 9)]
    scores = [0.1 + 0.2, 1 / 3]
    for one, score in zip(found, scores, strict=True):
        write_tensors(folder.checkpoint(one), {})
        folder.finish(one, {}, [{"seed": one.seed}], predictions(one, score), seconds=0)
    folder.collect(found)
    table = folder.predictions()
    pd.testing.assert_frame_equal(folder.predictions(found), table, check_exact=True)
    expected = [predictions(one, score) for one, score in zip(found, scores, strict=True)]
    pd.testing.assert_frame_equal(table, pd.concat(expected, ignore_index=True), check_exact=True)
    assert list(pd.read_csv(tmp_path / "rounds.csv")["seed"]) == [10, 9]
    assert (tmp_path / "timings.csv").read_text().count("arm") == 1


def test_gans_leave_their_rounds_alone(tmp_path: Path, deployment: Deployment) -> None:
    """Rounds of GANs stand first; what only continuing them needed goes."""
    folder, gan, drawn = (
        RunFolder(tmp_path),
        tmp_path / "deployments/generator-x",
        tmp_path / "deployments/phantom-generator",
    )
    folder.finish(deployment, {}, [{"stage": "train"}], predictions(deployment, 0.5), seconds=0)
    write_rounds(gan, [{"stage": "generator"}])
    for path in (gan / "checkpoint.safetensors", drawn / "round-00001.safetensors"):
        write_tensors(path, {})
    folder.collect([deployment])
    assert len(folder.predictions()) == 1
    assert list(pd.read_csv(tmp_path / "rounds.csv")["stage"]) == ["generator", "train"]
    assert [path.name for path in gan.iterdir()] == ["rounds.csv"]
    assert not drawn.exists()


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00", b'"', "a score", "a seed", "a tail"])
def test_damaged_predictions_are_named(tmp_path: Path, deployment: Deployment, content: bytes | str) -> None:
    if isinstance(content, str):
        whole = predictions(deployment, 0.25).to_csv(index=False).encode()
        parts = {"a score": (b"0.25", b"?"), "a seed": (b",3,", b",,"), "a tail": (b"5\n", b"")}
        assert parts[content][0] in whole
        content = whole.replace(*parts[content])
    (tmp_path / "predictions.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"predictions\.csv: is damaged"):
        RunFolder(tmp_path).predictions()


def test_an_unfinished_run_has_no_predictions(run: Path) -> None:
    with pytest.raises(InputError, match="holds no finished run; finish it with fedmammo run"):
        RunFolder(run).predictions()


def test_the_deployments_of_arms_and_settings_that_are_whole(tmp_path: Path, small_study: dict[str, Any]) -> None:
    """A study that ends early tells what it has of those alone."""
    config = parse(small_study | {"arms": ["local", "federated"], "seeds": [0, 1]}, "small")
    folder, found = RunFolder(tmp_path), list(config.deployments)
    for one in found[:3]:
        folder.finish(one, {}, [], predictions(one, 0.5), seconds=0)
    assert [folder.finished(one) for one in found] == [True, True, True, False]
    assert folder.complete(found) == found[:2]


def test_what_only_going_on_needed_goes(tmp_path: Path, deployment: Deployment) -> None:
    """Secrets, what hospitals kept of deployments, the server's; site files, ledgers and pools stay."""
    folder = RunFolder(tmp_path)
    folder.finish(deployment, {}, [{"stage": "train"}], predictions(deployment, 0.5), seconds=0)
    gone = ["hospitals/A/secret", "hospitals/A/deployments/x.json", "server/secret", "hospitals/A/generator-x/state"]
    gone += ["synthetic/pool/features/x/whole.npy", "deployments/pretraining-x/round"]
    kept = ["hospitals/A/site.yaml", "hospitals/A/patients.csv", "hospitals/A/ledger/x.jsonl", "hospitals/nodes.json"]
    kept += ["synthetic/pool/patches.npy", "models/x.safetensors"]
    for name in (*gone, *kept):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    folder.collect([deployment])
    assert all((tmp_path / name).exists() for name in kept)
    assert not any((tmp_path / name).exists() for name in gone)


def test_a_run_that_goes_on_is_not_finished_before_all_of_it_is_in_its_tables(run: Path, config: StudyConfig) -> None:
    """Else a page would tell of its patients what was true of a part."""
    folder, left = RunFolder(run), Run(run, config)
    folder.conclude({}, whole=False)
    assert not left.finished
    folder.conclude({}, whole=True)
    assert left.finished
    with folder.opened(config, DIGESTS):
        assert not left.finished
    assert not left.finished
