"""One study with all trackers at once, read back with what each library reads with."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import fedmammo
from fedmammo.cohort.store import Cohort
from fedmammo.config.sections import TrackConfig
from fedmammo.config.study import StudyConfig, parse
from fedmammo.run.results import Run
from fedmammo.tracking.course import PLACE, TRACKERS, Course, results_of
from fedmammo.tracking.tracker import Round, rounds_of
from tests.commands.processes import digests

PLAIN, PRIVATE = "federated-real-seed0-draw0-fold0", "federated-real-epsilon-6-seed0-draw0-fold0"


@pytest.fixture(scope="module")
def content(new_study: Callable[[], dict[str, Any]], phantom_cohort: Cohort) -> dict[str, Any]:
    """The small study in two arms, with and without a budget."""
    content = new_study() | {"arms": ["local", "federated"], "settings": ["real", "real-epsilon-6"]}
    content["cohort"]["path"] = str(phantom_cohort.folder)
    content["federation"] = {"rounds": 4, "local_steps": 1}
    content["privacy"] = {"secret_seed": 7}
    return content


@pytest.fixture(scope="module")
def tracked(content: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> StudyConfig:
    """The study with all trackers."""
    for library in ("tensorboard", "mlflow", "wandb"):
        pytest.importorskip(library, reason=f"the extra {library} is not installed")
    folder = tmp_path_factory.mktemp("tracked")
    track = {name: str(folder / name) for name in TRACKERS}
    return parse({**content, "engine": content["engine"] | {"track": track}}, "small")


@pytest.fixture(scope="module")
def run(tracked: StudyConfig, run_inline: Callable[..., Path]) -> Run:
    """The study, interrupted in the midst of its last deployment, continued, and concluded once more."""
    out = Path(str(tracked.engine.track.tensorboard)).parent / "run"
    with pytest.raises(KeyboardInterrupt), Course(tracked, out) as course:

        def report(event: dict[str, Any]) -> None:
            course.update(event)
            if event["deployment"]["name"] == PRIVATE and event["rows"] and event["round"] == 2:
                raise KeyboardInterrupt

        run_inline(tracked, out, report=report)
    assert len(list(Path(str(tracked.engine.track.wandb)).glob("wandb/offline-run-*"))) == 4
    run = fedmammo.run_study(tracked, out)
    with Course(tracked, out) as course:
        course.conclude(run)
    return run


@pytest.fixture(scope="module")
def expected(run: Run) -> dict[str, list[Round]]:
    """The rounds of each deployment, by its name, as rounds.csv has them."""
    together: dict[str, list[dict[Any, Any]]] = {one.name: [] for one in run.study.deployments}
    for row in run.rounds.to_dict("records"):
        together[run.study.deployment(*(row[key] for key in PLACE)).name].append(row)
    found = {name: rounds_of(rows) for name, rows in together.items()}
    assert [one.number for one in found[PRIVATE]] == [1, 2, 3, 4]
    assert "train/mean_loss" in found[PLAIN][0].numbers and "train/epsilon_spent" in found[PRIVATE][0].numbers
    assert not [key for key in found[PRIVATE][0].numbers if "loss" in key]
    return found


def test_tensorboard_has_every_round_once_and_the_results(
    tracked: StudyConfig, run: Run, expected: dict[str, list[Round]]
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    def read(name: str) -> Any:
        (folder,) = Path(str(tracked.engine.track.tensorboard)).glob(f"run/{name}-*")
        return EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()

    for name, rounds in expected.items():
        events = read(name)
        assert {*events.Tags()["scalars"]} == {key for one in rounds for key in one.numbers}
        for key in rounds[0].numbers:
            assert [(event.step, event.value) for event in events.Scalars(key)] == [
                (one.number, pytest.approx(one.numbers[key], rel=1e-6)) for one in rounds
            ]
        begun = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        parameters = HParamsPluginData.FromString(begun).session_start_info.hparams
        assert name == f"{parameters['arm'].string_value}-{parameters['setting'].string_value}-seed0-draw0-fold0"
        assert parameters["federation.rounds"].number_value == 4
    study = read("study")
    shown = {key: study.Scalars(key)[0].value for key in study.Tags()["scalars"]}
    assert shown == pytest.approx(results_of(run), rel=1e-6)
    (text,) = study.Tensors("verdicts")
    assert run.verdicts["sentence"][0] in text.tensor_proto.string_val[0].decode()


def test_mlflow_has_every_round_once_and_the_results(
    tracked: StudyConfig, run: Run, expected: dict[str, list[Round]]
) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tracked.engine.track.mlflow}/mlflow.db")
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    found = {one.info.run_name: one for one in client.search_runs([experiment.experiment_id])}
    assert {*found} == {f"run/{name}" for name in (*expected, "study")}
    assert {one.info.status for one in found.values()} == {"FINISHED"}
    for name, rounds in expected.items():
        one = found[f"run/{name}"]
        assert {*one.data.metrics} == {key for each in rounds for key in each.numbers}
        for key in rounds[0].numbers:
            logged = [(metric.step, metric.value) for metric in client.get_metric_history(one.info.run_id, key)]
            assert logged == [(each.number, each.numbers[key]) for each in rounds]
        assert (one.data.params["study"], one.data.params["federation.rounds"]) == ("small", "4")
        assert name == "{arm}-{setting}-seed{seed}-draw{draw}-fold{fold}".format(**one.data.params)
    study = found["run/study"]
    assert study.data.metrics == results_of(run)
    assert len(client.get_metric_history(study.info.run_id, next(iter(study.data.metrics)))) == 1
    assert run.verdicts["sentence"][0] in study.data.tags["mlflow.note.content"]


def records(path: Path) -> Iterator[Any]:
    """Yield the records of an offline run: blocks of 32 KiB, records in parts of 7 bytes of header and their content.

    The library writes them in a program of its own, and has no reader.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, parts = path.read_bytes(), 7, b""
    while at + 7 < len(content):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        end = at + 7 + int.from_bytes(content[at + 4 : at + 6], "little")
        parts += content[at + 7 : end]
        if content[at + 6] in (1, 4):  # whole, or its last part
            yield Record.FromString(parts)
            parts = b""
        at = end


def test_wandb_has_one_offline_run_for_each_deployment_and_the_results(
    tracked: StudyConfig, run: Run, expected: dict[str, list[Round]]
) -> None:
    found = {}
    for path in Path(str(tracked.engine.track.wandb)).glob("wandb/offline-run-*/run-*.wandb"):
        kinds: dict[str, list[Any]] = {}
        for record in records(path):
            kinds.setdefault(record.WhichOneof("record_type"), []).append(record)
        (begun,) = kinds["run"]
        assert begun.run.display_name not in found
        config = {one.key: json.loads(one.value_json) for one in begun.run.config.update}
        history = []
        for record in kinds["history"]:
            items = {one.nested_key[0] if one.nested_key else one.key: one for one in record.history.item}
            history.append({key: json.loads(one.value_json) for key, one in items.items() if key[0] != "_"})
        found[begun.run.display_name] = (begun.run, config, history, kinds["exit"][0].exit.exit_code)
    assert {*found} == {*expected, "study"}
    for name, rounds in expected.items():
        about, config, history, code = found[name]
        assert (about.project, about.run_group, code) == ("small", "run", 0)
        assert name == "{arm}-{setting}-seed{seed}-draw{draw}-fold{fold}".format(**config)
        assert (config["study"], config["federation.rounds"]) == ("small", 4)
        assert history == [{"round": one.number, **one.numbers} for one in rounds]
    about, _, (history,), _ = found["study"]
    assert history == results_of(run)
    assert run.verdicts["sentence"][0] in about.notes


def test_the_study_is_the_same_to_the_last_byte_without(
    content: dict[str, Any], run: Run, run_inline: Callable[..., Path], tmp_path: Path
) -> None:
    """And the rows that were told are those of rounds.csv."""
    told: list[Any] = []
    out = run_inline(parse(content, "small"), tmp_path / "out", report=lambda event: told.extend(event["rows"]))
    assert digests(out).items() <= digests(run.folder).items()
    assert rounds_of(told) == rounds_of(fedmammo.open_run(out).rounds.to_dict("records"))


def test_a_tracker_that_fails_is_one_line_and_the_others_go_on(
    tracked: StudyConfig, run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    track = TrackConfig(tensorboard=str(tmp_path / "there"), wandb=str(tmp_path / "file"))
    study = tracked.model_copy(update={"engine": tracked.engine.model_copy(update={"track": track})})
    with Course(study, run.folder) as course:
        course.conclude(run)
    (warning,) = caplog.messages
    assert warning.startswith("engine.track.wandb: left out from now on, the study goes on (FileExistsError")
    assert len(warning.splitlines()) == 1
    assert len(list((tmp_path / "there/run").iterdir())) == 5


@pytest.mark.parametrize("name", TRACKERS)
def test_a_missing_library_is_named_with_its_extra(
    name: str, content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [one for one in sys.modules if one.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    engine = content["engine"] | {"track": {name: str(tmp_path / "shown")}}
    with pytest.raises(fedmammo.InputError, match=rf"engine\.track\.{name}: needs pip install 'fedmammo\[{name}\]'"):
        fedmammo.run_study(parse({**content, "engine": engine}, "small"), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_every_tracker_has_a_key() -> None:
    assert {*TrackConfig.model_fields} == {*TRACKERS}
    assert TrackConfig(mlflow="sqlite:///runs/mlflow.db").mlflow == "sqlite:///runs/mlflow.db"
