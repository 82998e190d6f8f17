"""Studies are read from files, with overrides and variables of the environment; a fault is one line."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from fedmammo.config.study import StudyConfig, dump, load, parse
from fedmammo.errors import InputError

CONFIGS = sorted((Path(__file__).parents[1] / "configs").rglob("*.yaml"))


@pytest.fixture
def written(small_study: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(small_study))
    return path


def test_overrides_are_yaml_and_the_last_wins(written: Path) -> None:
    study = load(
        written,
        [
            "federation.rounds=3",
            "federation.rounds=4",
            "diagnosis.features=[1, 3]",
            " diagnosis.optimizer.learning_rate =1e-3",
            "federation.strategy.name=FedAdam",
            "cohort.path=a=b",
            "arms={local: {diagnosis.image_size: 64}}",
        ],
    )
    assert study.federation.rounds == 4
    assert study.diagnosis.features == [1, 3]
    assert study.diagnosis.optimizer.learning_rate == 0.001
    assert study.federation.strategy.name == "FedAdam"
    assert study.cohort.path == "a=b"
    assert study.for_arm("local").diagnosis.image_size == 64
    assert load(written).federation.rounds == 2


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("federation.rounds", "--set federation.rounds: expected key=value"),
        ("=3", "--set =3: expected key=value"),
        ("federation.round=3", "study.yaml with --set: federation.round: unknown key"),
        ("federation.rounds=", "study.yaml with --set: federation.rounds: Input should be a valid integer, not None"),
        ("federation.rounds=yes", "federation.rounds: expected another kind of value than yes or no"),
        ("seeds.0=3", "study.yaml with --set: seeds: Input should be a valid list"),
        ("name.first=a", "name.first: name is 'small', which has no keys; set name as a whole"),
        ("name=[", "--set name=[: not valid YAML"),
        ("name=2020-99-99", "--set name=2020-99-99: not valid YAML: month must be in 1..12"),
    ],
)
def test_a_wrong_override_is_one_line(written: Path, override: str, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        load(written, [override])
    assert expected in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00",
        b"",
        b"name: [",
        b"name: \x00",
        b"name: a\nname b\n",
        b"? [1]\n: 2",
        b"a: !!python/object/apply:os.system [ls]",
        b"a: &a [*a]",
        b"a: *b",
        b"a: 0b_",
        b"a: 2020-99-99",
        b"a: " + 3000 * b"[",
    ],
)
def test_a_file_that_is_no_study_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.yaml: cannot be read \(No such file or directory\); give the path"):
        load(tmp_path / "missing.yaml")
    with pytest.raises(InputError, match="Is a directory"):
        load(tmp_path)


def test_variables_of_the_environment(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRST", "one")
    monkeypatch.setenv("SECOND", "2")
    study = load(written, ["cohort.path=/${FIRST}/${SECOND}/$FIRST", "seeds=['${SECOND}']"])
    assert study.cohort.path == "/one/2/$FIRST"
    assert study.seeds == [2]


def test_a_variable_that_is_not_set_names_key_and_remedy(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    with pytest.raises(InputError) as caught:
        load(written, ["cohort.path=${NOWHERE}/cohort"])
    assert str(caught.value) == ("cohort.path: the environment has no NOWHERE; set it, or give --set cohort.path=...")
    assert load(written, ["cohort.path=${NOWHERE}", "cohort.path=here"]).cohort.path == "here"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_studies_are_valid(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDMAMMO_COHORT", "/data/cohort")
    monkeypatch.setenv("FEDMAMMO_WEIGHTS", "/data/weights.safetensors")
    monkeypatch.setenv("FEDMAMMO_SYNTHETIC", "/data/synthetic")
    study = load(path)
    assert parse(yaml.safe_load(dump(study)), "again") == study
    assert StudyConfig.model_validate_json(study.model_dump_json()) == study
