"""What a run promises and what was spent, from ledgers that are written here by hand."""

from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from fedmammo.config.deployment import Deployment
from fedmammo.config.study import StudyConfig, parse
from fedmammo.privacy.accounting import epsilon_of_mu, mu_of
from fedmammo.privacy.answer import Answer
from fedmammo.privacy.ledger import Ledger
from fedmammo.privacy.odometer import ledger_of
from fedmammo.run.guarantees import NOBODY, NONE, PATIENT, Guarantee
from fedmammo.run.privacy import guarantee_table, privacy_table
from fedmammo.stages.planning import plan_of
from fedmammo.synthesis.names import gan_name

BUDGET = "pretrained-epsilon-6"
MU = mu_of(6, 1e-4)
SIZES = {"A": 30, "B": 20, "all": 50}


@pytest.fixture
def config(small_study: dict[str, Any]) -> StudyConfig:
    """Two rounds of two steps, a quarter of the budget for the generator, which both seeds share."""
    small_study |= {"arms": ["centralized", "federated"], "settings": ["real", BUDGET], "seeds": [0, 1]}
    small_study |= {"synthesis": {"source": "gan", "method": "mean_embedding"}, "privacy": {"generator_share": 0.25}}
    return parse(small_study, "small")


def spend(run: Path, hospital: str, one: Deployment, rounds: int) -> None:
    """Let a hospital agree, release its sums of features, and take part in so many rounds."""
    plan = plan_of(one, {name: SIZES[name] for name in (["all"] if one.arm.pooled else ["A", "B"])})
    assert plan is not None
    folder, gan = run / "hospitals" / hospital, gan_name(one, hospital)
    for name, stage, count in ((gan, "embedding", 1), (one.name, "train", rounds)):
        ledger = Ledger(ledger_of(folder, name), folder / name, [ledger_of(folder, gan)] if name != gan else [])
        ledger.agree(plan)
        for number in range(1, count + 1):
            answer = Answer({"sum": torch.zeros(1)})
            ledger.release(f"{name} {number}", plan, plan.mechanism(stage), number, lambda answer=answer: answer)


@pytest.fixture
def run(config: StudyConfig, tmp_path: Path) -> Path:
    """In the first seed hospital B failed once; everybody else took part in all rounds."""
    for seed in (0, 1):
        spend(tmp_path, "all", config.deployment("centralized", BUDGET, seed), 2)
        spend(tmp_path, "A", config.deployment("federated", BUDGET, seed), 2)
        spend(tmp_path, "B", config.deployment("federated", BUDGET, seed), 1 + seed)
    return tmp_path


def test_each_hospital_spent_by_stage_what_its_ledgers_say(config: StudyConfig, run: Path) -> None:
    """Squared mu adds up: a quarter for the features, three for the classifier; both steps of both rounds."""
    table = privacy_table(run, config, list(config.deployments))
    assert list(zip(table["arm"], table["hospital"], table["stage"], strict=True)) == [
        *(("centralized", "all", stage) for stage in ("embedding", "train", "together")),
        *(("federated", hospital, stage) for hospital in "AB" for stage in ("embedding", "train", "together")),
        ("all", "all", "together"),
    ]
    alike = table.iloc[:9].groupby("stage").agg(["min", "max"])
    for stage, part, releases, steps in (("embedding", 0.25, 1, 1), ("train", 0.75, 2, 4), ("together", 1, 3, 5)):
        row = alike.loc[stage]
        assert row["epsilon"].tolist() == pytest.approx([epsilon_of_mu(MU * sqrt(part), 1e-4)] * 2, rel=1e-4)
        assert row["epsilon_at_1e-6"].tolist() == pytest.approx([epsilon_of_mu(MU * sqrt(part), 1e-6)] * 2, rel=1e-4)
        assert [*row["releases"], *row["steps"]] == [releases, releases, steps, steps]
    assert table.loc[0, "noise_multiplier"] == pytest.approx(2 / MU, rel=1e-4)
    assert table.loc[1, ["clipping_norm", "rate"]].tolist() == [1, 1]
    assert table.loc[2, ["noise_multiplier", "clipping_norm", "rate"]].isna().all()


def test_what_seeds_share_is_paid_once_were_everything_published(config: StudyConfig, run: Path) -> None:
    """A patient in A: one sum of features and two classifiers, from the hospital and from the holder of all."""
    table = privacy_table(run, config, list(config.deployments)[:1])  # what is not finished counts, too
    assert len(table) == 1
    assert table.loc[0, "epsilon"] == pytest.approx(epsilon_of_mu(MU * sqrt(2 * (0.25 + 2 * 0.75)), 1e-4), rel=1e-4)
    assert table.loc[0, "releases"] == 2 * (1 + 4)


def test_nothing_spent_is_nothing_told(config: StudyConfig, tmp_path: Path) -> None:
    assert privacy_table(tmp_path, config, list(config.deployments)).empty


def held(**changes: Any) -> dict[tuple[str, str], Guarantee]:
    nothing = Guarantee(np.nan, np.nan, NONE)
    spent = Guarantee(6.0, 1e-4, PATIENT)._replace(**changes)
    return {("federated", "real"): nothing, ("federated", BUDGET): spent, ("centralized", BUDGET): spent}


def test_a_guarantee_is_told_in_numbers_and_in_words(config: StudyConfig, run: Path) -> None:
    """The best attack finds 19.304 % at epsilon 6: at most 19.4 %."""
    table = guarantee_table(run, config, list(config.deployments), held())
    assert table.loc[0].dropna().to_dict() == {
        "arm": "federated", "setting": "real", "end_to_end": "none",
        "sentence": "Nothing bounds what an attack on the model finds: it has no budget of privacy.",
    }  # fmt: skip
    row = table.loc[1]
    assert row["best_attack"] == pytest.approx(0.19304, rel=1e-4) and row["patients"] == 20
    assert row["epsilon_exchanged"] == pytest.approx(epsilon_of_mu(2 * MU, 1e-4), rel=1e-4)
    assert row["sentence"] == (
        "The best attack finds at most 19.4 % of those who took part when it accuses 1 % of the others wrongly: "
        "moderate protection."
    )
    assert row["adversary"].startswith("everybody outside the hospital")
    assert table.loc[2, "patients"] == 50 and "is trusted" in table.loc[2, "adversary"]
    assert ",20,local," in table.to_csv(index=False)


@pytest.mark.parametrize(
    ("changes", "seed", "why"),
    [
        ({"end_to_end": NONE}, None, "Nothing bounds .*: the synthetic images that it learned from have no guarantee"),
        ({"end_to_end": NONE}, 1, "Nothing bounds .*: the hospitals' secrets came from a number that the study tells"),
        ({"end_to_end": NOBODY}, None, "No patient's data had a part in the model"),
    ],
)
def test_what_does_not_hold_from_end_to_end_has_no_number_of_attacks(
    config: StudyConfig, run: Path, changes: dict[str, str], seed: int | None, why: str
) -> None:
    config = config.model_copy(update={"privacy": config.privacy.model_copy(update={"secret_seed": seed})})
    row = guarantee_table(run, config, list(config.deployments), held(**changes)).loc[1]
    assert pd.isna(row["best_attack"]) and pd.isna(row["protection"]) and row["epsilon"] == 6
    assert pd.Series([row["sentence"]]).str.fullmatch(f"{why}\\.").all()


def test_an_epsilon_of_0_leaves_delta(config: StudyConfig, run: Path) -> None:
    row = guarantee_table(run, config, list(config.deployments), held(epsilon=0.0)).loc[1]
    assert row["best_attack"] == pytest.approx(0.0101) and "at most 1.1 %" in row["sentence"]
