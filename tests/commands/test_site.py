"""A hospital looks at its own site, and a study that asks for more than a site file allows."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedmammo.cli import main
from fedmammo.cohort.store import Cohort
from fedmammo.commands.site import approve, check_page, key_of
from fedmammo.config.study import StudyConfig, parse
from fedmammo.deploy.studies import write_studies
from fedmammo.errors import InputError, StudyError
from fedmammo.hospitals.site import Site
from fedmammo.privacy.masks import public_key

STUDY = "3f" * 32
NO_LINK = "superlink: is missing in {}; say where studies come from"


@pytest.fixture
def site_file(phantom_cohort: Cohort, tmp_path: Path) -> Callable[..., Path]:
    """Write the site file of a real hospital, for its owner alone."""

    def written(**keys: Any) -> Path:
        path = tmp_path / "site.yaml"
        content = {"name": "north", "cohort": str(phantom_cohort.folder), "state": "state", "scores": "rows"}
        path.write_text(yaml.safe_dump(content | keys))
        path.chmod(0o600)
        return path

    return written


def test_a_page_for_a_hospital_that_could_take_part(site_file: Callable[..., Path]) -> None:
    page = {part.title: part for part in check_page(site_file(kind="simulated"))}
    assert page["north: could take part"].lines == []
    path = site_file()
    page = {part.title: part for part in check_page(path)}
    assert page["north: cannot take part as it is"].lines == [NO_LINK.format(path)]
    assert any(line.startswith("software: fedmammo ") for line in page["this machine"].lines)
    assert page["what was approved"].lines == ["nothing"]
    table = page["patients by split and class"].table
    assert table is not None and table.set_index("split").loc["train"].tolist() == [10, 10, 20]
    refused = " / ".join(page["what it would refuse"].lines)
    assert "every study but the 0 that were approved" in refused
    assert "every setting without a privacy budget" in refused and "central" in refused
    assert page["what it has released"].lines[0] == "epsilon 0 of 100 in its lifetime, at delta 0.0001"


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"secret_seed": 1}, "secret_seed: the secret comes from a number, and nothing is private"),
        ({"weights": {"ab" * 32: "gone.safetensors"}}, "gone.safetensors is not there; mend the site file"),
    ],
)
def test_what_keeps_a_hospital_from_taking_part(site_file: Callable[..., Path], keys: Any, problem: str) -> None:
    first = check_page(site_file(**keys))[0]
    assert first.title == "north: cannot take part as it is"
    assert any(problem in line for line in first.lines)


def test_a_site_file_that_others_can_read(site_file: Callable[..., Path]) -> None:
    path = site_file()
    path.chmod(0o644)
    assert check_page(path)[0].lines == [
        f"site file: others may read {path}; take that from them with chmod go= {path}",
        NO_LINK.format(path),
    ]


def test_people_approve_a_study_by_its_digest(site_file: Callable[..., Path]) -> None:
    path = site_file()
    approve(path, STUDY)
    assert list(Site.open(path).approved) == [STUDY]
    with pytest.raises(InputError, match=r"^real-epsilon-6: is not the digest of a study, 64 digits long, and not a"):
        approve(path, "real-epsilon-6")


@pytest.fixture
def studies(phantom_study: dict[str, Any], tmp_path: Path) -> Path:
    """Write what a study with a setting without a budget asks people to approve."""
    phantom_study |= {"arms": ["local", "federated"]}
    path = tmp_path / "studies.json"
    path.write_text(write_studies(parse(phantom_study, "small")))
    return path


def test_people_approve_all_that_a_kit_says(site_file: Callable[..., Path], studies: Path) -> None:
    path = site_file()
    page = approve(path, str(studies))
    digests = [one["digest"] for one in json.loads(studies.read_text())["approve"]]
    assert list(Site.open(path).approved) == sorted(digests) and len(digests) == 2
    assert page[0].table is not None and page[0].table["arm"].tolist() == ["local", "federated"]
    assert page[0].lines[0].startswith("local, real: each hospital learns alone, from patients; trusted: everybody")
    assert page[1].title == "what the site file forbids"
    assert page[1].lines[0].startswith("local, real: refused all the same: refused: without_budget: refused")
    approved = {part.title: part for part in check_page(path)}["what was approved"].lines
    assert any(line.startswith(f"local, real ({digests[0][:16]}): refused: without_budget") for line in approved)


def test_nothing_is_approved_where_a_file_says_something_else(site_file: Callable[..., Path], studies: Path) -> None:
    path, content = site_file(), json.loads(studies.read_text())
    content["approve"][1]["deployment"]["federation"]["rounds"] = 99
    studies.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"studies\.json: what is said to be \w{16} is \w{16}; ask the coordinator"):
        approve(path, str(studies))
    assert not Site.open(path).approved


def test_what_was_approved_with_another_cohort_is_said(
    site_file: Callable[..., Path], studies: Path, own_cohort: Cohort, phantom_cohort: Cohort,
    write_part: Callable[..., None],
) -> None:  # fmt: skip
    path = site_file(cohort=str(own_cohort.folder), limits={"without_budget": "accepted"})
    assert len(approve(path, str(studies))) == 1, "the site file forbids nothing of it"
    shutil.rmtree(own_cohort.folder)
    write_part(phantom_cohort, own_cohort.folder, phantom_cohort.patients.index[1:])
    lines = check_page(path)[0].lines
    assert any("approved: federated, real (" in line and "was, with another cohort" in line for line in lines)


def test_a_hospital_without_a_cohort_is_told_all_else_too(site_file: Callable[..., Path], tmp_path: Path) -> None:
    first = check_page(site_file(cohort=str(tmp_path / "none")))[0]
    assert first.title == "north: cannot take part as it is"
    assert any(line.startswith(f"cohort: {tmp_path / 'none'} is not there") for line in first.lines)
    assert any(line.startswith("superlink: is missing") for line in first.lines)


@pytest.mark.parametrize(("keys", "code"), [({"kind": "simulated"}, 0), ({}, 2)])
def test_the_command_ends_with_0_where_a_hospital_could_take_part(
    site_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, keys: Any, code: int
) -> None:
    monkeypatch.setattr(sys, "argv", ["fedmammo", "site", "check", str(site_file(**keys))])
    with pytest.raises(SystemExit) as left:
        main()
    assert (left.value.code or 0) == code


def test_a_site_file_that_is_not_there_or_says_what_nobody_knows(site_file: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml: cannot be read \(No such file or directory\)"):
        check_page(Path("nowhere.yaml"))
    with pytest.raises(InputError, match=r"site\.yaml: epsilon: unknown key; fedmammo schema --site explains"):
        check_page(site_file(epsilon=6))


@pytest.mark.parametrize(
    ("profile", "settings", "reason"),
    [
        ({"privacy": {"maximum_epsilon": 100}}, ["real-epsilon-6", "real"], "B failed: RefusalError: refused: without"),
        (
            {"privacy": {"maximum_epsilon": 1, "without_budget": "accepted"}},
            ["real-epsilon-1", "real-epsilon-6"],
            r"B failed: RefusalError: refused: epsilon 6\.0 is not between 0 and the maximum_epsilon of 1",
        ),
    ],
)
def test_a_study_that_asks_for_more_is_refused_before_anything_is_computed(
    phantom_study: dict[str, Any],
    run_inline: Callable[[StudyConfig, Path], Path],
    tmp_path: Path,
    profile: dict[str, Any],
    settings: list[str],
    reason: str,
) -> None:
    """One line names the limit; nobody has computed anything, of other settings neither."""
    profiles = {"A": {"privacy": {"without_budget": "accepted"}}, "B": profile}
    for name, content in profiles.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"name": name, **content}))
    phantom_study["hospitals"]["assignment"] = {
        "by": "profiles",
        "profiles": [str(tmp_path / f"{n}.yaml") for n in "AB"],
    }
    phantom_study |= {"settings": settings, "arms": ["federated"]}
    phantom_study["diagnosis"]["optimizer"] = {"name": "sgd", "learning_rate": 0.1}
    run = tmp_path / "run"
    with pytest.raises(StudyError, match=reason):
        run_inline(parse(phantom_study, "small"), run)
    for setting in settings:
        assert not list(run.glob(f"hospitals/*/federated-{setting}-*"))
        assert not (run / f"deployments/federated-{setting}-seed0-draw0-fold0").exists()
    assert not (run / "results.csv").exists()


def test_in_the_centralised_arm_a_failure_names_the_holder_of_all_patients(
    phantom_study: dict[str, Any], run_inline: Callable[[StudyConfig, Path], Path], tmp_path: Path
) -> None:
    """The optimiser's steps are larger than numbers can be."""
    phantom_study["arms"] = ["centralized"]
    phantom_study["diagnosis"]["optimizer"] = {"name": "sgd", "learning_rate": 1e300}
    with pytest.raises(StudyError, match=r"round 1: 0 of 1 hospitals answered, 1 are needed; all failed: "):
        run_inline(parse(phantom_study, "small"), tmp_path / "run")


def test_a_hospital_tells_others_its_key(site_file: Callable[..., Path]) -> None:
    """Always the same, of the secret that is made by then; others' keys are told where it says what it refuses."""
    path = site_file()
    key = key_of(path)
    assert len(key) == 64 and key_of(path) == key == public_key(Site.open(path).secret)
    page = check_page(site_file(peers={"south": key}, limits={"minimum_honest": 4}))
    refused = next(part.lines for part in page if part.title == "what it would refuse")
    assert "privacy.trust: secure over fewer than 4 honest hospitals, or with others than those whose keys are under " \
           "peers (south)" in refused  # fmt: skip
