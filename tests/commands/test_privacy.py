"""The plan, the page of a run, its audit, and what its results say they guarantee: all from one small run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fedmammo import open_run
from fedmammo.cohort.store import Cohort
from fedmammo.commands.privacy import plan_page, show_page, write_plans
from fedmammo.config.study import StudyConfig, parse
from fedmammo.errors import InputError, StudyError
from fedmammo.evaluation.attacks import guesses_of
from fedmammo.privacy.accounting import epsilon
from fedmammo.report.part import Part
from fedmammo.report.privacy_page import privacy_page
from fedmammo.run.guarantees import guarantees
from fedmammo.run.results import FINISHED

Finished = tuple[StudyConfig, Path]


@pytest.fixture(scope="module")
def finished(
    new_study: Callable[[], dict[str, Any]],
    phantom_cohort: Cohort,
    run_inline: Callable[[StudyConfig, Path], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Finished:
    """Patients with and without a budget, drawn masses first, and images of generators that have no guarantee."""
    content = new_study() | {"cohort": {"path": str(phantom_cohort.folder)}, "arms": ["federated"]}
    content["settings"] = ["real", "real-epsilon-6", "pretrained-epsilon-2"]
    content["synthesis"] = {"source": "gan", "images": 8, "image_size": 32, "width": 4, "rounds": 1, "local_steps": 1}
    content["synthesis"]["batch"] = 4
    config = parse(content, "small")
    return config, run_inline(config, tmp_path_factory.mktemp("view") / "run")


def text_of(parts: list[Part]) -> str:
    return "\n".join(f"{part.title}\n" + "\n".join(part.lines) for part in parts)


def table_of(parts: list[Part], title: str) -> pd.DataFrame:
    (found,) = [part.table for part in parts if part.title.startswith(title)]
    assert found is not None
    return found


def test_results_say_what_was_spent_and_what_it_covers(finished: Finished) -> None:
    """A private classifier on the images of a generator without a budget has no guarantee from end to end."""
    config, run = finished
    held = guarantees(run, config, config.deployments)
    assert {setting: one.end_to_end for (_, setting), one in held.items()} == {
        "real": "none", "real-epsilon-6": "patient", "pretrained-epsilon-2": "none",
    }  # fmt: skip
    results = pd.read_csv(run / "results.csv", keep_default_na=False, na_values=[""]).groupby("setting").first()
    assert results.loc["real-epsilon-6", "epsilon"] == held["federated", "real-epsilon-6"].epsilon
    assert 5.94 <= results.loc["real-epsilon-6", "epsilon"] <= 6
    told = results["end_to_end"].drop("assessment").to_dict()
    assert told == {setting: one.end_to_end for (_, setting), one in held.items()}
    rounds = pd.read_csv(run / "rounds.csv").query("setting == 'real-epsilon-6'")
    assert rounds["epsilon_spent"].max() == held["federated", "real-epsilon-6"].epsilon
    assert rounds[["loss", "simulated_seconds"]].isna().all(axis=None)


def test_whoever_knows_the_seed_of_secrets_is_promised_nothing(finished: Finished) -> None:
    config, run = finished
    seeded = config.model_copy(update={"privacy": config.privacy.model_copy(update={"secret_seed": 1})})
    assert {one.end_to_end for one in guarantees(run, seeded, seeded.deployments).values()} == {"none"}


def test_a_ledger_that_is_cut_short_or_gone_is_noticed(finished: Finished, tmp_path: Path) -> None:
    """Its chain is whole to the end: what hospitals told the server of each round shows that lines are missing."""
    config, run = finished
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    ledger = copy / "hospitals/hospital-2/ledger/federated-real-epsilon-6-seed0-draw0-fold0.jsonl"
    whole = ledger.read_text().splitlines(keepends=True)
    ledger.write_text("".join(whole[:-1]))
    with pytest.raises(StudyError, match=r"hospital-2/ledger/.*jsonl: holds less than was released \(epsilon 5\.9"):
        guarantees(copy, config, config.deployments)
    for path in copy.glob("hospitals/*/ledger/*"):
        path.unlink()
    with pytest.raises(StudyError, match=r"no ledger of federated-real-epsilon-6-seed0-draw0-fold0 is there"):
        show_page(copy)


def test_secrets_that_still_lie_in_the_run_are_told(finished: Finished, tmp_path: Path) -> None:
    _, run = finished
    assert "secrets still lie" not in text_of(show_page(run))
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    (copy / "hospitals/hospital-1/secret").write_bytes(bytes(32))
    assert "hospitals' secrets still lie in this folder" in text_of(show_page(copy))


def test_the_plan_is_told_before_anything_runs(finished: Finished, tmp_path: Path) -> None:
    """Four steps at epsilon 6: noise 2 / mu, of mu 1.4596 (one-shot noise .6851)."""
    config, _ = finished
    parts = plan_page(config)
    table = table_of(parts, "federated, real-epsilon-6").set_index("stage")
    assert table.loc["train", "noise"] == pytest.approx(2 * 0.6851, rel=1e-3)
    assert table.loc["together", "at 0.0001"] == pytest.approx(6, rel=0.01)
    assert table.loc["together", "at 1e-06"] == pytest.approx(7.6, abs=0.05)
    text = text_of(parts)
    assert "unit: patient" in text and "zero-out of one patient" in text and "finds at most 19% of those" in text
    assert "hospital-1 6, hospital-2 6, hospital-3 5" in text and "1: 6, 2: 14.5, 6: 70.1, 14: 284 images" in text
    write_plans(tmp_path / "plan.json", config)
    plans = json.loads((tmp_path / "plan.json").read_text())
    assert [plan["setting"] for plan in plans] == ["real-epsilon-6", "pretrained-epsilon-2"]
    assert plans[0]["mechanisms"][0]["noise_multiplier"] == table.loc["train", "noise"]


def test_a_study_without_a_budget_has_no_plan(finished: Finished) -> None:
    config, _ = finished
    with pytest.raises(InputError, match="none has a budget of privacy; add one such as real-epsilon-6"):
        plan_page(config.model_copy(update={"settings": {"real": {}}}))


def test_the_page_of_a_run_says_who_is_protected_and_what_all_deployments_would_cost(finished: Finished) -> None:
    """Two deployments of mu 1.4596 and mu of epsilon 2: together the root of the sum of squares, by the ledgers."""
    config, run = finished
    parts = show_page(run)
    text = text_of(parts)
    assert "not protected: patients who are tested on" in text and "simulated: each arm" in text
    assert "proves nothing of TLS" in text and "NOTHING here is private" not in text
    spent = {row.setting: row.epsilon for row in table_of(parts, "what each deployment").itertuples()}
    assert spent["real-epsilon-6"] == pytest.approx(6, rel=0.01) and pd.isna(spent["real"])
    releases = table_of(parts, "what each hospital spent").set_index("deployment").loc["federated real-epsilon-6"]
    assert releases[["who", "stage", "releases"]].to_numpy().tolist() == [
        ["3 hospitals", "train", 2],
        ["3 hospitals", "together", 2],
    ]
    assert "real-epsilon-6: The best attack finds at most 19.4 % of those who took part" in text
    noise = [
        plan["noise"].iloc[0]
        for plan in (table_of(plan_page(config), f"federated, {name}") for name in spent if name != "real")
    ]
    together = epsilon(tuple(sorted((1.0, sigma, 4) for sigma in noise)), 1e-4)
    assert f"would have spent epsilon {together:.4g} at delta 0.0001 in all deployments with a budget together" in text
    assert "pretrained-epsilon-2, real: without a bound, so all together have none" in text
    assert set(table_of(parts, "what leaves a hospital")["mark"]) == {"public", "local", "charged"}


def test_a_finished_runs_page_reads_its_tables_and_another_says_what_they_would_be(
    finished: Finished, tmp_path: Path
) -> None:
    """Without guarantees.csv, or where a deployment is not finished, the page comes from ledgers."""
    _, run = finished
    whole = [(part.title, part.lines) for part in show_page(run)[1:4]]
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    altered = pd.read_csv(copy / "guarantees.csv").assign(sentence="Altered.")
    altered.to_csv(copy / "guarantees.csv", index=False)
    assert "real-epsilon-6: Altered." in text_of(show_page(copy))
    (copy / FINISHED).unlink()  # as a run does that goes on: its tables may be of less than its ledgers hold
    assert [(part.title, part.lines) for part in show_page(copy)[1:4]] == whole
    with pytest.raises(InputError, match="is not finished, or changed since"):
        privacy_page(open_run(copy))
    (copy / "guarantees.csv").unlink()
    assert [(part.title, part.lines) for part in show_page(copy)[1:4]] == whole
    (copy / "deployments/federated-pretrained-epsilon-2-seed0-draw0-fold0/predictions.csv").unlink()
    parts = show_page(copy)
    assert set(table_of(parts, "what each deployment")["setting"]) == {"real", "real-epsilon-6"}
    assert "federated pretrained-epsilon-2" in set(table_of(parts, "what each hospital spent")["deployment"])


def test_its_tables_agree_with_each_other_and_with_its_results(finished: Finished) -> None:
    _, folder = finished
    run = open_run(folder)
    spent = run.privacy[run.privacy["stage"] == "together"].groupby("setting")["epsilon"].max()
    promised = run.guarantees.set_index("setting")
    assert promised["end_to_end"].to_dict() == {
        "real": "none", "real-epsilon-6": "patient", "pretrained-epsilon-2": "none",
    }  # fmt: skip
    assert spent.drop("all").to_dict() == promised["epsilon"].dropna().to_dict()
    assert promised["patients"].tolist()[1:] == [5, 5] and pd.isna(promised["patients"].iloc[0])
    results = run.results.groupby("setting")["epsilon"].first().dropna()
    assert results.to_dict() == promised["epsilon"].dropna().to_dict()


def test_the_holder_of_all_patients_alone_spends_for_each_of_them(
    new_study: Callable[[], dict[str, Any]],
    phantom_cohort: Cohort,
    run_inline: Callable[[StudyConfig, Path], Path],
    tmp_path: Path,
) -> None:
    """No hospital has a ledger then; two settings of epsilon 6 and 2 compose as they do at a hospital."""
    content = new_study() | {"cohort": {"path": str(phantom_cohort.folder)}, "arms": ["centralized"]}
    config = parse(content | {"settings": ["real-epsilon-6", "real-epsilon-2"]}, "small")
    text = text_of(show_page(run_inline(config, tmp_path / "run")))
    plans = [table_of(plan_page(config), f"centralized, {name}")["noise"].iloc[0] for name in config.settings]
    together = epsilon(tuple(sorted((1.0, sigma, 4) for sigma in plans)), 1e-4)
    assert f"would have spent epsilon {together:.4g} at delta 0.0001 in all deployments" in text
    assert "without a bound" not in text


def test_an_audit_stands_on_the_page_beside_what_was_claimed(finished: Finished) -> None:
    from fedmammo.commands.audit import audit

    _, run = finished
    found = audit(run, 40, 6, 0, lambda _: None).set_index(["setting", "measure"])
    assert found.loc[("real-epsilon-6", "mu"), "claimed"] == pytest.approx(1.4596, rel=1e-3)
    bound = found.loc[("real-epsilon-6", "epsilon is at least")]
    assert 0 <= bound["value"] <= bound["ceiling"] and bound["claimed"] == pytest.approx(6, rel=0.01)
    guesses = guesses_of(40, bound["claimed"], 1.4596, 1e-4)
    assert bound["audit"] == f"40 canaries, {guesses} guessed, one run" and guesses < 40
    assert ("real", "attack's AUROC") in found.index and ("real", "mu") not in found.index
    assert len(table_of(show_page(run), "audit: lower bounds, not a proof")) == len(found)
