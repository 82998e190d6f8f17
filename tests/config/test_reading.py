"""A study over another: what the file says itself, else its base, wherever the command was called from."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from fedmammo.config.study import StudyConfig, load
from fedmammo.errors import InputError


@pytest.fixture
def base(small_study: dict[str, Any], tmp_path: Path) -> Path:
    """The small study in a folder of its own, with five hospitals of different size and a list."""
    small_study["hospitals"] = {"assignment": {"by": "size_skew", "count": 5, "ratio": 3.0}, "seed": [1, 2]}
    (tmp_path / "common").mkdir()
    (tmp_path / "common/base.yaml").write_text(yaml.safe_dump(small_study))
    return tmp_path / "common/base.yaml"


def over(tmp_path: Path, base: str, **keys: Any) -> Path:
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"base": base, **keys}))
    return tmp_path / "own.yaml"


def fault(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load(path)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_sections_are_merged_lists_and_values_replaced(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = over(tmp_path, "common/base.yaml", name="own", hospitals={"seed": [7]}, diagnosis={"image_size": 48})
    monkeypatch.chdir("/")
    study, common = load(own, ["federation.rounds=5"]), load(base)
    assert (study.name, study.hospitals.seed, study.diagnosis.image_size, study.federation.rounds) == (
        "own",
        [7],
        48,
        5,
    )
    expected = common.model_dump()
    expected |= {"name": "own"}
    expected["hospitals"]["seed"], expected["diagnosis"]["image_size"], expected["federation"]["rounds"] = [7], 48, 5
    assert study == StudyConfig.model_validate(expected)


def test_a_rule_of_another_kind_replaces_that_of_the_base(base: Path, tmp_path: Path) -> None:
    """And one of the same kind, or of no kind, is merged onto it."""
    for rule, expected in (
        ({"by": "uniform", "count": 2}, {"by": "uniform", "count": 2}),
        ({"by": "size_skew", "count": 2}, {"by": "size_skew", "count": 2, "ratio": 3.0}),
        ({"ratio": 1.5}, {"by": "size_skew", "count": 5, "ratio": 1.5}),
    ):
        own = over(tmp_path, "common/base.yaml", hospitals={"assignment": rule})
        assert load(own).hospitals.assignment.model_dump() == expected


def test_a_base_may_have_a_base(base: Path, tmp_path: Path) -> None:
    (tmp_path / "common/middle.yaml").write_text("base: base.yaml\nname: middle\nseeds: [4]\n")
    study = load(over(tmp_path, "common/middle.yaml", name="own"))
    assert (study.name, study.seeds, study.hospitals.seed) == ("own", [4], [1, 2])


def test_a_base_that_cannot_be(base: Path, tmp_path: Path) -> None:
    assert "own.yaml: base: " in fault(over(tmp_path, "missing.yaml"))
    assert fault(over(tmp_path, "missing.yaml")).endswith("give a path relative to this file")
    assert "cannot be read (Is a directory)" in fault(over(tmp_path, "common"))
    assert "expected the path of a study's YAML file, not 3" in fault(over(tmp_path, 3))  # type: ignore[arg-type]
    assert "own.yaml has this file as its own base" in fault(over(tmp_path, "own.yaml"))
    base.write_text("base: ../own.yaml\n")
    assert "base.yaml: base: ../own.yaml has this file as its own base" in fault(over(tmp_path, "common/base.yaml"))
    for content, expected in (("a: [", "base.yaml: not valid YAML"), ("- 1", "base.yaml: expected a YAML mapping")):
        base.write_text(content)
        assert expected in fault(over(tmp_path, "common/base.yaml"))


def test_the_schema_knows_of_bases() -> None:
    assert "relative to this one" in StudyConfig.model_json_schema()["properties"]["base"]["description"]
