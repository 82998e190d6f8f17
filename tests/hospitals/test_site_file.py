"""A hospital's own file: read back as it was written, paths absolute, faults in one line."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from fedmammo.errors import InputError
from fedmammo.hospitals.digitiser import load_digitiser
from fedmammo.hospitals.site_file import SiteFile, read_site_file, write_site_file
from fedmammo.privacy.limits import Limits

LEAST = {"name": "A", "cohort": "cohort", "state": "state"}


def write(folder: Path, content: Any) -> Path:
    path = folder / "site.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return path


def fault(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_site_file(path)
    line = str(caught.value)
    assert line.startswith(str(path)) and len(line.splitlines()) == 1
    return line


def test_what_is_not_told_is_strict(tmp_path: Path) -> None:
    """A hospital that says nothing is real, takes part in nothing without a budget, and shows no scores."""
    file = read_site_file(write(tmp_path, LEAST))
    assert (file.kind, file.scores, file.secret_seed, file.algorithms) == ("real", "not", None, [])
    assert (file.limits.without_budget, file.limits.central_trust) == ("refused", "refused")
    assert (file.patients, file.pools, file.pooled) == (None, None, False)


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, LEAST | {"cohort": "/data/cohort", "pools": "../pools", "patients": "patients.csv"})
    monkeypatch.chdir(tmp_path)
    for name in (path, Path("site.yaml")):
        file = read_site_file(name)
        assert (file.cohort, file.state) == (Path("/data/cohort"), tmp_path / "state")
        assert (file.pools, file.patients) == (tmp_path / "../pools", tmp_path / "patients.csv")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = SiteFile(
        name="A-1",
        kind="simulated",
        cohort=Path("/data/größte"),
        state=tmp_path / "state",
        pools=tmp_path / "pools",
        patients=tmp_path / "patients.csv",
        digitisers={"a": load_digitiser("howtek_960")},
        limits=Limits(maximum_epsilon=0.1 + 0.2, without_budget="accepted"),
        scores="summaries",
        weights={"0" * 64: Path("/data/weights")},
        algorithms=["package.module:Class"],
        peers={"B": "0123456789abcdef" * 4},
        device="cuda",
        threads=3,
        uplink_megabits_per_second=1 / 3,
        images_per_second=0.1,
        secret_seed=4,
    )
    text = write_site_file(file)
    assert "größte" in text and text == write_site_file(read_site_file(write(tmp_path, text)))
    assert read_site_file(write(tmp_path, text)) == file


def test_defaults_are_not_written(tmp_path: Path) -> None:
    text = write_site_file(SiteFile(name="A", cohort=Path("/c"), state=Path("/s")))
    assert yaml.safe_load(text) == {"name": "A", "cohort": "/c", "state": "/s"}


def test_variables_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, LEAST | {"cohort": "${SOMEWHERE}/cohort"})
    monkeypatch.setenv("SOMEWHERE", "/data")
    assert read_site_file(path).cohort == Path("/data/cohort")
    monkeypatch.delenv("SOMEWHERE")
    assert "the environment has no SOMEWHERE" in fault(path)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"nonsense": 1}, "nonsense: unknown key"),
        ({"limits": {"nonsense": 1}}, "limits.nonsense: unknown key"),
        ({"limits": {"maximum_epsilon": 0}}, "limits.maximum_epsilon: "),
        ({"limits": {"without_budget": "yes"}}, "limits.without_budget: "),
        ({"name": "../A"}, "name: "),
        ({"name": "server"}, "name: 'server' is taken, choose another name"),
        ({"name": "nodes"}, "name: 'nodes' is taken, choose another name"),
        ({"kind": "imagined"}, "kind: "),
        ({"scores": "all"}, "scores: "),
        ({"cohort": None}, "cohort: "),
        ({"threads": 0}, "threads: "),
        ({"threads": True}, "expected another kind of value than yes or no"),
        ({"digitisers": {"a": {}}}, "digitisers.a."),
        ({"secret_seed": "x"}, "secret_seed: "),
        ({"peers": {"B": "short"}}, "peers.B: "),
        ({"peers": {"../B": "0" * 64}}, "peers.../B: "),
        ({"images_per_second": float("nan")}, "images_per_second: "),
    ],
)
def test_a_wrong_key_is_one_line(tmp_path: Path, more: dict[str, Any], expected: str) -> None:
    assert expected in fault(write(tmp_path, LEAST | more))


@pytest.mark.parametrize("name", LEAST)
def test_a_missing_key_is_named(tmp_path: Path, name: str) -> None:
    content = {key: value for key, value in LEAST.items() if key != name}
    assert f"{name}: is missing" in fault(write(tmp_path, content))


@pytest.mark.parametrize("content", ["", "- a", "3", "name: [", "a: &a [*a]", "name: 2020-99-99", "[" * 5000])
def test_what_is_no_mapping_is_one_line(tmp_path: Path, content: str) -> None:
    fault(write(tmp_path, content))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert "cannot be read (No such file or directory); give the path of a site file" in fault(tmp_path / "nowhere")
    assert "cannot be read (Is a directory)" in fault(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in fault(tmp_path / "binary")
