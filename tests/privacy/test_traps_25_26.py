"""Trap 25, who trains depends on labels; trap 26, a guarantee where something is missing (24: phantom/test_rates)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedmammo.cohort.store import Cohort
from fedmammo.config.study import StudyConfig, parse
from fedmammo.errors import StudyError
from fedmammo.hospitals.holder import Holder, hold
from fedmammo.privacy.reasons import RefusalError
from fedmammo.run.folder import RunFolder, round_row, write_rounds
from fedmammo.run.guarantees import guarantees
from fedmammo.stages.planning import plan_of
from fedmammo.stages.stage import Job
from fedmammo.synthesis.sources import NO_GUARANTEE, NONE_NEEDED, POOLS, POOLS_TABLE

Deploy = Callable[..., Any]

# 25


@pytest.mark.parametrize("folds", [0, 3])
@pytest.mark.parametrize("setting", ["real", "real-epsilon-6"])
def test_trap_25_who_trains_does_not_depend_on_labels(deploy: Deploy, setting: str, folds: int) -> None:
    """At a site, in every setting of a study that has a budget: whatever labels there are, the same sizes, the same
    pseudonyms. One label is flipped at a time, then all are.
    """
    one = deploy(settings=["real", "real-epsilon-6"], evaluation={"folds": folds, "folds_over": ["train", "test"]})
    site, cohort = one.site(0), one.cohort

    def held(patients: pd.DataFrame) -> list[Holder]:
        deployments = [one.of(setting, seed=seed, fold=fold) for seed in (0, 1) for fold in range(max(1, folds))]
        return [hold(site.name, patients, cohort.rows_of_patients, deployment) for deployment in deployments]

    def who(holders: list[Holder]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
        return [(holder.trained, holder.shown) for holder in holders]

    patients = site.patients(0)
    expected = who(held(patients))
    assert expected == who([site.holder(one.of(setting, seed=s, fold=f)) for s in (0, 1) for f in range(max(1, folds))])
    for flipped in [[patient] for patient in patients.index] + [list(patients.index)]:
        labels = patients["malignant"] ^ patients.index.isin(flipped)
        assert who(held(patients.assign(malignant=labels))) == expected
    assert folds == 0 or expected[:folds] != expected[folds:]  # seeds deal folds anew


def test_trap_25_a_deployment_that_divides_by_labels_under_a_budget_is_refused(deploy: Deploy) -> None:
    one = deploy()
    content = one.deployment.model_dump(mode="json")
    content["dealing"]["stratified"] = True
    with pytest.raises(RefusalError, match=r"^refused: not a deployment that is understood here$"):
        one.ask(0, Job("declare", one.deployment.digest), text=json.dumps(content))


def test_trap_25_settings_of_one_study_are_divided_alike(new_study: Any) -> None:
    """Else pairs of settings would be tested on other patients; also where a setting overrides something."""
    content = new_study() | {"arms": {"federated": {"diagnosis.optimizer.learning_rate": 0.5}}}

    def dealings(settings: Any) -> set[bool]:
        config = parse(content | {"settings": settings}, "")
        found = [*config.deployments, *(config.deployment("federated", name) for name in settings)]
        return {deployment.dealing.stratified for deployment in found}

    assert dealings(["real"]) == {True}
    assert dealings(["real", "real-epsilon-6"]) == {False}
    assert dealings({"real": {"federation.rounds": 5}, "real-epsilon-6": {"privacy.clipping_norm": 2.0}}) == {False}
    assert dealings({"real-epsilon-6": {"federation.rounds": 5}, "real": {}}) == {False}


# 26


@pytest.fixture
def config(new_study: Any) -> StudyConfig:
    settings = ["real", "real-epsilon-6", "synthetic", "pretrained", "pretrained-epsilon-6", "augmented-epsilon-6"]
    content = new_study() | {"settings": settings, "arms": ["federated"]}
    return parse(content | {"synthesis": {"source": "gan", "combine": "discriminator"}}, "")


def told(run: Path, config: StudyConfig) -> dict[str, str]:
    found = guarantees(run, config, list(config.deployments))
    return {setting: guarantee.end_to_end for (_, setting), guarantee in found.items()}


def pools(run: Path, **changes: str) -> None:
    row = {"arm": "federated", "setting": "pretrained", "sole_setting": "", "seed": "all", "draw": "0", "fold": "0"}
    row |= {"holder": "all", "guarantee": NONE_NEEDED} | changes
    (run / POOLS).mkdir(exist_ok=True)
    pd.DataFrame([{name: value for name, value in row.items() if value != "gone"}]).to_csv(
        run / POOLS / POOLS_TABLE, index=False
    )


PLAIN = {"real": "none", "real-epsilon-6": "patient"}
NOTHING = PLAIN | dict.fromkeys(["synthetic", "pretrained", "pretrained-epsilon-6", "augmented-epsilon-6"], "none")


def test_trap_26_what_is_missing_guarantees_nothing(config: StudyConfig, tmp_path: Path) -> None:
    """No table of pools, none of this arm, draw, fold or seed, no such column, words that nobody knows."""
    assert told(tmp_path, config) == NOTHING
    for change in ({"arm": "local"}, {"draw": "1"}, {"fold": "1"}, {"seed": "0"}, {"sole_setting": "other"},
                   {"sole_setting": "gone"}, {"arm": "gone"}, {"guarantee": NO_GUARANTEE}, {"guarantee": ""},
                   {"guarantee": "none needed"}, {"guarantee": "epsilon 6 at delta 0.0001 per patient"}):  # fmt: skip
        pools(tmp_path, **change)
        assert told(tmp_path, config) == NOTHING, change
    pools(tmp_path)
    private = {"synthetic": "no patient", "pretrained-epsilon-6": "patient", "augmented-epsilon-6": "patient"}
    assert told(tmp_path, config) == NOTHING | private
    (tmp_path / POOLS / POOLS_TABLE).write_text("arm,setting\n")
    assert told(tmp_path, config) == NOTHING


def test_trap_26_a_generator_with_a_part_of_the_budget(new_study: Any, tmp_path: Path) -> None:
    content = new_study() | {"settings": ["pretrained-epsilon-6"], "arms": ["federated"]}
    content |= {"synthesis": {"source": "gan", "combine": "discriminator"}, "privacy": {"generator_share": 0.5}}
    config = parse(content, "")
    assert told(tmp_path, config) == {"pretrained-epsilon-6": "none"}
    bound = {"sole_setting": "pretrained-epsilon-6", "guarantee": "epsilon 4 at delta 0.0001 per patient"}
    for change, expected in (({}, "patient"), ({"guarantee": NO_GUARANTEE}, "none"), ({"sole_setting": ""}, "none")):
        pools(tmp_path, **bound | change)
        assert told(tmp_path, config) == {"pretrained-epsilon-6": expected}
    seeded = parse(content | {"privacy": {"generator_share": 0.5, "secret_seed": 1}}, "")
    pools(tmp_path, **bound)
    assert told(tmp_path, seeded) == {"pretrained-epsilon-6": "none"}


def test_trap_26_a_ledger_that_is_gone_is_no_guarantee(config: StudyConfig, tmp_path: Path) -> None:
    """Where something was told to be spent, a ledger must say so."""
    deployment = config.deployment("federated", "real-epsilon-6")
    folder = RunFolder(tmp_path).folder(deployment)
    row = round_row(deployment.place, "train", 1, "hospital-1") | {"epsilon_spent": 2.5}
    write_rounds(folder, [row])
    with pytest.raises(StudyError, match=r"no ledger of federated-real-epsilon-6-seed0-draw0-fold0 is there"):
        guarantees(tmp_path, config, [deployment])


def test_two_seeds_share_a_generators_plan(deploy: Deploy) -> None:
    """Its ledger holds one plan; and two draws, whose patients differ, never one release."""
    one = deploy(
        settings=["pretrained-epsilon-6"],
        hospitals={"seed": [0, 1]},
        synthesis={"source": "gan", "method": "mean_embedding"},
        privacy={"generator_share": 0.5},
        federation={"rounds": 1, "local_steps": 1},
    )
    found = []
    for seed, draw in ((0, 0), (1, 0), (0, 1)):
        deployment = one.of("pretrained-epsilon-6", seed=seed, draw=draw)
        holders = [one.site(node).holder(deployment) for node in range(3)]
        one.sizes = {holder.name: len(holder.training) for holder in holders}
        one.agree(0, deployment)
        plan = plan_of(deployment, one.sizes)
        assert plan is not None
        answer = one.ask(0, Job("embedding", deployment.digest, 1, plan=plan.digest))
        found.append((answer.tensors["embedding"], answer.numbers["epsilon"]))
    assert found[0][0].equal(found[1][0]) and found[0][1] == found[1][1]
    noise = np.stack([tensor.flatten().numpy() for tensor, _ in found[1:]])
    assert abs(np.corrcoef(noise)[0, 1]) < 5 / np.sqrt(noise.shape[1])


def test_a_cohort_of_others_is_not_the_hospitals(deploy: Deploy, phantom_cohort: Cohort) -> None:
    """A simulated hospital holds its own patients alone, in every stage."""
    one = deploy()
    own = {name: {*holder.trained, *holder.shown} for name, holder in one.held.items()}
    assert sum(map(len, own.values())) == len(set.union(*own.values())) == len(phantom_cohort.patients)
