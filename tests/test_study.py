"""The centralised arm is ordinary training: the whole path against a plain torch loop, bit for bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

import fedmammo
from fedmammo.cohort.store import Cohort
from fedmammo.config.arm import ALL
from fedmammo.config.study import StudyConfig, parse
from fedmammo.disk.files import read_tensors
from fedmammo.errors import InputError
from fedmammo.hospitals.dealing import deal
from fedmammo.models.classifier import initial_model
from fedmammo.randomness import generator_of
from fedmammo.report.run_page import write_report
from fedmammo.study import spread_of
from tests.plain_torch import PlainTraining

Run = Callable[[StudyConfig, Path], Path]
OPEN = "privacy: {without_budget: accepted, central_trust: accepted}"


def test_without_validation_patients_all_others_train_and_cuts_stay_empty(
    run_inline: Run, phantom_study: dict[str, Any], tmp_path: Path
) -> None:
    """All 20 of `train`, 4 of whom would set thresholds; under a budget, and with the report."""
    phantom_study["hospitals"]["validation_fraction"] = 0
    phantom_study |= {"arms": ["local", "federated"], "settings": ["real", "real-epsilon-6"]}
    out = run_inline(parse(phantom_study, "small"), tmp_path / "run")
    rounds, results = pd.read_csv(out / "rounds.csv"), pd.read_csv(out / "results.csv")
    assert rounds.query("arm == 'federated' and setting == 'real' and round == 1")["patients"].sum() == 20
    whole = results.query("arm == 'federated' and tested_at == 'all' and seed == 'all'").set_index("metric")
    assert whole.loc[["sensitivity", "balanced_accuracy"], "value"].isna().all()
    assert whole.loc["auroc", "value"].notna().all()
    assert whole.loc["sensitivity", "note"].str.len().all()
    write_report(fedmammo.open_run(out))


def test_hospitals_with_faults_drawn_twice(
    run_inline: Run, phantom_study: dict[str, Any], phantom_cohort: Cohort, tmp_path: Path
) -> None:
    """Two draws: other patients at a hospital, other wrong labels. Tests are made against the truth all the same."""
    (tmp_path / "a.yaml").write_text(f"{{name: A, label_noise: 0.5, digitiser: lumisys_200, {OPEN}}}")
    (tmp_path / "b.yaml").write_text(f"{{name: B, share: 2, {OPEN}}}")
    phantom_study["hospitals"] = {
        "assignment": {"by": "profiles", "profiles": [str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]},
        "seed": [4, 1],
        "validation_fraction": 0.5,
    }
    out = run_inline(parse(phantom_study, "small"), tmp_path / "run")
    results = pd.read_csv(out / "results.csv", dtype={"draw": str})
    assert list(results["draw"].unique()) == ["1", "4", "all"]
    assert set(results["tested_at"]) == {"all", "A", "B"}

    malignant = phantom_cohort.manifest.set_index("image")["malignant"]
    truth = {phantom_cohort.pseudonym("image", str(name)): label for name, label in malignant.items()}
    predictions = pd.read_csv(out / "predictions.csv", dtype={"image": str, "patient": str})
    wrong = predictions[predictions["label"] != predictions["image"].map(truth)]
    assert set(wrong["split"]) == {"validation"} and set(wrong["hospital"]) == {"A"}
    held = predictions[predictions["hospital"] == "A"].groupby("draw")["patient"].agg(frozenset)
    assert held[1] != held[4]


@pytest.mark.parametrize(
    ("evaluation", "expected"),
    [
        ({"test": "val"}, "evaluation.test: the cohort has no split 'val'; it has test, train"),
        ({"test": "train"}, "hospital-1: no patient is left to train on in fold 0 of seed 0; use fewer"),
        ({"folds": 40}, "evaluation.folds: 40, but fold "),
    ],
)
def test_nobody_to_train_or_to_test_on_is_found_before_anything_is_written(
    run_inline: Run, phantom_study: dict[str, Any], tmp_path: Path, evaluation: dict[str, Any], expected: str
) -> None:
    phantom_study["evaluation"] |= evaluation
    with pytest.raises(InputError) as caught:
        run_inline(parse(phantom_study, "small"), tmp_path / "run")
    assert str(caught.value).startswith(expected)
    assert not (tmp_path / "run").exists()


def plain_loop(config: StudyConfig, cohort: Cohort, seed: int) -> dict[str, Tensor]:
    """Train on all hospitals' training patients: one optimiser for all rounds x local steps steps.

    From the house come the initial model, the list of training patients and the names of the random streams.
    """
    deployment = config.deployment("centralized", "real", seed)
    patients = deal(cohort, config).held(cohort, deployment)[ALL].training
    plain = PlainTraining(config.diagnosis, initial_model(config.diagnosis, seed), cohort, patients)
    for number in range(1, config.federation.rounds + 1):
        plain.take(config.federation.local_steps, generator_of(seed, "centralized", "real", 0, 0, "train", number, ALL))
    return plain.tensors


@pytest.mark.parametrize(
    "diagnosis",
    [
        {"train": "head", "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9}},
        {"train": "last_blocks:1", "optimizer": {"name": "sgd", "learning_rate": 0.1}, "label_smoothing": 0.1},
        {"train": "all", "optimizer": {"learning_rate": 0.001, "weight_decay": 0.05}},
    ],
    ids=lambda diagnosis: diagnosis["train"],
)
def test_the_centralised_arm_is_a_plain_torch_loop(
    run_inline: Run, phantom_study: dict[str, Any], phantom_cohort: Cohort, tmp_path: Path, diagnosis: dict[str, Any]
) -> None:
    """Three rounds of three steps on a third of the patients, two seeds: the same weights.

    To the last bit where nothing is frozen; what is frozen is read in other numbers of images at once, which on some
    processors changes last bits.
    """
    phantom_study |= {"arms": ["centralized"], "seeds": [0, 5], "federation": {"rounds": 3, "local_steps": 3}}
    phantom_study["diagnosis"] |= {"patient_fraction": 1 / 3, **diagnosis}
    config = parse(phantom_study, "small")
    out = run_inline(config, tmp_path / "run")
    for seed in config.seeds:
        found, _ = read_tensors(out / "models" / f"centralized-real-seed{seed}-draw0-fold0-all.safetensors")
        expected = plain_loop(config, phantom_cohort, seed)
        assert found.pop("center").shape == found.pop("scale").shape
        assert found.keys() == expected.keys()
        apart = {name: (found[name] - expected[name]).abs().max().item() for name in found}
        assert max(apart.values()) <= (0 if diagnosis["train"] == "all" else 1e-5), apart
        initial = initial_model(config.diagnosis, seed)
        assert not any(torch.equal(found[name], initial[name]) for name in found)


def test_an_arm_of_one_hospital_is_the_same_in_all_three(
    run_inline: Run, phantom_study: dict[str, Any], tmp_path: Path
) -> None:
    """One hospital that holds everybody, all patients in every step: arms then differ in the order of a sum alone."""
    phantom_study["hospitals"]["assignment"]["count"] = 1
    phantom_study["diagnosis"]["augmentation"] = {"flips": "none"}
    out = run_inline(parse(phantom_study, "small"), tmp_path / "run")
    predictions = pd.read_csv(out / "predictions.csv")
    scores = {
        arm: table.set_index(["split", "image"])["score"].sort_index() for arm, table in predictions.groupby("arm")
    }
    assert scores.keys() == {"centralized", "local", "federated"}
    for arm in ("local", "federated"):
        pd.testing.assert_series_equal(scores[arm], scores["centralized"], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("changes", "seeds", "expected"),
    [
        ({}, [0, 1], ("deployments", "linear heads alone are trained")),
        ({}, [0], ("hospitals", "there is one deployment")),
        ({"diagnosis": {"train": "last_blocks:1"}}, [0, 1], ("hospitals", "networks are trained")),
        ({"synthesis": {"source": "phantom"}, "settings": ["augmented"]}, [0, 1],
         ("deployments", "linear heads alone are trained")),
        ({"synthesis": {"source": "gan"}, "settings": ["pretrained"]}, [0, 1], ("hospitals", "GANs are trained")),
        ({"engine": {"spread": "hospitals"}}, [0, 1], ("hospitals", "engine.spread says so")),
        ({"engine": {"spread": "deployments"}, "diagnosis": {"train": "all"}}, [0],
         ("deployments", "engine.spread says so")),
    ],
)  # fmt: skip
def test_what_runs_side_by_side(
    small_study: dict[str, Any], changes: dict[str, Any], seeds: list[int], expected: tuple[str, str]
) -> None:
    content = small_study | {"arms": ["federated"], "seeds": seeds}
    for section, values in changes.items():
        both = isinstance(values, dict) and section in content
        content[section] = content[section] | values if both else values
    config = parse(content, "small")
    assert spread_of(config, list(config.deployments)) == expected
