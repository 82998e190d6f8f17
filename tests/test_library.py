"""The package as a library: cheap to import, run from scripts, threads and notebooks, tables with types."""

import asyncio
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import fedmammo
from fedmammo.config.study import StudyConfig, load
from fedmammo.run.results import Run

RUNNING = Path(__file__).parents[1] / "docs/running.md"


@pytest.fixture
def study(phantom_study: dict[str, Any], tmp_path: Path) -> Path:
    """The small study as a file `study.yaml` in an empty folder."""
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(phantom_study))
    return path


@pytest.fixture(scope="module")
def documented() -> str:
    """What the documentation shows of the library."""
    (code,) = re.findall(r"```python\n(.*?)```", RUNNING.read_text(), re.DOTALL)
    assert "__main__" not in code
    return str(code)


def test_importing_it_is_cheap() -> None:
    heavy = "{'torch', 'flwr', 'ray', 'pandas', 'numpy', 'pydantic', 'rich'}"
    code = f"import sys, fedmammo; print(*{heavy} & sys.modules.keys())"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "\n"


def test_everything_public_is_there_and_documented() -> None:
    assert dir(fedmammo) == fedmammo.__all__
    for name in fedmammo.__all__:
        assert getattr(fedmammo, name).__doc__, name
    assert {"load_study", "run_study", "open_run", "Run", "StudyConfig", "InputError"} <= {*fedmammo.__all__}
    with pytest.raises(AttributeError, match="'fedmammo' has no attribute 'nowhere'"):
        fedmammo.nowhere  # noqa: B018


def test_the_version_is_that_of_the_package() -> None:
    assert fedmammo.__version__ == importlib.metadata.version("fedmammo")
    command = [Path(sys.executable).with_name("fedmammo"), "--version"]
    assert subprocess.check_output(command, text=True) == f"fedmammo {fedmammo.__version__}\n"


def test_a_notebook_runs_the_documented_lines_after_an_interrupt(
    study: Path, documented: str, run_inline: Callable[[StudyConfig, Path], Path]
) -> None:
    """They are lines of a script as well; commands/test_run.py has one that is run."""
    compile(documented, "script.py", "exec")
    why = "Jupyter is not installed"
    pytest.importorskip("ipykernel", reason=why)
    manager, client = pytest.importorskip("jupyter_client.manager", reason=why).start_new_kernel(cwd=str(study.parent))
    said = []

    def hear(message: dict[str, Any]) -> None:
        if message["msg_type"] == "stream":
            said.append(message["content"]["text"])

    def interrupt(message: dict[str, Any]) -> None:
        hear(message)
        if message["msg_type"] == "stream":
            manager.interrupt_kernel()

    endless = "import fedmammo\nendless = fedmammo.load_study('study.yaml', ['federation.rounds=100000'])\n"
    try:
        reply = client.execute_interactive(
            f"{endless}fedmammo.run_study(endless, 'runs/endless', print)", timeout=120, output_hook=interrupt
        )
        assert reply["content"]["ename"] == "KeyboardInterrupt" and said
        told = len(said)
        reply = client.execute_interactive(documented, timeout=120, output_hook=hear)
        assert reply["content"]["status"] == "ok", reply["content"]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    lines = "".join(said[told:]).splitlines()
    assert lines[0] == "centralized-real-seed0-draw0-fold0 declare"
    assert {f"{arm}-real-seed0-draw0-fold0 score" for arm in ("centralized", "local", "federated")} <= set(lines)
    here = run_inline(load(study, ["federation.rounds=3"]), study.parent / "here")
    for table in ("results", "comparisons", "predictions", "rounds"):
        assert (study.parent / f"runs/first/{table}.csv").read_bytes() == (here / f"{table}.csv").read_bytes()


def test_an_error_has_its_type_under_a_running_loop_too(study: Path) -> None:
    """What only the study's process finds comes back as the kind of error that it is."""
    out = study.with_name("out")

    async def run() -> None:
        fedmammo.run_study(fedmammo.load_study(study, ["diagnosis.optimizer.learning_rate=1e300"]), str(out))

    with pytest.raises(fedmammo.StudyError, match="round 1: 0 of 1 hospitals answered"):
        asyncio.run(run())
    assert fedmammo.open_run(out).study.name == "small"


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(fedmammo.InputError, match="is not the configuration of a run"):
        fedmammo.open_run(tmp_path)
    with pytest.raises(fedmammo.InputError, match="cannot be read"):
        fedmammo.load_study(tmp_path / "study.yaml")


RESULTS = """\
arm,setting,seed,draw,trained_at,tested_at,split,unit,metric,value,ci_low,ci_high,repeats,median,lowest,patients,\
positives,units,prevalence,epsilon,delta,end_to_end,note
local,real,0,0,007,None,test,image,auroc,0.5,,,1,,,4,3,9,0.75,,,none,
local,real,all,all,all,all,test,image,auroc,,0.25,1.0,2,,,4,3,9,0.75,6.0,1e-05,patient,one class
"""
COMPARISONS = """\
role,metric,unit,better,arm,against,setting,against_setting,tested_at,difference,ci_low,ci_high,at_least,error,\
of_repeats,p,p_holm,repeats,median,q05,lowest,patients,positives,note
primary,auroc,lesion,higher,federated,local,real,real,NA,-0.125,,,,,,1.0,,1,,,,4,3,
"""
PREDICTIONS = """\
arm,setting,seed,draw,fold,trained_at,split,hospital,patient,image,label,score
local,real,1,2,3,nan,test,nan,0012,1e5,1,0.25
"""
ROUNDS = """\
arm,setting,seed,draw,fold,stage,round,hospital,status,simulated_seconds,bytes_up,bytes_down,loss,epsilon_spent,\
patients
federated,real,0,0,0,train,1,null,ok,,10,20,0.5,,
"""
TABLES = {"results": RESULTS, "comparisons": COMPARISONS, "predictions": PREDICTIONS, "rounds": ROUNDS}


@pytest.fixture
def run(phantom_config: StudyConfig, tmp_path: Path) -> Run:
    """Tables by hand, with hospitals whose names look like numbers, or like nothing."""
    for name, content in TABLES.items():
        (tmp_path / f"{name}.csv").write_text(content)
    return Run(tmp_path, phantom_config)


def test_columns_have_the_types_that_their_files_mean(run: Run) -> None:
    first, last = run.results.to_dict("records")
    assert (first["seed"], first["trained_at"], first["tested_at"], first["note"]) == ("0", "007", "None", "")
    assert (first["value"], first["patients"], first["units"]) == (0.5, 4, 9)
    assert np.isnan([first["ci_low"], first["epsilon"], last["value"]]).all()
    assert (last["seed"], last["delta"], last["note"]) == ("all", 1e-5, "one class")
    (compared,), (predicted,), (round_,) = (
        table.to_dict("records") for table in (run.comparisons, run.predictions, run.rounds)
    )
    assert (compared["tested_at"], compared["difference"], compared["p"]) == ("NA", -0.125, 1.0)
    assert (predicted["hospital"], predicted["patient"], predicted["image"]) == ("nan", "0012", "1e5")
    assert (predicted["seed"], predicted["draw"], predicted["fold"], predicted["score"]) == (1, 2, 3, 0.25)
    assert (round_["hospital"], round_["round"], round_["bytes_down"], round_["loss"]) == ("null", 1, 20, 0.5)
    assert np.isnan(round_["simulated_seconds"])
    assert run.rounds["bytes_up"].dtype == run.predictions["label"].dtype == np.int64
    assert run.results["units"].dtype == pd.Int64Dtype(), "a hospital may not say how many it tests"
    assert pd.api.types.is_string_dtype(run.results["note"])
    assert run.results is run.results
    assert "small" not in repr(run)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "has no rounds.csv yet; run its study again"),
        ("", "rounds.csv: is damaged"),
        (ROUNDS[:-2], "its end is missing"),
        (ROUNDS.replace("loss", "lost"), "no column loss"),
        (ROUNDS.replace("train,1,", "train,one,"), "rounds.csv: is damaged"),
        (ROUNDS.replace("train,1,", "train,,"), "rounds.csv: is damaged"),
    ],
)
def test_a_table_that_is_missing_or_damaged_is_one_line(run: Run, content: str | None, expected: str) -> None:
    path = run.folder / "rounds.csv"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(fedmammo.InputError, match=expected) as caught:
        _ = run.rounds
    assert len(str(caught.value).splitlines()) == 1
