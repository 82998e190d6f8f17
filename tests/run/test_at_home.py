"""A study whose hospitals keep their tested patients' scores, from end to end: what arrives, what is said of it."""

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from flwr.app import Message

from fedmammo.cohort.store import Cohort
from fedmammo.config.request import Request
from fedmammo.config.study import StudyConfig, parse
from fedmammo.errors import InputError, StudyError
from fedmammo.evaluation.disclosure import UNTOLD, step_of
from fedmammo.evaluation.summaries import Summary
from fedmammo.federation.client_app import app_of
from fedmammo.federation.inline_grid import InlineGrid
from fedmammo.report.run_page import run_page
from fedmammo.report.summary import summary
from fedmammo.run.at_home import NOTHING, AtHome
from fedmammo.run.folder import RunFolder
from fedmammo.run.results import Run

RunInline = Callable[..., Path]
Make = Callable[..., StudyConfig]
NAMES = ("H0", "H1", "H2")
AT_NO_CUT = ("auroc", "partial_auroc", "auprc", "brier", "calibration_slope", "calibration_intercept")
UNDEFINED = "undefined: not all hospitals give rows of tested patients"


class Reader(InlineGrid):
    """A server that reads everything that arrives."""

    def __init__(self, hospitals: Path, count: int) -> None:
        super().__init__(app_of(hospitals), count)
        self.replies: list[tuple[str, Message]] = []

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        messages = list(messages)
        ids = list(super().push_messages(messages))
        kinds = [message.metadata.message_type for message in messages]
        self.replies += [(kind, self._replies[one]) for kind, one in zip(kinds, ids, strict=True)]
        return ids


@pytest.fixture(scope="module")
def study_of(
    new_study: Callable[[], dict[str, Any]], phantom_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory
) -> Make:
    """Make a study of three hospitals that tell as `scores` says, in order; all patients are tested, in two folds."""

    def make(*scores: str, floor: int = 1, **keys: Any) -> StudyConfig:
        study = new_study() | {"arms": ["local", "federated"]} | keys
        folder = tmp_path_factory.getbasetemp() / f"profiles-{'-'.join(scores)}-{floor}"
        folder.mkdir(exist_ok=True)
        for name, how in zip(NAMES, scores, strict=True):
            about = {"name": name, "scores": how, "minimum_count": floor, "privacy": {"without_budget": "accepted"}}
            (folder / f"{name}.yaml").write_text(yaml.safe_dump(about))
        study |= {"cohort": {"path": str(phantom_cohort.folder)}, "federation": {"rounds": 1, "local_steps": 1}}
        profiles = [str(folder / f"{name}.yaml") for name in NAMES]
        study["hospitals"] = {"assignment": {"by": "profiles", "profiles": profiles}} | keys.get("hospitals", {})
        study["evaluation"] = {"folds": 2, "folds_over": ["train", "test"]} | keys.get("evaluation", {})
        return parse(study, "small")

    return make


@pytest.fixture(scope="module")
def mixed(study_of: Make, run_inline: RunInline, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run: H0 gives rows, H1 summaries, H2 nothing. Not to be altered."""
    study = study_of("rows", "summaries", "not")
    return Run(run_inline(study, tmp_path_factory.mktemp("mixed") / "run"), study)


def test_nothing_of_a_patient_arrives(study_of: Make, run_inline: RunInline, tmp_path: Path) -> None:
    """Every byte that a server gets: no pseudonym of a patient or image, no score, no label, no cell of one or two."""
    readers: list[Reader] = []

    def grid(hospitals: Path, nodes: int) -> Reader:
        readers.append(Reader(hospitals, nodes))
        return readers[0]

    out = run_inline(study_of("summaries", "summaries", "not", floor=3), tmp_path / "run", grid)
    patients = pd.concat([pd.read_csv(path, dtype=str) for path in (out / "hospitals").glob("*/patients.csv")])
    assert len(patients) == 24
    summaries = []
    for kind, reply in readers[0].replies:
        arrays = {name: array for record in reply.content.array_records.values() for name, array in record.items()}
        everything = b"".join(array.data for array in arrays.values())
        for pseudonym in patients["patient"]:
            assert bytes.fromhex(pseudonym) not in everything and pseudonym.encode() not in everything
        if kind == "evaluate":
            assert arrays.keys() == {"center", "scale"}
        if kind == "query.summarize":
            summaries.append(Summary.model_validate_json(arrays["summary"].numpy().tobytes()))
    assert len(summaries) == 2
    for one in summaries:
        assert min(one.positives, one.patients - one.positives) >= one.minimum_count == 3
        assert all(min(group.positives, group.patients - group.positives) >= 3 for group in one.subgroups)
        assert {told.note for told in one.numbers} <= {"", UNTOLD} and any(not told.note for told in one.numbers)
    assert not list(out.glob("**/tested/*")), "nor is it left in the run's folder"
    assert (out / "predictions.csv").read_text().count("\n") == 1


def test_mixed_hospitals(mixed: Run, study_of: Make, run_inline: RunInline, tmp_path: Path) -> None:
    """One gives rows, one summaries, one nothing: each has the numbers that it has where all give rows."""
    all_rows, run = study_of("rows", "rows", "rows"), mixed
    everybody = Run(run_inline(all_rows, tmp_path / "rows"), all_rows)
    tested = run.tested.set_index("hospital")
    assert tested["scores"].to_dict() == {"H0": "rows", "H1": "summaries", "H2": "not"}
    assert tested["note"].tolist() == ["", "", NOTHING] and tested["minimum_count"].tolist()[1] == 1
    assert tested.loc["H2", ["minimum_count", "patients", "positives"]].isna().all()
    assert set(run.predictions["hospital"]) == {"H0"} and not run.has("roc") and not run.has("values")

    def values(of: Run, where: str) -> pd.Series:
        rows = of.results[(of.results["unit"] == "lesion") & (of.results["seed"] == "all")]
        rows = rows[(rows["tested_at"] == where) & rows["trained_at"].isin(["all", where])]
        return rows.set_index(["metric", "arm"])["value"]

    assert values(run, "all").isna().all() and values(run, "H2").isna().all()
    notes = run.results.groupby("tested_at")["note"].agg(set)
    assert notes["all"] == {UNDEFINED} and notes["H2"] == {NOTHING}
    told = Summary.model_validate_json((run.folder / "told/hospitals/H1.json").read_text())
    compared = 0
    for one in (one for one in told.numbers if one.metric in AT_NO_CUT and not (one.against or one.value)):
        key = one.metric, one.arm
        assert values(run, "H0")[key] == pytest.approx(values(everybody, "H0")[key], abs=1e-12)
        if not one.note:
            times, power = step_of((one.variance * 1.06) ** 0.5)
            assert abs(values(run, "H1")[key] - values(everybody, "H1")[key]) <= times * 10.0**power / 2 + 1e-12
            compared += 1
    assert compared >= 4
    first, last = run.verdicts.iloc[0], run.verdicts.iloc[-1]
    assert first["tested_at"] == "mean over hospitals" and first["verdict"] == "not assessable"
    assert "fewer than 3 hospitals; 3 left out" in first["note"] and first["varies"].startswith("hospitals, ")
    assert last["sentence"] == f"H2: not assessable: {NOTHING}." and list(run.verdicts["tested_at"])[1:] == [*NAMES]


def test_what_is_printed_and_drawn(mixed: Run, capsys: pytest.CaptureFixture[str]) -> None:
    summary(mixed)
    printed = " ".join(capsys.readouterr().out.split())
    assert "random-effects mean over hospitals, each on its own test patients" in printed
    assert "counts and metrics alone leave (scores: summaries): H1" in printed
    assert "of tested patients nothing leaves (scores: not): H2" in printed
    page = run_page(mixed)
    assert "Patients whose scores stay home" in page and "keep the scores of their tested patients" in page


def test_a_study_that_was_told_of_does_not_change(
    mixed: Run, study_of: Make, run_inline: RunInline, tmp_path: Path
) -> None:
    """Not by a seed, not by another unit; the margin is nobody's business but the server's. Rows are nowhere."""
    out = tmp_path / "run"
    shutil.copytree(mixed.folder, out)
    told = {path: path.read_bytes() for path in (out / "told").rglob("*.json")}
    config = (out / "config.yaml").read_bytes()
    three = ["local", "federated", "centralized"]
    for keys in ({"seeds": [0, 1]}, {"evaluation": {"unit": "patient"}}, {"arms": three}):
        with pytest.raises(InputError, match="hospitals told of their tested patients once"):
            run_inline(study_of("rows", "summaries", "not", **keys), out)
    assert (out / "config.yaml").read_bytes() == config
    run_inline(study_of("rows", "summaries", "not", evaluation={"primary": {"margin": 0.2}}), out)
    assert (pd.read_csv(out / "verdicts.csv")["margin"] == 0.2).all()
    assert {path: path.read_bytes() for path in (out / "told").rglob("*.json")} == told
    with pytest.raises(InputError, match="needs rows of all tested patients, and some of its hospitals keep them"):
        RunFolder(out).predictions()  # as fedmammo evaluate, compare and plan --pilot do


def test_a_server_that_was_killed_asks_again_and_is_told_the_same(
    study_of: Make, run_inline: RunInline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When hospitals had answered, and nothing of that was written."""
    study = study_of("summaries", "summaries", "not")
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(AtHome, "keep", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        run_inline(study, tmp_path / "run")
    assert not (tmp_path / "run/told/hospitals").exists() and not (tmp_path / "run/results.csv").exists()
    out = run_inline(study, tmp_path / "run")
    other = run_inline(study, tmp_path / "other")
    files = ("told/hospitals/H0.json", "told/hospitals/H1.json", "results.csv", "comparisons.csv", "verdicts.csv")
    assert all((out / name).read_bytes() == (other / name).read_bytes() for name in files)


def test_what_a_hospital_tells_must_be_a_summary(mixed: Run, tmp_path: Path) -> None:
    told = json.loads((mixed.folder / "told/hospitals/H1.json").read_text())
    number = next(at for at, one in enumerate(told["numbers"]) if not one["note"])
    worse = [told | {"seeds": [0, 1, 2, 3, 4]}, told | {"rows": [1]}, told | {"patients": "many"}]
    wrong = told["numbers"][number] | {"values": [[0.5, 0.5]]}
    worse += [told | {"numbers": [wrong]}, told | {"numbers": [wrong | {"values": [[0.5]], "variance": -1.0}]}]
    request = Request.model_validate_json((mixed.folder / "told/request.json").read_text())
    for one in worse:
        with pytest.raises(StudyError, match=r"^H1: what it tells of its tested patients cannot be read$"):
            AtHome(tmp_path / "elsewhere").keep(request, {"H1": json.dumps(one)})
    assert not (tmp_path / "elsewhere").exists()


def test_draws_that_deal_other_patients_are_refused_first(
    study_of: Make, run_inline: RunInline, tmp_path: Path
) -> None:
    with pytest.raises(
        InputError, match=r"hospitals\.seed: draws deal patients anew, and H0 keeps its tested patients"
    ):
        run_inline(study_of("summaries", "rows", "rows", hospitals={"seed": [0, 1]}), tmp_path / "run")
    with pytest.raises(StudyError, match="more than 20 seeds and draws, and H0 keeps its tested patients' scores"):
        run_inline(study_of("summaries", "rows", "rows", seeds="0..20"), tmp_path / "run")
    assert not list((tmp_path / "run").glob("deployments/*"))
