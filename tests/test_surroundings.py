"""Surroundings from people who do this job that went wrong once: it works, or one line says what to do."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from fedmammo.cohort.store import Cohort
from fedmammo.config.sections import EngineConfig
from fedmammo.config.study import load
from fedmammo.errors import StudyError
from fedmammo.features.store import FeatureStore
from fedmammo.federation.ray import LONGEST, start_ray
from tests.commands.processes import strange_place

COMMAND = Path(sys.executable).with_name("fedmammo")
UNPRIVILEGED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]


@pytest.fixture(scope="module")
def study(
    new_study: Callable[[], dict[str, Any]], phantom_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A study of a second: one arm, one round, a copy of the cohort, without features."""
    folder = tmp_path_factory.mktemp("surroundings")
    shutil.copytree(phantom_cohort.folder, folder / "cohort", ignore=shutil.ignore_patterns("features"))
    content = new_study() | {"cohort": {"path": str(folder / "cohort")}, "arms": ["federated"]}
    content["federation"] = {"rounds": 1, "local_steps": 1}
    (folder / "study.yaml").write_text(yaml.safe_dump(content))
    return folder / "study.yaml"


def command(*words: str | Path, **how: Any) -> "subprocess.CompletedProcess[str]":
    how["env"] = {**os.environ, **how.get("env", {})}
    return subprocess.run([COMMAND, *words], capture_output=True, text=True, errors="replace", timeout=300, **how)


def test_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on exFAT, and on some network disks."""
    for name in ("link", "symlink"):
        monkeypatch.setattr(os, name, lambda *_: (_ for _ in ()).throw(PermissionError(1, "not permitted")))
    store = FeatureStore(tmp_path / "features", 3, lambda: 2)
    store.put("look", 1, np.ones(2, np.float32))
    assert store.done("look", np.arange(3)).tolist() == [False, True, False]


def test_cohort_on_a_read_only_disk_and_closed_standard_streams(
    study: Path, tmp_path: Path, run_inline: Callable[..., Path]
) -> None:
    """Features go to the run's folder, or where `--features` says; nothing of a study's pipes is in its log."""
    cohort, out = study.parent / "cohort", tmp_path / "run"
    before = sorted(cohort.iterdir())
    how: list[str] = [] if os.geteuid() else UNPRIVILEGED
    if how and shutil.which("setpriv") is None:
        pytest.skip("setpriv is not here, and the superuser may write everywhere")
    cohort.chmod(0o500)
    try:
        words = [*how, COMMAND, "run", study, "--out", out]
        done = subprocess.run(words, timeout=300, preexec_fn=lambda: os.closerange(0, 3))
    finally:
        cohort.chmod(0o700)
    assert done.returncode == 0, (out / "run.log").read_text()
    assert list((out / "features").rglob("*.npy")) and "{" not in (out / "run.log").read_text()
    other = run_inline(load(study, [f"engine.features={tmp_path / 'elsewhere'}"]), tmp_path / "other")
    assert list((tmp_path / "elsewhere").rglob("*.npy")) and not (other / "features").exists()
    assert sorted(cohort.iterdir()) == before
    assert (out / "results.csv").read_bytes() == (other / "results.csv").read_bytes()


def test_terminal_in_another_encoding(phantom_cohort: Cohort) -> None:
    """Signs that it does not have are replaced; ASCII lacks whatever any other lacks."""
    for words in (["--help"], ["data", "show", phantom_cohort.folder], ["data", "show", "né/\u2192"]):
        done = command(*words, env={"PYTHONIOENCODING": "ascii"})
        assert done.returncode == (2 if "né/\u2192" in words else 0), done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.long
@pytest.mark.parametrize("spread", ["hospitals", "deployments"])
def test_a_file_statistics_py_in_the_working_directory_on_ray(study: Path, tmp_path: Path, spread: str) -> None:
    """And without HOME: hospitals side by side (as commands/test_run.py has it, too), and whole deployments."""
    where = strange_place(tmp_path)
    words = ["run", study, "--set", "engine.name=ray", "--set", f"engine.spread={spread}", "--out", spread]
    done = subprocess.run([COMMAND, *words], **where, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr + (tmp_path / spread / "run.log").read_text()


def test_very_long_tmpdir_on_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands end in that line, with 3, as after any StudyError."""
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    with pytest.raises(StudyError, match=rf"^Ray does not start: .*; set RAY_TMPDIR .* at most {LONGEST} bytes$"):
        start_ray(EngineConfig(), tmp_path)


def test_ray_that_does_not_start_has_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For instance where the user has no entry in passwd."""
    import ray

    def init(**_: object) -> None:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(StudyError, match=r"^Ray does not start: .*12345.*; set HOME and RAY_TMPDIR .*=inline$"):
        start_ray(EngineConfig(), tmp_path)
    with pytest.raises(StudyError, match=r"see that the cluster at host:1 runs the same Ray and Python$"):
        start_ray(EngineConfig(address="host:1"), tmp_path)


@pytest.mark.parametrize(("closed", "code"), [((0, 1, 2), 0), ((0, 1, 2), 2), ((1,), 0), ((2,), 2), ((0,), 2)])
def test_closed_standard_streams(phantom_cohort: Cohort, closed: tuple[int, ...], code: int) -> None:
    """All, and each alone where something is to be said on it, or on another one."""

    def close() -> None:
        for number in closed:
            os.close(number)

    folder = phantom_cohort.folder if code == 0 else Path("nowhere")
    done = subprocess.run([COMMAND, "data", "show", folder], capture_output=True, timeout=60, preexec_fn=close)
    assert done.returncode == code
    assert b"Error" not in done.stderr and b"Traceback" not in done.stderr
