"""Facts are what the configuration and the tables say; what is not known has no name."""

from pathlib import Path

import pytest
import yaml

from fedmammo.config.study import StudyConfig
from fedmammo.report.blocks import Cell
from fedmammo.report.facts import CONFIG, facts_of, fill, plain, sentences
from fedmammo.report.prose import METHOD
from fedmammo.run.results import Run
from tests.report.made_up import made_up
from tests.report.told import told_run
from tests.report.walk import configured


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return told_run(tmp_path)


def test_some_facts_in_words(run: Run) -> None:
    facts = {name: plain(parts) for name, parts in facts_of(run).items()}
    assert facts["settings"] == "real, real-epsilon-6 and pretrained"
    assert facts["draws"] == "0 and 1"
    assert facts["rule"] == "at random, equally many to each of 2 hospitals"
    assert facts["strategy"] == "FedProx (proximal_mu 0.375)"
    assert facts["overrides"] == (
        "Departing from this: federated: federation.strategy name FedAvgM, server_momentum 0.4375, "
        "real-epsilon-6: diagnosis.optimizer.learning_rate 0.0625."
    )
    assert facts["optimizer"] == "SGD with momentum, learning rate 0.1, weight decay 0"
    assert facts["prepared"] == "21 patients (10 with a malignant lesion), 44 images"
    assert (facts["listed"], facts["quarantined"], facts["set_thresholds"]) == ("47", "3", "6 patients")
    assert facts["hospitals"] == "hospital_1 and hospital_2"
    assert facts["versions"] == "torch 2.13.0, on cpu"
    assert facts["funding"] == "what people say of funding"
    assert facts["partition"].startswith("patients of the split train trained")


def test_the_heads_own_rate_is_told(run: Run) -> None:
    content = run.study.model_dump(mode="json")
    content["diagnosis"]["train"] = "all"
    content["diagnosis"]["optimizer"]["head_learning_rate"] = 0.5
    facts = facts_of(Run(run.folder, StudyConfig.model_validate(content)))
    assert plain(facts["optimizer"]) == "SGD with momentum, learning rate 0.1 (of the head 0.5), weight decay 0"


def test_every_cell_is_in_its_table_or_in_the_configuration(run: Run) -> None:
    config = yaml.safe_load((run.folder / "config.yaml").read_text())
    cells = [part for parts in facts_of(run).values() for part in parts if isinstance(part, Cell)]
    assert {cell.file for cell in cells} == {CONFIG, "flow", "guarantees", "results", "verdicts"}
    for cell in cells:
        if cell.file != CONFIG:
            assert getattr(run, cell.file).loc[cell.row, cell.key] == cell.value
            continue
        found = configured(config, cell.key)
        assert cell.value == found or (cell.value in found if isinstance(found, dict) else str(cell.value) == found
                                       or float(cell.value) == float(found))  # fmt: skip


def test_a_budget_is_told_by_arm_and_setting_and_only_as_far_as_it_holds(run: Run) -> None:
    """As with secrets that everybody knows, or images without a guarantee: then no number stands there."""
    table = run.guarantees
    bare = (table["setting"] == "real-epsilon-6") & (table["arm"] == "local")
    table.loc[bare, ["end_to_end", "sentence"]] = ["none", "Nothing bounds what an attack finds: why."]
    table.to_csv(run.folder / "guarantees.csv", index=False)
    said = plain(facts_of(Run(run.folder, run.study))["privacy"])
    assert "In the local arm, real-epsilon-6: Nothing bounds what an attack finds: why." in said
    held = "real-epsilon-6: epsilon 5.988 at delta 0.0001, against everybody outside. The best attack finds few."
    assert f"In the federated arm, {held}" in said
    assert said.count("epsilon 5.988") == 2  # centralised and federated
    assert "protected" not in said


def test_arms_that_were_not_run_are_not_told_of(run: Run) -> None:
    study = run.study.model_copy(update={"arms": {"centralized": {}}})
    facts = facts_of(Run(run.folder, study))
    assert not {"strategy", "arm", "against"} & facts.keys()
    assert "Flower" not in plain(sentences(METHOD["Federation"], facts))
    assert "primary comparison" not in plain(sentences(METHOD["Analysis"], facts))


def test_what_is_not_known_has_no_name(tmp_path: Path) -> None:
    """Without tables of patients, as at a real deployment; nothing told; no synthetic image."""
    facts = facts_of(Run(tmp_path, made_up(tmp_path, folds=5)))
    assert not {"prepared", "hospitals", "origin", "synthesis", "overrides", "prevalence", "funding"} & facts.keys()
    assert plain(facts["privacy"]) == "No setting has a privacy budget: patients are promised nothing."
    assert plain(facts["partition"]) == (
        "patients of the splits train and val were dealt to 5 folds, each tested by models of the others"
    )


def test_templates_are_filled_or_left_out() -> None:
    facts = {"a": ["x"], "b": [Cell("results", 3, "value", 0.5)]}
    assert fill("{a} is {b}.", facts) == ["x", " is ", facts["b"][0], "."]
    assert fill("{a} and {c}", facts) == []
    assert plain(sentences(["{a}.", "{c}.", "{b}."], facts)) == "x. 0.500."
