"""Disks that are full, read-only or gone, clocks that jump: one line, nothing half-written, continued when mended."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from fedmammo.cohort.prepare import prepare
from fedmammo.cohort.store import Cohort
from fedmammo.config.study import StudyConfig, parse
from fedmammo.disk.files import read_tensors
from fedmammo.errors import InputError, StudyError
from fedmammo.phantom.tree import write_tree
from tests.commands.processes import digests

COMMAND = Path(sys.executable).with_name("fedmammo")
Run = Callable[..., Path]


def mount(*words: str | Path) -> bool:
    return subprocess.run(["mount", *words], capture_output=True).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Make a disk of so many KiB, or change its size or options."""
    place = tmp_path / "disk"
    place.mkdir()

    def change(size: int, option: str = "rw") -> Path:
        words = ["-o", f"{'remount,' if place.is_mount() else ''}size={size}k,{option}", "-t", "tmpfs", "tmpfs", place]
        if not mount(*words):
            pytest.skip("disks cannot be mounted here")
        return place

    yield change
    subprocess.run(["umount", "-l", place], capture_output=True)


@pytest.fixture(scope="module")
def config(
    new_study: Callable[[], dict[str, Any]], phantom_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory
) -> StudyConfig:
    """A study with a budget, so that ledgers are written too."""
    content = new_study() | {
        "cohort": {"path": str(phantom_cohort.folder)},
        "arms": ["federated"],
        "settings": ["real", "real-epsilon-6"],
        "privacy": {"secret_seed": 1},
        "federation": {"rounds": 4, "local_steps": 2, "strategy": {"name": "FedAvgM"}},
    }
    return parse(content, "test")


@pytest.fixture(scope="module")
def undisturbed(config: StudyConfig, run_inline: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return digests(run_inline(config, tmp_path_factory.mktemp("undisturbed") / "run"))


def test_full_disk(
    config: StudyConfig, undisturbed: dict[str, str], run_inline: Run, disk: Callable[..., Path]
) -> None:
    """The study gets a little more room after each failure, until it ends: as if nothing had happened."""
    failed = 0
    for size in range(24, 4000, 40):
        out = disk(size) / "run"
        try:
            run_inline(config, out)
            break
        except (OSError, StudyError, InputError) as error:
            failed += 1
            assert "\n" not in str(error)
            for path in out.rglob("[!.]*.safetensors"):
                read_tensors(path)  # each is whole
    assert failed >= 5
    assert digests(out) == undisturbed


def test_full_disk_said_by_the_command(config: StudyConfig, tmp_path: Path, disk: Callable[..., Path]) -> None:
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    words = [COMMAND, "run", tmp_path / "study.yaml", "--out", disk(120) / "run"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 3
    (line,) = done.stderr.strip().splitlines()[-1:]
    assert "No space left on device" in line and "the same command with the same --out continues" in line
    assert "Traceback" not in done.stderr


def test_a_cohort_on_a_full_disk(tmp_path: Path, disk: Callable[..., Path]) -> None:
    write_tree(tmp_path / "tree", patients=4, seed=3)
    whole = prepare(tmp_path / "tree", tmp_path / "whole")
    for size in range(12, 4000, 60):
        try:
            cohort = prepare(tmp_path / "tree", disk(size) / "cohort")
            break
        except InputError as error:
            assert "No space left on device" in str(error) and not (disk(size) / "cohort").exists()
    assert size > 12
    np.testing.assert_array_equal(cohort.patches, whole.patches)
    assert (cohort.folder / "manifest.parquet").read_bytes() == (whole.folder / "manifest.parquet").read_bytes()


@pytest.fixture
def network_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Let a disk come (`rw`, `ro`) or go (`lost`) at any moment, also while files on it are open."""
    real, place = tmp_path / "real", tmp_path / "place"
    real.mkdir()
    place.mkdir()

    def change(how: str) -> Path:
        while str(place) in Path("/proc/self/mountinfo").read_text():
            subprocess.run(["umount", "-l", place], check=True)
        if how != "lost" and not (mount("--bind", real, place) and mount("-o", f"remount,bind,{how}", place)):
            pytest.skip("disks cannot be mounted here")
        return place

    yield change
    change("lost")


@pytest.mark.parametrize("stage", ["features", "train", "score"])
@pytest.mark.parametrize("how", ["ro", "lost"])
def test_disk_that_becomes_read_only_or_is_lost(
    config: StudyConfig, undisturbed: dict[str, str], run_inline: Run, network_disk: Callable[[str], Path], stage: str,
    how: str,
) -> None:  # fmt: skip
    """Under a budget: a hospital without its ledger answers nothing."""
    out = network_disk("rw") / "run"

    def change(event: dict[str, Any]) -> None:
        under_a_budget = event["deployment"]["setting"] == "real-epsilon-6"
        if event["stage"] == stage and (under_a_budget or stage == "features"):  # which are computed once
            network_disk(how)

    with pytest.raises((OSError, StudyError, InputError)) as caught:
        run_inline(config, out, report=change)
    assert "\n" not in str(caught.value)
    if how == "ro":
        assert "Read-only file system" in str(caught.value)
        with pytest.raises(InputError, match=r"cannot write there \(Read-only file system\); name another folder"):
            run_inline(config, out)
    else:
        assert not (out / "results.csv").exists()
    network_disk("rw")
    assert digests(run_inline(config, out)) == undisturbed


def test_clock_that_jumps(
    config: StudyConfig, undisturbed: dict[str, str], run_inline: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Days back and forth, between any two looks at it."""
    generator, now = np.random.default_rng(0), time.time()
    monkeypatch.setattr(time, "time", lambda: now + float(generator.normal(0, 1e6)))
    monkeypatch.setattr(time, "time_ns", lambda: int(1e9 * time.time()))
    assert digests(run_inline(config, tmp_path / "run")) == undisturbed
