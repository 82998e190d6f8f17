"""Where patients went: every sum comes out, from what was listed to who was tested."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fedmammo.cohort.store import Cohort
from fedmammo.config.study import parse
from fedmammo.hospitals.dealing import deal
from fedmammo.run.patients import FLOW, HOLDINGS, write_patients
from fedmammo.run.results import Run

COUNTS = ["patients", "images", "malignant"]


def run_of(content: dict[str, Any], cohort: Cohort, out: Path) -> Run:
    config = parse({**content, "cohort": {"path": str(cohort.folder)}}, "small")
    write_patients(out, config, deal(Cohort.open(cohort.folder), config))
    return Run(out, config)


@pytest.mark.parametrize("folds", [0, 2])
def test_every_patient_is_somewhere(
    small_study: dict[str, Any], phantom_cohort: Cohort, tmp_path: Path, folds: int
) -> None:
    """20 patients in `train`, 10 of them malignant, and 4 in `test`; with folds those of `train` are dealt to them."""
    run = run_of({**small_study, "evaluation": {"folds": folds}}, phantom_cohort, tmp_path)
    flow = run.flow
    assert list(flow) == list(FLOW)
    row = flow.set_index(["stage", "name"])
    assert row.loc[("listed", "all"), "images"] == row.loc[("prepared", "TCIA tree"), "images"] == 46
    assert list(row.loc["split"].loc["train", COUNTS]) == [20, row.loc[("split", "train"), "images"], 10]
    whole = flow.loc[flow["stage"] == "prepared", COUNTS].iloc[0]
    assert whole["patients"] == 24
    for stages in (["split"], ["hospital"]):
        assert (flow.loc[flow["stage"].isin(stages), COUNTS].sum() == whole).all()
    parts = flow.set_index("stage")["patients"]
    if folds:
        assert parts["tested"] == 20 and parts["no part"] == 4 and parts["trained"] <= 20
        assert flow["note"].iloc[-1] == "draw 0, seed 0; in one fold or more of 2"
    else:
        assert parts["tested"] == 4 and parts["trained"] + parts["thresholds"] == 20 and parts["no part"] == 0


def test_what_was_lost_is_told_by_reason(small_study: dict[str, Any], own_cohort: Cohort, tmp_path: Path) -> None:
    lost = "source,row,reason\na.csv,2,no file: x\na.csv,3,no file: y\nb.png,,damaged\n"
    (own_cohort.folder / "quarantine.csv").write_text(lost)
    facts = json.loads((own_cohort.folder / "cohort.json").read_text())
    facts |= {"quarantined": 3, "licence": "CC BY", "citation": "Somebody 2020", "counts": {}}
    (own_cohort.folder / "cohort.json").write_text(json.dumps(facts))
    flow = run_of(small_study, own_cohort, tmp_path).flow
    rows = flow[flow["stage"].isin(["listed", "quarantined"])][["name", "images"]]
    assert rows.to_numpy().tolist() == [["all", 49], ["no file", 2], ["damaged", 1], ["all", 3]]
    assert flow.set_index("stage").loc["prepared", "note"] == "licence CC BY; Somebody 2020"
    assert flow["patients"].isna().sum() == 4


def test_holdings_of_every_draw(small_study: dict[str, Any], phantom_cohort: Cohort, tmp_path: Path) -> None:
    """Splits first, `train` before `test`, then all of them, which have the distances."""
    (tmp_path / "a.yaml").write_text("{name: A, prevalence: .5, digitiser: lumisys_200}")
    (tmp_path / "b.yaml").write_text("{name: B}")
    profiles = [str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]
    hospitals = {"assignment": {"by": "profiles", "profiles": profiles}, "seed": [4, 1]}
    held = run_of({**small_study, "hospitals": hospitals}, phantom_cohort, tmp_path).holdings
    assert list(held) == list(HOLDINGS)
    places = [[draw, split, name] for draw in (4, 1) for split in ("train", "test", "all") for name in ("A", "B")]
    assert held[["draw", "split", "hospital"]].to_numpy().tolist() == places
    assert (held["benign"] + held["malignant"] == held["patients"]).all()
    sums = held.groupby(["draw", held["split"] == "all"])["patients"].sum()
    assert (sums == 24).all()
    assert (held["label_distance"].notna() == (held["split"] == "all")).all()
    assert set(held.loc[held["hospital"] == "A", "digitiser"]) == {"LUMISYS 200"}
    assert held["prevalence_asked"].notna().equals(held["hospital"] == "A")
    assert held["masses"].isna().all()


def test_the_same_study_writes_the_same_tables(
    small_study: dict[str, Any], phantom_cohort: Cohort, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        run_of(small_study, phantom_cohort, tmp_path / name)
    for table in ("flow.csv", "holdings.csv"):
        assert (tmp_path / "a" / table).read_bytes() == (tmp_path / "b" / table).read_bytes()
    assert pd.read_csv(tmp_path / "a/flow.csv", dtype=str)["images"].str.fullmatch("[0-9]+").all()
