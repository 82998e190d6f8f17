"""The command as a process of its own: interrupted, at the end of a pipe, and with a study that ends in many ways."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedmammo.cohort.store import Cohort
from fedmammo.run.dictionary import TABLES

COMMAND = Path(sys.executable).with_name("fedmammo")


def in_a_process(*words: str | Path, cwd: Path) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    done = subprocess.run([COMMAND, *words], cwd=cwd, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    command = ["data", "phantom", "made/for/tree", "--patients", "500"]
    assert _interrupted(tmp_path, command, once="made/for/.*/*") == (130, "")
    assert not list(tmp_path.iterdir())


def test_ctrl_c_keeps_what_was_prepared(tmp_path: Path) -> None:
    """The same command goes on; what it says is to be pasted."""
    _many_patches(tmp_path / "tree")
    command = ["data", "prepare", "tree", "made/for/cohort"]
    code, said = _interrupted(tmp_path, command, once="made/for/cohort.unfinished/journal.jsonl")
    kept = "fedmammo: interrupted; made/for/cohort.unfinished keeps what was read, the same command continues"
    assert (code, said) == (130, kept)
    assert not (tmp_path / "made/for/cohort").exists()
    code, out, _ = in_a_process(*command, cwd=tmp_path)
    assert code == 0 and "3000" in out
    assert [path.name for path in (tmp_path / "made/for").iterdir()] == ["cohort"]


def _interrupted(folder: Path, command: list[str], once: str) -> tuple[int, str]:
    """Run a command and interrupt it once a file is there; its exit code and what it said."""
    process = subprocess.Popen(
        [COMMAND, *command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # background jobs ignore it
    )
    end = time.monotonic() + 60
    while not list(folder.glob(once)) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=30)
    return process.returncode, said.strip()


def _many_patches(folder: Path) -> None:
    """Write a folder of patches with its case description: 3000 times the same image."""
    from PIL import Image

    columns = "patient_id,breast_density,left or right breast,image view,abnormality id,abnormality type,mass shape,"
    columns += "mass margins,assessment,pathology,subtlety,image file path,cropped image file path,ROI mask file path"
    rows = [columns]
    (folder / "train/is_benign_true").mkdir(parents=True)
    first = folder / "train/is_benign_true/patientcbis-ddsm__P_00000_image0_mass1_is_benign_1.png"
    Image.linear_gradient("L").save(first)
    for number in range(3000):
        rows.append(f"P_{number:05d},2,LEFT,CC,1,mass,OVAL,CIRCUMSCRIBED,3,BENIGN,4,a/b/1.{number}/0.dcm,c,d")
        if number:
            os.link(first, first.with_name(f"patientcbis-ddsm__P_{number:05d}_image{number}_mass1_is_benign_1.png"))
    (folder / "mass_case_description_train_set.csv").write_text("\n".join(rows))


def test_nobody_reads_on(phantom_cohort: Cohort) -> None:
    """As in `fedmammo schema | head -1`: the reader is gone, and nothing is said."""
    for words in (["schema"], ["data", "show", phantom_cohort.folder]):
        process = subprocess.Popen([COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 0


@pytest.fixture(scope="module")
def study(
    new_study: Callable[[], dict[str, Any]], phantom_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A study of a second: a random tiny transformer, one round, in this process."""
    content = new_study() | {"cohort": {"path": str(phantom_cohort.folder)}}
    content["federation"] = {"rounds": 1, "local_steps": 1}
    path = tmp_path_factory.mktemp("command") / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_fault_that_only_the_child_finds_is_one_line(study: Path, tmp_path: Path) -> None:
    code, out, err = in_a_process("run", study, "--set", "evaluation.test=val", "--out", "new/out", cwd=tmp_path)
    assert (code, out) == (2, "")
    assert err == "fedmammo: evaluation.test: the cohort has no split 'val'; it has test, train\n"
    assert not list(tmp_path.iterdir())


def test_a_finished_run_is_shown_again_and_nothing_is_computed(study: Path, tmp_path: Path) -> None:
    first = in_a_process("run", study, cwd=tmp_path)
    assert (first[0], first[2]) == (0, "")
    (run,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"small-\d{8}-\d{6}", run.name)
    files = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in run.rglob("*") if path.is_file()}
    dealt = {*run.glob("hospitals/*/site.yaml"), *run.glob("hospitals/*/patients.csv"), run / "hospitals/nodes.json"}
    computed = {path for path in files if path.parent != run} - dealt | {run / "timings.csv"}
    assert len(dealt) == 2 * 4 + 1 and dealt < files.keys(), "written again as config.yaml is, the same"
    assert any(path.suffix == ".safetensors" for path in computed)

    again = in_a_process("run", study, "--out", run.relative_to(tmp_path), cwd=tmp_path)
    assert again == first
    assert in_a_process("show", run.relative_to(tmp_path), cwd=tmp_path) == first
    assert {path: path.read_bytes() for path in files} == {path: content for path, (_, content) in files.items()}
    assert all(path.stat().st_mtime_ns == files[path][0] for path in computed)

    for path in run.glob("*.csv"):
        columns = path.read_text().partition("\n")[0].split(",")
        assert path.name == "columns.csv" or columns == [*TABLES[path.name]], path.name
    assert {path.name for path in run.glob("*.csv")} - {"columns.csv"} < TABLES.keys()


@pytest.mark.long
def test_a_study_that_cannot_go_on_ends_with_3_on_ray(study: Path, tmp_path: Path) -> None:
    """No hospital can train: it is asked again, over Flower's own grid, and then the study ends."""
    impossible = ("--set", "diagnosis.optimizer.learning_rate=1e300", "--set", "engine.name=ray")
    code, out, err = in_a_process("run", study, *impossible, "--out", "out", cwd=tmp_path)
    assert (code, out) == (3, "")
    assert "round 1: 0 of 1 hospitals answered, 1 are needed; hospital-1 failed: RuntimeError: value cannot" in err


@pytest.mark.long
def test_a_simulation_that_crashes_ends(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's sockets do not fit into such a folder; Flower then leaves a thread that waits for ever."""
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    code, out, err = in_a_process("run", study, "--set", "engine.name=ray", "--out", "out", cwd=tmp_path)
    assert (code, out) == (3, "")
    assert re.fullmatch(r"fedmammo: OSError: .*; see out/run.log\n", err)


@pytest.mark.long
def test_a_second_ctrl_c_leaves_no_process_behind(study: Path, tmp_path: Path) -> None:
    """Early, too, when the child is only being started: a terminal sends Ctrl-C to all processes at once."""
    for seconds in (0.8, 1.6, 3.0, 6.0):
        process = subprocess.Popen(
            [COMMAND, "run", study, "--set", "federation.rounds=100000", "--out", "out"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        time.sleep(seconds)
        for _ in range(2):
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.05)
        said, _ = process.communicate(timeout=30)  # the pipe closes when the last process is gone
        assert process.returncode in (130, -signal.SIGINT)
        assert "Traceback" not in said
