"""What hospitals' people approve: said in words, in full, and by digests that whoever reads it works out anew."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedmammo.config.study import StudyConfig, parse
from fedmammo.deploy.studies import asked_of, asked_of_site, described, read_studies, write_studies
from fedmammo.errors import InputError
from fedmammo.federation.bundle import software


@pytest.fixture
def study(small_study: dict[str, Any]) -> StudyConfig:
    small_study |= {"arms": ["local", "federated"], "settings": ["real", "real-epsilon-6"], "seeds": "0..2"}
    small_study["diagnosis"]["optimizer"] = {"name": "sgd", "learning_rate": 0.1}
    return parse(small_study, "small")


@pytest.fixture
def written(study: StudyConfig, tmp_path: Path) -> Path:
    path = tmp_path / "studies.json"
    path.write_text(write_studies(study))
    return path


def federation_of(content: dict[str, Any]) -> dict[str, Any]:
    """Return the part of the first deployment that says rounds and strategy."""
    found: dict[str, Any] = content["approve"][0]["deployment"]["federation"]
    return found


def test_everything_that_will_be_asked_is_approved_once(study: StudyConfig) -> None:
    assert [one.study for one in asked_of(study)] == list(dict.fromkeys(one.study for one in study.deployments))


def test_a_generator_without_a_part_in_the_budget_is_one_more(small_study: dict[str, Any]) -> None:
    small_study |= {"arms": ["local"], "settings": ["pretrained-epsilon-6"], "synthesis": {"source": "phantom"}}
    found = asked_of(parse(small_study, "small"))
    assert [one.setting_name for one in found] == ["pretrained-epsilon-6", "pretrained"]
    assert found[1] == found[0].without_budget()


def test_what_is_read_is_what_was_written(study: StudyConfig, written: Path) -> None:
    assert read_studies(written, []) == asked_of(study)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one.update(software="0.0.9 abc"), "is of software 0.0.9 abc, here it is "),
        (lambda one: federation_of(one).update(rounds=99), "what is said to be"),
        (lambda one: one["approve"][0].update(digest="0" * 64), "what is said to be 0000000000000000 is"),
        (lambda one: one["approve"][0]["deployment"].update(cohort="x"), "not a deployment that is understood here"),
        (lambda one: federation_of(one).update(strategy={"name": "os:path"}), "algorithm os:path"),
        (lambda one: one.update(approve=7), "is not the studies.json of a kit"),
        (lambda one: one.pop("software"), "is not the studies.json of a kit"),
    ],
)  # fmt: skip
def test_a_file_that_says_something_else_is_refused(
    written: Path, change: Callable[[dict[str, Any]], Any], said: str
) -> None:
    content = json.loads(written.read_text())
    change(content)
    written.write_text(json.dumps(content))
    with pytest.raises(InputError, match=said):
        read_studies(written, [])


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "studies.json").write_bytes(b"\xff")
    for path in (tmp_path / "studies.json", tmp_path / "nowhere"):
        with pytest.raises(InputError, match=r"is not the studies\.json of a kit"):
            read_studies(path, [])


def test_words_say_who_must_be_trusted(study: StudyConfig) -> None:
    said = {one.setting_name: described(one) for one in asked_of(study) if one.arm_name == "federated"}
    assert said["real"]["budget"] == "none" and "everybody who sees the models" in said["real"]["must be trusted"]
    private = said["real-epsilon-6"]
    assert (private["rounds"], private["strategy"]) == ("2 of 2 steps", "FedAvg")
    assert private["budget"] == "epsilon 6 at delta 0.0001" and private["must be trusted"].startswith("nobody: ")
    assert private["digest"] == study.deployment("federated", "real-epsilon-6").study


def test_what_a_site_file_must_say(small_study: dict[str, Any], study: StudyConfig, tmp_path: Path) -> None:
    asked = dict(asked_of_site(asked_of(study)))
    assert "limits.without_budget: accepted" in asked and "limits.maximum_epsilon: 6 or more" in asked
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"weights")
    small_study["diagnosis"]["weights"] = str(weights)
    small_study["federation"]["local_steps"] = 1
    small_study |= {"settings": ["real-epsilon-6"], "arms": ["federated"], "privacy": {"trust": "central"}}
    asked = dict(asked_of_site(asked_of(parse(small_study, "small"))))
    assert "limits.without_budget: accepted" not in asked and "limits.central_trust: accepted" in asked
    assert any(key.startswith("weights: {") for key in asked)


def test_software_is_that_of_both_ends(written: Path) -> None:
    assert json.loads(written.read_text())["software"] == software()
