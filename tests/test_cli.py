"""The command line: every fault is one line that says what to do, an exit code, and nothing written."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from fedmammo import engine
from fedmammo.cli import main
from fedmammo.cohort.store import Cohort

COMMAND = Path(sys.executable).with_name("fedmammo")
TOO_LONG = "x" * 300  # no file system takes such a name


class Said(NamedTuple):
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


class Here:
    """Runs commands in this process, in an empty working folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.chdir(folder)
        self.folder, self._monkeypatch, self._capsys = folder, monkeypatch, capsys

    def __call__(self, *words: str | Path) -> Said:
        self._monkeypatch.setattr(sys, "argv", ["fedmammo", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        return Said(int(left.value.code or 0), *self._capsys.readouterr())

    def refuses(self, *words: str | Path, saying: str) -> None:
        """Check that a command says one line, exits with 2 and changes nothing."""
        before = sorted(self.folder.rglob("*"))
        code, out, err = self(*words)
        assert (code, out) == (2, "")
        assert err.startswith("fedmammo: ") and err.count("\n") == 1 and err.endswith("\n"), err
        assert saying in err
        assert sorted(self.folder.rglob("*")) == before


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(tmp_path, monkeypatch, capsys)


def in_a_process(*words: str | Path, cwd: Path) -> Said:
    done = subprocess.run([COMMAND, *words], cwd=cwd, capture_output=True, text=True, timeout=300)
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    "command",
    [
        "",
        "data",
        "data prepare",
        "data join",
        "data phantom",
        "data show",
        "sites",
        "sites show",
        "run",
        "evaluate",
        "schema",
    ],
)
def test_every_help_has_an_example(here: Here, command: str) -> None:
    code, out, err = here(*command.split(), "--help")
    assert (code, err) == (0, "")
    example = re.search(r"Example: (fedmammo \w+)", out)
    assert example and example[1].startswith(" ".join(["fedmammo", *command.split()[:1]]))


def test_the_schema_is_json_with_every_section(here: Here) -> None:
    code, out, _ = here("schema")
    assert code == 0
    assert {"cohort", "hospitals", "diagnosis", "federation", "engine"} <= json.loads(out)["properties"].keys()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("trian", "No such command 'trian'; see fedmammo --help"),
        ("data phantom tree --patient", "fedmammo data phantom --help"),
        ("data phantom tree --patients many", "'many'"),
        ("data phantom tree --patients 0", "'--patients': 0 is not in the range x>=1; see fedmammo data phantom"),
        ("data phantom tree --seed -1", "'--seed': -1"),
        ("data phantom tree --difficulty 2", "'--difficulty': 2"),
        ("data phantom tree --lesions moles", "'--lesions': 'moles' is not one of 'mass', 'calcification', 'both'"),
        ("run", "Missing argument 'CONFIG'; see fedmammo run --help"),
        ("evaluate run --cohort cohort", "Missing option '--split'"),
    ],
)
def test_a_misspelt_command_is_one_line(here: Here, command: str, expected: str) -> None:
    here.refuses(*command.split(), saying=expected)


def test_no_command_shows_the_help(here: Here) -> None:
    code, out, _ = here()
    assert code == 2
    assert "Usage: fedmammo" in out


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("data prepare nowhere out", "nowhere: no such file or folder"),
        ("data prepare file out", "file: column 'image' is missing"),
        ("data prepare empty out", "empty: expected a folder of patches"),
        (f"data prepare {TOO_LONG} out", "File name too long"),
        ("data prepare empty full", "full: exists and is not an empty folder"),
        ("data prepare empty out --size 0", "'--size': 0"),
        ("data prepare empty out --processes 0", "'--processes': 0"),
        ("data prepare empty out --margin nan", "margin nan: expected 0 to 10"),
        ("data join out a=empty", "one cohort is nothing to join"),
        ("data join out a=empty empty", "a=empty empty: expected NAME=COHORT, every name once"),
        ("data join out a=empty a=empty", "expected NAME=COHORT, every name once"),
        ("data join out a=empty b=full", "empty: not a prepared cohort"),
        ("data prepare brackets[/b] out", "brackets[/b]: expected a folder of patches"),
        ("data phantom file", "file: exists and is not an empty folder"),
        ("data phantom full", "full: exists and is not an empty folder"),
        ("data phantom file/tree", "file/tree: cannot write there"),
        (f"data phantom {TOO_LONG}", "cannot write there (File name too long)"),
        (f"data phantom new/{TOO_LONG}", "cannot write there (File name too long)"),
        ("data phantom /proc/nobody/tree", "/proc/nobody/tree: cannot write there"),
        ("data show nowhere", "nowhere: not a prepared cohort"),
        ("data show file", "file: not a prepared cohort"),
        (f"data show {TOO_LONG}", "not a prepared cohort"),
        ("evaluate nowhere --cohort full --split test", "nowhere/config.yaml: is not the configuration of a run"),
        ("evaluate full --cohort full --split test", "full/config.yaml: is not the configuration of a run"),
    ],
)
def test_a_place_that_does_not_fit_is_one_line(here: Here, command: str, expected: str) -> None:
    (here.folder / "file").write_text("mine")
    (here.folder / "empty").mkdir()
    (here.folder / "brackets[" / "b]").mkdir(parents=True)
    (here.folder / "full").mkdir()
    (here.folder / "full/mine").write_text("")
    here.refuses(*command.split(), saying=expected)


@pytest.mark.parametrize("part", ["patches.npy", "manifest.parquet", "cohort.json", "key", "quarantine.csv"])
@pytest.mark.parametrize("fault", ["missing", "empty", "binary", "cut"])
def test_a_cohort_whose_parts_are_damaged_is_one_line(here: Here, own_cohort: Cohort, part: str, fault: str) -> None:
    path = own_cohort.folder / part
    content = path.read_bytes()
    path.unlink()
    if fault != "missing":
        path.write_bytes({"empty": b"", "binary": b"\xff\x00\xfe" * 99, "cut": content[: len(content) // 2]}[fault])
    here.refuses("data", "show", "cohort", saying="cohort: ")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("", "expected a YAML mapping of keys, found NoneType"),
        ("- name: small", "expected a YAML mapping of keys, found list"),
        ("name: [", "study.yaml: not valid YAML"),
        (b"\x93NUMPY\x01\x00", "cannot be read ('utf-8'"),
        ("name: small", "cohort: is missing"),
    ],
)
def test_a_file_that_is_no_study_is_one_line(here: Here, content: str | bytes | None, expected: str) -> None:
    if content is not None:
        (here.folder / "study.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    for command in (("run",), ("sites", "show")):
        here.refuses(*command, "study.yaml", saying=expected)


def test_a_page_of_hospitals_is_written_where_it_is_asked_for(
    here: Here, own_cohort: Cohort, small_study: dict[str, Any]
) -> None:
    small_study["cohort"]["path"] = str(own_cohort.folder)
    (here.folder / "study.yaml").write_text(yaml.safe_dump(small_study))
    here.refuses("sites", "show", "study.yaml", "--out", "page.pdf", saying="--out page.pdf: expected a name that ends")
    code, out, err = here("sites", "show", "study.yaml", "--out", "pages/page.html")
    assert (code, err) == (0, "")
    assert "who holds what: train" in out
    assert "pages/page.html: images of patients and exact counts, for the planner of the simulation only\n" in out
    assert (here.folder / "pages" / "page.html").read_text().startswith("<!doctype html>")


def test_profiles_that_ask_for_too_much_are_one_line(
    here: Here, own_cohort: Cohort, small_study: dict[str, Any]
) -> None:
    small_study["cohort"]["path"] = str(own_cohort.folder)
    (here.folder / "greedy.yaml").write_text(yaml.safe_dump({"name": "greedy", "prevalence": 0.95}))
    small_study["hospitals"] = {"assignment": {"by": "profiles", "profiles": ["./greedy.yaml"]}}
    (here.folder / "study.yaml").write_text(yaml.safe_dump(small_study))
    for command in (("run",), ("sites", "show")):
        here.refuses(*command, "study.yaml", saying="profile greedy: asks for a prevalence of 0.95; the nearest")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("federation.rounds", "--set federation.rounds: expected key=value"),
        ("=3", "--set =3: expected key=value"),
        ("seeds=[0", "--set seeds=[0: not valid YAML"),
        ("federation.rouns=3", "federation.rouns: unknown key"),
        ("federation.rounds=many", "federation.rounds: "),
        ("federation.rounds=0", "federation.rounds: "),
        ("arms=[centralised]", "arms.centralised: "),
        ("federation.strategy.name=FedFoo", "'FedFoo'"),
        ("cohort.path=", "cohort.path: "),
        ("hospitals.assignment.count=1000000000", "hospitals.assignment.count: "),
        ("diagnosis.image_size=1000000", "diagnosis.image_size: "),
        ("engine.threads_per_hospital=100000000000000000000", "engine.threads_per_hospital: "),
        ("evaluation.folds=1", "evaluation.folds: 0 (no folds) or at least 2"),
    ],
)
def test_a_study_that_is_wrong_is_one_line(
    here: Here, small_study: dict[str, Any], override: str, expected: str
) -> None:
    (here.folder / "study.yaml").write_text(yaml.safe_dump(small_study))
    here.refuses("run", "study.yaml", "--set", override, "--out", "out", saying=expected)


def test_names_with_blanks_brackets_and_foreign_letters(
    here: Here, own_cohort: Cohort, small_study: dict[str, Any]
) -> None:
    name = "Kohörte [b] :smile:乳"
    own_cohort.folder.rename(here.folder / name)
    code, out, err = here("data", "show", name)
    assert (code, err) == (0, "")
    assert name in out
    (here.folder / "étude [1].yaml").write_text(yaml.safe_dump(small_study))
    code, out, err = here("sites", "show", "étude [1].yaml", "--set", f"cohort.path={name}")
    assert (code, err) == (0, "")
    assert "hospital-3" in out


def test_the_way_to_go_on_can_be_pasted(
    here: Here, small_study: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "run", interrupt)
    (here.folder / "my study.yaml").write_text(yaml.safe_dump(small_study))
    code, _, err = here("run", "my study.yaml", "--set", "seeds=[0, 1]", "--out", "my run")
    assert code == 130
    assert "fedmammo run 'my study.yaml' --set 'seeds=[0, 1]' --out 'my run' continues\n" in err


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
    Image.new("L", (64, 64)).save(first)
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
        process.wait(timeout=60)


@pytest.fixture(scope="module")
def study(phantom_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of a second: a random tiny transformer, one round, in this process."""
    content = {
        "name": "small",
        "cohort": {"path": str(phantom_cohort.folder)},
        "hospitals": {"assignment": {"by": "uniform", "count": 3}},
        "diagnosis": {
            "network": "test_vit",
            "weights": "none",
            "image_size": 32,
            "optimizer": {"learning_rate": 0.01},
        },
        "federation": {"rounds": 1, "local_steps": 1},
        "engine": {"name": "inline", "device": "cpu"},
        "evaluation": {"resamples": 100},
    }
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
    assert (first.code, first.err) == (0, "")
    (run,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"small-\d{8}-\d{6}", run.name)
    files = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in run.rglob("*") if path.is_file()}
    computed = {path for path in files if path.parent != run} | {run / "timings.csv"}
    assert any(path.suffix == ".safetensors" for path in computed)

    again = in_a_process("run", study, "--out", run.relative_to(tmp_path), cwd=tmp_path)
    assert again == first
    assert {path: path.read_bytes() for path in files} == {path: content for path, (_, content) in files.items()}
    assert all(path.stat().st_mtime_ns == files[path][0] for path in computed)

    columns = {path.stem: path.read_text().partition("\n")[0] for path in run.glob("*.csv")}
    assert columns == {  # of design.md, with draw and fold
        "results": "arm,setting,seed,draw,trained_at,tested_at,split,metric,value,ci_low,ci_high,patients,images,"
        "prevalence,epsilon,delta,note",
        "comparisons": "metric,arm,against,setting,tested_at,difference,ci_low,ci_high,p",
        "predictions": "arm,setting,seed,draw,fold,trained_at,split,hospital,patient,image,label,score",
        "rounds": "arm,setting,seed,draw,fold,stage,round,hospital,status,simulated_seconds,bytes_up,bytes_down,loss,"
        "epsilon_spent",
        "timings": "arm,setting,seed,draw,fold,seconds",
    }


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
