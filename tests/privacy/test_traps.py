"""Sixteen ways in which a private study is not private: each a test that fails where our code falls into it.

On the real training loop, noise, ledger and hospital. Trap 10 is shown for every network in test_gradients; traps 17 to
27 have files of their own.
"""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from fedmammo.cohort.store import Cohort
from fedmammo.config.sections import DiagnosisConfig
from fedmammo.config.study import parse
from fedmammo.errors import InputError
from fedmammo.features import opening
from fedmammo.features.inputs import Inputs
from fedmammo.hospitals.records import true_records
from fedmammo.models.classifier import build_classifier, initial_model
from fedmammo.privacy.accounting import calibrate, epsilon
from fedmammo.privacy.answer import Answer, check_fields
from fedmammo.privacy.mechanism import Mechanism
from fedmammo.privacy.noise import from_grid
from fedmammo.privacy.plan import Plan
from fedmammo.privacy.reasons import RefusalError
from fedmammo.privacy.secret import Secret
from fedmammo.privacy.steps import PrivateSteps
from fedmammo.randomness import generator_of
from fedmammo.run.guarantees import guarantees
from fedmammo.stages.hospital import STAGES
from fedmammo.stages.opened import inputs_of
from fedmammo.stages.stage import Job
from fedmammo.strategies.registry import KINDS, STRATEGIES
from fedmammo.synthesis.sources import POOLS, POOLS_TABLE
from fedmammo.training.steps import train

Deploy = Callable[..., Any]
SECRET = Secret.of(Path("hospital"), 1)
ONE = Mechanism("train", 1.0, 1.0, 1.0, 1, 1)


def steps_of(request: str = "r", secret: Secret = SECRET, **keys: Any) -> PrivateSteps:
    """A private step of twenty patients almost without noise, at a norm that nobody reaches."""
    return PrivateSteps(replace(ONE, **{"clipping_norm": 2.0, "noise_multiplier": 1e-9} | keys), secret, request, 20)


def test_trap_01_a_fresh_accountant_each_round(deploy: Deploy) -> None:
    """Three rounds of two steps: what the hospital tells after each is of all steps so far, and in the end the plan."""
    deployment = deploy()
    deployment.agree(0)
    mechanism = deployment.plan.mechanism("train")
    told = [deployment.train(0, number)[1]["epsilon"] for number in (1, 2, 3)]
    assert told == [epsilon(((1.0, mechanism.noise_multiplier, steps),), 1e-4) for steps in (2, 4, 6)]
    assert told == [line["epsilon"]["0.0001"] for line in deployment.ledger(0)]
    assert told[-1] == pytest.approx(deployment.plan.epsilon(1e-4)) and 5.9 < told[-1] <= 6


def test_trap_02_amplification_by_clients_or_by_a_round_that_is_all_or_nothing(deploy: Deploy) -> None:
    """A round's two steps are paid at the rate of a patient in a step; all hospitals are asked in every round."""
    deployment = deploy(diagnosis={"patient_fraction": 0.5})
    deployment.agree(1)
    mechanism = deployment.plan.mechanism("train")
    _, numbers = deployment.train(1)
    assert numbers["epsilon"] == epsilon(((0.5, mechanism.noise_multiplier, 2),), 1e-4)
    (line,) = deployment.ledger(1)
    assert (line["mechanism"]["rate"], line["steps"]) == (0.5, 2)
    for kind, name in zip(KINDS, STRATEGIES, strict=True):
        assert kind(name=name).make(deployment.deployment).fraction_train == 1.0


def test_trap_03_an_empty_sample_is_skipped(deploy: Deploy) -> None:
    """In the first round in whose steps nobody is, the model moves all the same, everywhere, and the steps are paid.

    A round of two steps is empty with a probability of .99^(2 x patients), so that of forty rounds some are.
    """
    deployment = deploy(diagnosis={"patient_fraction": 0.01, "optimizer": {"momentum": 0.0}}, federation={"rounds": 40})
    deployment.agree(2)
    mechanism, patients = deployment.plan.mechanism("train"), deployment.sizes["hospital-3"]
    for number in range(1, 41):
        sent, numbers = deployment.train(2, number)
        line = deployment.ledger(2)[-1]
        steps = PrivateSteps(mechanism, Secret.of(deployment.folder(2), 1), line["request"], patients)
        if not any(len(sample) for sample in steps.samples()):
            break
    assert [len(sample) for sample in steps.samples()] == [0, 0]
    assert line["steps"] == 2 and numbers["epsilon"] == epsilon(((0.01, mechanism.noise_multiplier, 2 * number),), 1e-4)
    moved = torch.cat([(sent[name] - tensor).flatten() for name, tensor in deployment.model.items()])
    deviation = sqrt(2) * 0.1 * mechanism.noise_multiplier / steps.divisor
    assert (moved != 0).all() and 0.5 < moved.std().item() / deviation < 1.5


def test_trap_04_training_on_others_than_the_sample_that_is_accounted(one_by_one: Any, fine_grid: None) -> None:
    """Whose weights move in a step are those whom the Poisson sample names, of a size that varies."""
    sizes = set()
    for number in range(8):
        private = steps_of(f"request {number}", rate=0.3)
        (sample,) = private.samples()
        moved = np.flatnonzero(abs(one_by_one.train(private)) > 0.01)
        assert moved.tolist() == sample.tolist()
        sizes.add(len(sample))
    assert len(sizes) > 1


def test_trap_05_noise_for_rounds_where_steps_run(deploy: Deploy) -> None:
    """4 rounds of 5 steps: 20 steps cost the budget, 4 hardly a third of it; and 5 steps are what a round takes."""
    deployment = deploy(federation={"rounds": 4, "local_steps": 5})
    sigma = deployment.plan.mechanism("train").noise_multiplier
    assert epsilon(((1.0, sigma, 20),), 1e-4) == pytest.approx(6, rel=1e-4)
    assert epsilon(((1.0, sigma, 4),), 1e-4) < 2.5
    assert deployment.plan.epsilon(1e-4) == pytest.approx(6, rel=1e-4)
    deployment.agree(0)
    deployment.train(0)
    assert [line["steps"] for line in deployment.ledger(0)] == [5]


def test_trap_06_a_rate_rounded_to_whole_batches(deploy: Deploy) -> None:
    """.64 of 100 patients is neither 1 nor 1/2: the plan's rate is the study's, and the one by which is sampled."""
    deployment = deploy(diagnosis={"patient_fraction": 0.64})
    mechanism = deployment.plan.mechanism("train")
    assert mechanism.rate == 0.64
    steps = PrivateSteps(replace(mechanism, local_steps=200), SECRET, "r", 100)
    mean = np.mean([len(sample) for sample in steps.samples()])
    assert abs(mean - 64) < 5 * sqrt(64 * 0.36 / 200)


def test_trap_07_statistics_of_batches_and_state_travel_without_noise(deploy: Deploy) -> None:
    """Batch normalisation cannot be trained; what leaves are the trained tensors, what stays behind is unchanged."""
    config = DiagnosisConfig.model_validate(
        {
            "network": "levit_128s",
            "weights": "none",
            "image_size": 224,
            "train": "all",
            "optimizer": {"learning_rate": 1},
        }
    )
    with pytest.raises(InputError, match="has batch normalisation"):
        build_classifier(config)
    deployment = deploy(diagnosis={"train": "last_blocks:1"})
    deployment.agree(0)
    classifier = inputs_of(deployment.site(0), deployment.deployment).classifier
    trained = dict.fromkeys(classifier.trained())
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items() if name not in trained}
    sent, _ = deployment.train(0)
    assert sent.keys() == trained.keys() == deployment.model.keys()
    assert all(torch.equal(tensor, classifier.state_dict()[name]) for name, tensor in before.items())


def test_trap_08_one_row_that_is_not_a_number(one_by_one: Any) -> None:
    """Patient 3 counts as zero, all others as before."""
    expected = one_by_one.train(steps_of())
    one_by_one.features(3, np.full(64, np.nan, np.float32))
    found = one_by_one.train(steps_of())
    assert abs(expected[[2, 4]]).min() > 0.02
    assert abs(found[3]) < 1e-3
    assert np.allclose(np.delete(found, 3), np.delete(expected, 3), atol=1e-6)


def test_trap_09_noise_and_samples_from_a_published_seed(deploy: Deploy, tmp_path: Path) -> None:
    """The same study, seeds and all, with two secrets from the operating system: other noise, other samples.

    Under one secret the same request is answered alike, and one whose model differs gets other noise.
    """
    sent = []
    for run in ("a", "b"):
        deployment = deploy(run, privacy={"secret_seed": None}, diagnosis={"patient_fraction": 0.01})
        deployment.agree(0)
        first, _ = deployment.train(0)
        assert all(torch.equal(first[name], tensor) for name, tensor in deployment.train(0)[0].items())
        near = {name: tensor + 1e-3 for name, tensor in deployment.model.items()}
        moved = deployment.train(0, model=near)[0]
        sent += [first["head.weight"] - deployment.model["head.weight"], moved["head.weight"] - near["head.weight"]]
    for first, second in [(0, 1), (0, 2), (2, 3)]:
        assert abs(np.corrcoef(sent[first][0], sent[second][0])[0, 1]) < 5 / sqrt(64)
        assert (sent[first] - sent[second]).abs().max() > 0.5 * sent[first].std()
    strangers = [Secret.of(tmp_path / name, None) for name in "ab"]
    samples = [[sample.tolist() for sample in steps_of(secret=one, rate=0.5).samples()] for one in strangers]
    assert samples[0] != samples[1]


def test_trap_09_a_seeded_secret_marks_the_run_and_forks_share_no_state(deploy: Deploy, tmp_path: Path) -> None:
    """A seed in place of the secret leaves no guarantee. Two forks of a hospital draw what one process would draw."""
    deployment = deploy()
    marked = guarantees(tmp_path, deployment.config, [deployment.deployment])
    assert marked["federated", "real-epsilon-6"].end_to_end == "none"
    for request in "ab":
        pid = os.fork()
        if pid == 0:
            np.save(tmp_path / f"{request}.npy", SECRET.stream(request, "noise", 0).words(50))
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    first, second = (np.load(tmp_path / f"{request}.npy") for request in "ab")
    assert not np.isin(first, second).any()
    assert np.array_equal(first, SECRET.stream("a", "noise", 0).words(50))


def test_trap_10_swin_through_the_whole_loop(
    own_cohort: Cohort, fine_grid: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Swin's last block: without noise and clipping, a step is along the mean over patients of their mean gradients."""
    monkeypatch.setattr(opening, "STAND_INS", 8)
    content = {"network": "swin_tiny_patch4_window7_224", "weights": "none", "image_size": 64}
    more = {"train": "last_blocks:1", "augmentation": {"flips": "none"}, "optimizer": {"learning_rate": 1}}
    config = DiagnosisConfig.model_validate(content | more)
    inputs = Inputs(own_cohort, config, torch.device("cpu"), true_records(own_cohort))
    patients = [np.array([0, 1, 2]), np.array([3])]
    inputs.compute(np.arange(4))
    private = PrivateSteps(replace(ONE, clipping_norm=1000.0), SECRET, "r", 2, sums=True)
    model = initial_model(config, 0)
    sums = train(inputs, patients, config, 1, generator_of(0), model, {}, private=private)[0].model
    grid = private.grid(list(model.values()))
    found = dict(zip(sums, from_grid(list(sums.values()), grid, private.divisor), strict=True))
    classifier, expected = inputs.classifier, {}
    assert any("relative_position_bias_table" in name for name in found)
    for rows in patients:
        classifier.zero_grad()
        labels = torch.from_numpy(inputs.malignant[rows].astype(np.float32))
        logits = classifier(inputs.read(rows, np.zeros(len(rows), np.int64)))
        torch.nn.functional.binary_cross_entropy_with_logits(logits, labels).backward()
        for name, parameter in classifier.trained().items():
            expected[name] = expected.get(name, 0) + parameter.grad.clone() / 2
    assert max((found[name] - tensor).abs().max().item() for name, tensor in expected.items()) < 1e-5


def test_trap_11_a_generator_that_is_not_private_voids_what_uses_it(new_study: Any, tmp_path: Path) -> None:
    """A classifier with a budget, pretrained on a pool: none from end to end, unless the pool was drawn by rule."""
    content = new_study() | {"settings": ["real-epsilon-6", "pretrained-epsilon-6"], "arms": ["federated"]}
    config = parse(content | {"synthesis": {"source": "phantom"}}, "")
    table = pd.DataFrame([{"arm": "federated", "setting": "pretrained", "sole_setting": "", "seed": "all", "draw": "0",
                           "fold": "0", "holder": "all"}])  # fmt: skip
    (tmp_path / POOLS).mkdir()
    for guarantee, expected in (("none", "none"), ("none needed: drawn by rule, at published rates", "patient")):
        table.assign(guarantee=guarantee).to_csv(tmp_path / POOLS / POOLS_TABLE, index=False)
        marked = guarantees(tmp_path, config, list(config.deployments))
        assert marked["federated", "pretrained-epsilon-6"].end_to_end == expected
        assert marked["federated", "real-epsilon-6"].end_to_end == "patient"


def test_trap_12_an_update_that_was_lost_is_paid(deploy: Deploy) -> None:
    """The server never sees the first answer. It asks the same again: the same bytes, paid once. Or it asks with
    another model: paid again, and one round fewer is left.
    """
    deployment = deploy()
    deployment.agree(0)
    lost, first = deployment.train(0)
    again, told = deployment.train(0)
    assert told == first and list(again) == list(lost)
    assert all(torch.equal(lost[name], again[name]) for name in lost)
    _, second = deployment.train(0, model=lost)
    assert second["epsilon"] > first["epsilon"]
    assert [line["round"] for line in deployment.ledger(0)] == [1, 1]
    deployment.train(0, 2)
    with pytest.raises(RefusalError, match=r"^refused: round 3 of stage train is one more than the 3 agreed to$"):
        deployment.train(0, 3)


def test_trap_13_what_depends_on_patients_leaves_uncharged(deploy: Deploy, own_cohort: Cohort) -> None:
    """No loss, no count of images, no gradient norm: what a hospital sends beside the release follows from the plan.

    A field that is local, or that nobody marked, is refused; features come in one go, which tells no number of images.
    """
    deployment = deploy(arms=["federated", "centralized"], cohort=own_cohort)
    deployment.agree(0)
    _, numbers = deployment.train(0)
    assert numbers.keys() == {"num-examples", "epsilon"}
    assert numbers["num-examples"] == deployment.plan.patients["hospital-1"]
    for stage, name in [("train", "loss"), ("train", "images"), ("train", "norm"), ("count", "malignant"),
                        ("generator", "loss"), ("embedding", "images"), ("declare", "beside"),
                        ("agree", "tensors")]:  # fmt: skip
        answer = Answer({"x": torch.ones(1)}, {}) if name == "tensors" else Answer(numbers={name: 1.0})
        answer = Answer(beside={"x": torch.ones(1)}) if name == "beside" else answer
        with pytest.raises(RefusalError, match=f"^refused: {name} of stage {stage} is not for others to see$"):
            check_fields(stage, STAGES[stage].fields, answer)
    check_fields("train", STAGES["train"].fields, Answer({"x": torch.ones(1)}, {"num-examples": 1.0, "epsilon": 6.0}))
    pooled = deployment.config.deployment("centralized", "real-epsilon-6")
    deployment.declare(3, pooled)
    answer = deployment.ask(3, Job("features", pooled.digest))
    assert (answer.tensors, answer.numbers) == ({}, {"remaining": 0.0})
    assert len(inputs_of(deployment.site(3), pooled).missing(np.arange(46))) == 0


def test_trap_14_how_many_were_sampled_is_in_a_weight_or_divisor(
    one_by_one: Any, deploy: Deploy, fine_grid: None
) -> None:
    """Whoever is in a step moves a weight by 1/2 over the expected number of patients, 6, however many are in it."""
    for number in range(6):
        private = steps_of(f"request {number}", rate=0.3)
        (sample,) = private.samples()
        assert abs(one_by_one.train(private)[sample]) == pytest.approx(0.5 / 6, rel=1e-4)
    deployment = deploy(diagnosis={"patient_fraction": 0.3})
    deployment.agree(0)
    sent = [deployment.train(0, number)[1]["num-examples"] for number in (1, 2, 3)]
    assert sent == 3 * [deployment.plan.patients["hospital-1"]]


def test_trap_15_noise_of_nothing_and_an_accountant_that_asks_for_too_little(deploy: Deploy) -> None:
    """Multiplier 0 is no mechanism, has no epsilon and is no plan; sampled steps have no closed form."""
    deployment = deploy()
    with pytest.raises(ValueError, match="noise multiplier 0 is not a positive number"):
        replace(ONE, noise_multiplier=0)
    with pytest.raises(ValueError, match="cannot be counted"):
        epsilon(((1.0, 0.0, 1),), 1e-4)
    with pytest.raises(RefusalError, match=r"^refused: not a plan"):
        Plan.from_json(re.sub(r'"noise_multiplier": [0-9.]+', '"noise_multiplier": 0', deployment.plan.to_json()))
    assert epsilon(((0.2, 2.0, 300),), 1e-4) == pytest.approx(8.1829, rel=5e-3)  # by a central limit theorem: 7.6
    (sigma,) = calibrate([(0.2, 100, 1.0)], 6.0, 1e-4)
    assert sigma == pytest.approx(1.59, rel=5e-3)


@pytest.mark.parametrize(
    "change", [{"noise_multiplier": 1e-3}, {"clipping_norm": 1e6}, {"rate": 0.1}, {"local_steps": 9}, {"rounds": 4}]
)
def test_trap_16_a_server_that_chooses_as_it_goes(deploy: Deploy, change: dict[str, Any]) -> None:
    """Every hospital refuses a plan that it does not work out itself, a round by it, and one round more than agreed."""
    deployment = deploy()
    (mechanism,) = deployment.plan.mechanisms
    other = replace(deployment.plan, mechanisms=(replace(mechanism, **change),))
    for node in range(3):
        with pytest.raises(RefusalError, match=r"^refused: the plan that is asked for is not the one that"):
            deployment.agree(node, plan=other)
        deployment.agree(node)
        with pytest.raises(RefusalError, match=r"^refused: it was not agreed to this plan$"):
            deployment.train(node, plan=other.digest)
        for number in (0, 4):
            with pytest.raises(RefusalError, match=rf"^refused: round {number} was asked for, 3 were agreed to$"):
                deployment.train(node, number)
        assert deployment.ledger(node) == []


def test_trap_16_another_plan_another_study_or_limits_of_the_hospitals_own(deploy: Deploy) -> None:
    deployment = deploy()
    faster = deployment.of("real-epsilon-6", diagnosis={"optimizer": {"learning_rate": 1.0}})
    weaker = replace(deployment.plan, budget=60.0)
    with pytest.raises(RefusalError, match=r"^refused: no deployment of this digest was agreed to here$"):
        deployment.train(0)
    deployment.declare(0)
    with pytest.raises(RefusalError, match=r"^refused: it was not agreed to this plan$"):
        deployment.train(0)
    deployment.agree(0)
    with pytest.raises(RefusalError, match=r"^refused: another plan was agreed to for this deployment$"):
        deployment.agree(0, sizes=deployment.sizes | {"hospital-2": 99})
    with pytest.raises(RefusalError, match=r"^refused: the plan that is asked for is not the one"):
        deployment.agree(0, plan=weaker)
    with pytest.raises(RefusalError, match=r"^refused: it was not agreed to this plan$"):
        deployment.train(0, plan=weaker.digest)
    with pytest.raises(RefusalError, match=r"^refused: no deployment of this digest was agreed to here$"):
        deployment.train(0, deployment=faster)
    with pytest.raises(RefusalError, match=r"^refused: it does not declare hospital-1's number of training patients$"):
        deployment.agree(0, faster, sizes=deployment.sizes | {"hospital-1": 1})
    with pytest.raises(RefusalError, match=r"^refused: the deployment is not the one that its digest names$"):
        deployment.ask(1, Job("declare", deployment.deployment.digest), text=faster.model_dump_json())
    with pytest.raises(RefusalError, match=r"^refused: epsilon 101\.0 is not between 0 and the maximum_epsilon"):
        deployment.declare(1, deployment.of("real-epsilon-6", setting_name="real-epsilon-101"))
    assert deployment.plan.study == deployment.deployment.study
    assert deployment.ledger(0) == []


def test_a_release_is_keyed_by_all_that_a_hospital_computes_it_from(deploy: Deploy) -> None:
    """Trap 9 again, at a hospital: another model, another state of its optimiser, other tensors beside the model."""
    deployment = deploy(federation={"rounds": 9})
    deployment.agree(0)
    deployment.train(0, 1)
    deployment.train(0, 2)
    assert len(deployment.ledger(0)) == 2
    other = {name: tensor + 1 for name, tensor in deployment.model.items()}
    deployment.train(0, 1, model=other)
    assert len(deployment.ledger(0)) == 3
    deployment.train(0, 2)  # what is asked is what it was, but round 1 left another momentum
    assert len(deployment.ledger(0)) == 4
    deployment.train(0, 2, part=1, parts=3)
    assert len(deployment.ledger(0)) == 4
    deployment.train(0, 2, beside=other)
    assert len(deployment.ledger(0)) == 5
    assert len({line["request"] for line in deployment.ledger(0)}) == 5
