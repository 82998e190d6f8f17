"""The command line: every fault is one line that says what to do, an exit code, and nothing written."""

import json
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from PIL import Image

from fedmammo.cli import main
from fedmammo.cohort.store import Cohort
from fedmammo.commands import run as engine
from fedmammo.phantom.patches import draw_patches
from fedmammo.synthesis import radiomics
from tests.report.made_up import made_up

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
        "synthesis",
        "synthesis evaluate",
        "privacy",
        "privacy plan",
        "privacy show",
        "privacy audit",
        "plan",
        "phantom",
        "phantom pretrain",
        "deploy",
        "deploy kit",
        "site",
        "site check",
        "site approve",
        "run",
        "show",
        "report",
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
        ("report nowhere", "nowhere/config.yaml: is not the configuration of a run"),
        ("report nowhere full", "several runs make one page, and no methods section: name it with --out"),
        ("report nowhere full --out a.html --methods b.md", "leave out --methods"),
        ("report nowhere full --out a.html", "nowhere/config.yaml: is not the configuration of a run"),
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


def test_a_report_is_written_again_with_what_people_tell(here: Here) -> None:
    made_up(here.folder / "run")
    assert here("report", "run").out == "run/report.html\n"
    config = here.folder / "run/config.yaml"
    config.write_text(config.read_text().replace("funding: ''", "funding: the town"))
    code, out, _ = here("report", "run", "--out", "page.html", "--methods", "methods.md")
    assert (code, out) == (0, "page.html\nmethods.md\n")
    assert "the town" in (here.folder / "page.html").read_text()
    assert "the town" not in (here.folder / "run/report.html").read_text()
    assert (here.folder / "methods.md").read_text().startswith("# made-up\n\n## Methods\n")
    made_up(here.folder / "other")
    assert here("report", "run", "other", "--out", "both.html").out == "both.html\n"
    assert "run | other" in (here.folder / "both.html").read_text()


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
        ("name: small", "hospitals: is missing"),
    ],
)
def test_a_file_that_is_no_study_is_one_line(here: Here, content: str | bytes | None, expected: str) -> None:
    if content is not None:
        (here.folder / "study.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    commands = (
        "run study.yaml",
        "sites show study.yaml",
        "synthesis evaluate study.yaml x",
        "privacy plan study.yaml",
        "plan study.yaml",
    )
    for command in commands:
        here.refuses(*command.split(), saying=expected)


def test_a_page_of_hospitals_is_written_where_it_is_asked_for(here: Here, phantom_study: dict[str, Any]) -> None:
    (here.folder / "study.yaml").write_text(yaml.safe_dump(phantom_study))
    here.refuses("sites", "show", "study.yaml", "--out", "page.pdf", saying="--out page.pdf: expected a name that ends")
    code, out, err = here("sites", "show", "study.yaml", "--out", "pages/page.html")
    assert (code, err) == (0, "")
    assert "who holds what: train" in out
    assert "pages/page.html: images of patients and exact counts, for the planner of the simulation only\n" in out
    assert (here.folder / "pages" / "page.html").read_text().startswith("<!doctype html>")


def test_synthetic_images_are_measured_and_drawn(
    here: Here, phantom_study: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(radiomics, "is_installed", lambda: False)  # they take a quarter of a second an image
    command = ("synthesis", "evaluate", "study.yaml")
    (here.folder / "study.yaml").write_text(yaml.safe_dump(phantom_study))
    here.refuses(*command, "images", "--out", "page.pdf", saying="--out page.pdf: expected a name that ends in .html")
    here.refuses(*command, "images", saying="images is no folder")
    (here.folder / "images").mkdir()
    here.refuses(*command, "images", "--split", "val", saying="--split val: ")
    for number, patch in enumerate(draw_patches(8, seed=1, size=32)[0]):
        Image.fromarray(patch).save(here.folder / "images" / f"{number}_{'malignant' if number % 2 else 'benign'}.png")
    code, out, err = here(*command, "images", "--side", "24", "--out", "page.html")
    assert (code, err) == (0, "")
    assert "8 synthetic images beside" in out and "kernel distance" in out and "pip install" in out
    assert "page.html: images of patients, for the planner of the simulation only\n" in out
    assert (here.folder / "page.html").read_text().startswith("<!doctype html>")


def test_privacy_is_planned_where_there_is_a_budget(here: Here, phantom_study: dict[str, Any]) -> None:
    (here.folder / "study.yaml").write_text(yaml.safe_dump(phantom_study))
    here.refuses("privacy", "plan", "study.yaml", saying="settings: none has a budget of privacy; add one such as")
    budget = ("--set", "settings=[real-epsilon-6]")
    code, out, err = here("privacy", "plan", "study.yaml", *budget)
    assert (code, err) == (0, "")
    assert "unit: patient" in out and "federated, real-epsilon-6" in out
    assert out.endswith("small-privacy-plan.json: the plans, as hospitals will be asked to agree to them\n")
    plans = json.loads((here.folder / "small-privacy-plan.json").read_text())
    assert [plan["arm"] for plan in plans] == ["centralized", "local", "federated"]
    here.refuses("privacy", "plan", "study.yaml", *budget, "--out", "study.yaml/plan.json", saying="study.yaml")
    for command in ("show", "audit"):
        here.refuses("privacy", command, "nowhere", saying="is not the configuration of a run")
    here.refuses("privacy", "show", "nowhere", "--out", "page.pdf", saying="ends in .html")
    here.refuses("report", "nowhere", "--out", "results.csv", saying="--out results.csv: expected the name of a file")
    here.refuses("report", "nowhere", "--methods", "m.html", saying="file that ends in .md")
    here.refuses("privacy", "audit", "nowhere", "--models", "3", saying="'--models': 3 is not in the range")


def test_profiles_that_ask_for_too_much_are_one_line(here: Here, phantom_study: dict[str, Any]) -> None:
    (here.folder / "greedy.yaml").write_text(yaml.safe_dump({"name": "greedy", "prevalence": 0.95}))
    phantom_study["hospitals"] = {"assignment": {"by": "profiles", "profiles": ["./greedy.yaml"]}}
    (here.folder / "study.yaml").write_text(yaml.safe_dump(phantom_study))
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
        ("federation.strategy.name=FedFoo", "federation.strategy: expected one of FedAvg, FedAvgSquared, FedProx, "),
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


def test_a_plan_is_printed_and_written(here: Here, phantom_study: dict[str, Any]) -> None:
    phantom_study["evaluation"] = {"folds": 2, "folds_over": ["train", "test"]}
    (here.folder / "study.yaml").write_text(yaml.safe_dump(phantom_study))
    code, out, err = here("plan", "study.yaml", "--no-timing", "--assume", "auroc=.8", "--out", "plan")
    assert (code, err) == (0, "")
    assert out.startswith("plan of small\n") and "how sure the study will be" in out and "told" in out
    assert out.endswith("plan: plan.html to look at, and its tables; columns.csv says what each column means\n")
    assert {"plan.csv", "power.csv", "plan.html", "columns.csv"} <= {path.name for path in Path("plan").iterdir()}
    here.refuses("plan", "study.yaml", "--assume", "area=.8", saying="--assume area=.8: nobody knows area")
    here.refuses("plan", "study.yaml", "--pilot", "plan", saying="is not the configuration of a run")
