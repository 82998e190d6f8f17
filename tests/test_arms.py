"""Every arm in one small study, against federated averaging written in a few lines of numpy."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedmammo.cohort.store import Cohort
from fedmammo.commands.evaluate import rescore
from fedmammo.config.arm import ALL, Arm
from fedmammo.config.deployment import Deployment
from fedmammo.config.study import StudyConfig, parse
from fedmammo.disk.files import read_tensors
from fedmammo.errors import InputError
from fedmammo.features.inputs import Inputs
from fedmammo.hospitals.dealing import deal
from fedmammo.hospitals.records import records_of
from fedmammo.models.classifier import initial_model
from fedmammo.run.checks import check
from fedmammo.run.public import Public

Run = Callable[..., Path]
NAMES = [f"hospital-{number}" for number in range(1, 5)]
ROUNDS, STEPS, RATE, FINE = 4, 2, 0.1, 3
SCHEDULE = [{"hospital": "hospital-1", "joins": 3}, {"hospital": "hospital-3", "every": 2, "away": [3], "leaves": 4}]
PRESENT = {"hospital-1": {3, 4}, "hospital-2": {1, 2, 3, 4}, "hospital-3": {1}, "hospital-4": {1, 2, 3, 4}}


@pytest.fixture(scope="module")
def study(new_study: Callable[[], dict[str, Any]], phantom_cohort: Cohort) -> StudyConfig:
    """Heads of all patients' whole images: nothing is drawn. Cuts are set by half of the patients."""
    content = new_study()
    content["cohort"] = {"path": str(phantom_cohort.folder), "fraction": [0.5, 1]}
    content["hospitals"] = {"assignment": {"by": "uniform", "count": 4}, "schedule": SCHEDULE}
    content["diagnosis"] |= {
        "optimizer": {"name": "sgd", "learning_rate": RATE, "momentum": 0},
        "augmentation": {"flips": "none"},
    }
    content["federation"] = {
        "rounds": ROUNDS,
        "local_steps": STEPS,
        "strategy": ["FedAvg", {"name": "FedProx", "proximal_mu": 0.5}],
        "personal": {"name": "FineTuning", "steps": FINE},
    }
    content["arms"] = ["ensemble", "local", "federated", "without_one", "personalized", "scheduled", "coalitions"]
    return parse(content, "arms")


@pytest.fixture(scope="module")
def run(study: StudyConfig, run_inline: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study's run."""
    return run_inline(study, tmp_path_factory.mktemp("arms") / "run")


class ByHand:
    """Hospitals that average heads, in float64."""

    def __init__(self, study: StudyConfig, cohort: Cohort, deployment: Deployment) -> None:
        dealt, public = deal(cohort, study), Public(study, Path())
        inputs = Inputs(cohort, public.diagnosis(deployment), public.device, records_of(cohort, dealt.draws[0], {}))
        self.patients = {name: one.training for name, one in dealt.held(cohort, deployment).items()}
        rows = np.arange(len(cohort.manifest))
        self.read = inputs.standard(rows, np.zeros(len(rows), dtype=int)).double().numpy()
        self.malignant = inputs.malignant.astype(float)
        first = initial_model(deployment.diagnosis, 0)
        self.first = np.append(first["head.weight"].double().numpy()[0], float(first["head.bias"]))

    def steps(self, name: str, model: np.ndarray, steps: int, pull: float = 0.0) -> np.ndarray:
        """Step along the mean loss over a hospital's patients, each the mean over its images."""
        start = model
        for _ in range(steps):
            gradient = np.zeros_like(model)
            for rows in self.patients[name]:
                inputs = np.column_stack([self.read[rows], np.ones(len(rows))])
                error = 1 / (1 + np.exp(-inputs @ model)) - self.malignant[rows]
                gradient += error @ inputs / len(rows) / len(self.patients[name])
            model = model - RATE * (gradient + pull * (model - start))
        return model

    def federation(self, members: Sequence[str], present: dict[str, set[int]], pull: float = 0.0) -> np.ndarray:
        """Average what those who are there make of each round's model, by training patients."""
        model = self.first
        for number in range(1, ROUNDS + 1):
            there = [name for name in members if number in present[name]]
            weights = [len(self.patients[name]) for name in there]
            model = np.average([self.steps(name, model, STEPS, pull) for name in there], axis=0, weights=weights)
        return model


def model_of(run: Path, deployment: Deployment, trained_at: str) -> np.ndarray:
    found, _ = read_tensors(run / "models" / f"{deployment.name}-{trained_at}.safetensors")
    return np.append(found["head.weight"].numpy()[0], float(found["head.bias"]))


ALWAYS = {name: set(range(1, ROUNDS + 1)) for name in NAMES}


def test_every_arm_is_what_it_says(study: StudyConfig, run: Path, phantom_cohort: Cohort) -> None:
    """Who averages with whom, in which rounds, pulled how, with which patients; and who goes on at home."""
    seen = set()
    for one in study.deployments:
        by_hand, arm, expected = ByHand(study, phantom_cohort, one), one.arm, {}
        match arm.kind, one.arm_name.partition("-")[2]:
            case "local", _:
                expected = {name: by_hand.federation([name], ALWAYS) for name in NAMES}
            case "without_one", _:
                assert set(one.members) == set(NAMES) - {one.group.removeprefix("without-")}
                expected = {one.group: by_hand.federation(one.members, ALWAYS)}
            case "coalitions", _:
                assert one.group == "+".join(one.members) and len(one.members) == 2
                expected = {one.group: by_hand.federation(one.members, ALWAYS)}
            case "personalized", _:
                shared = by_hand.federation(NAMES, ALWAYS)
                expected = {name: by_hand.steps(name, shared, FINE) for name in NAMES}
            case "scheduled", _:
                expected = {ALL: by_hand.federation(NAMES, PRESENT)}
            case "federated", variant:
                expected = {ALL: by_hand.federation(NAMES, ALWAYS, 0.5 if variant == "FedProx" else 0)}
        for trained_at, model in expected.items():
            np.testing.assert_allclose(model_of(run, one, trained_at), model, atol=2e-6)
            seen.add((one.arm_name, trained_at))
    assert len(seen) == 4 + 4 + 1 + 1 + 1 + 4 + 4 + 1 + 6  # local, half of it, federated, half, FedProx, ...


def test_a_smaller_fraction_of_patients_is_among_those_of_a_larger_one(
    study: StudyConfig, phantom_cohort: Cohort
) -> None:
    """Benign and malignant alike; who sets cuts and who is tested stays."""
    whole, half = (
        deal(phantom_cohort, study).held(phantom_cohort, study.deployment(arm, "real"))
        for arm in ("federated", "federated-fraction0.5")
    )
    for name in NAMES:
        assert set(half[name].trained) < set(whole[name].trained)
        assert half[name].shown == whole[name].shown
    assert len(half[ALL].training) == 8 and len(whole[ALL].training) == 16


def test_an_ensemble_averages_what_local_models_score(study: StudyConfig, run: Path, phantom_cohort: Cohort) -> None:
    """By training patients; its cuts are set by everybody's validation patients."""
    table = pd.read_csv(run / "predictions.csv")
    tested = table[table["split"] == "test"].pivot_table(index="image", columns=["arm", "trained_at"], values="score")
    sizes = {
        name: len(one)
        for name, one in ByHand(study, phantom_cohort, study.deployment("local", "real")).patients.items()
    }
    expected = sum(tested["local", name] * sizes[name] for name in NAMES) / sum(sizes[name] for name in NAMES)
    np.testing.assert_allclose(tested["ensemble", ALL], expected, atol=1e-7)
    cuts = table[(table["arm"] == "ensemble") & (table["split"] == "validation")]
    assert set(cuts["hospital"]) == set(NAMES)


def test_whoever_stays_away_sets_no_cuts_of_the_others_model(run: Path) -> None:
    table = pd.read_csv(run / "predictions.csv")
    cuts = table[table["split"] == "validation"]
    for name in NAMES:
        own = cuts[(cuts["arm"] == "without_one") & (cuts["trained_at"] == f"without-{name}")]
        assert set(own["hospital"]) == set(NAMES) - {name}
        mine = cuts[(cuts["arm"] == "personalized") & (cuts["trained_at"] == name)]
        assert set(mine["hospital"]) == {name}


def test_whoever_is_away_is_not_asked(run: Path) -> None:
    rows = pd.read_csv(run / "rounds.csv")
    rows = rows[rows["arm"] == "scheduled"]
    for name, present in PRESENT.items():
        own = rows[rows["hospital"] == name].set_index("round")
        assert set(own.index[own["status"] == "ok"]) == present
        assert set(own["status"]) <= {"ok", "away"}
        assert (own.loc[own["status"] == "away", ["bytes_up", "bytes_down"]] == 0).all(axis=None)


def test_each_hospital_is_told_of_the_model_that_it_is_given(run: Path) -> None:
    """A comparison at a hospital is of its own models: that which it was left out of, and that which it made."""
    results = pd.read_csv(run / "results.csv", dtype=str)
    whole = results[(results["seed"] == ALL) & (results["metric"] == "brier")]
    for arm in ("without_one", "personalized", "local"):
        given = whole[(whole["arm"] == arm) & (whole["tested_at"] != ALL)]
        assert set(zip(given["tested_at"], given["trained_at"], strict=True)) <= {
            (name, Arm.of(arm).model_for(name)) for name in NAMES
        }
    assert "coalitions" not in set(whole["arm"])
    comparisons = pd.read_csv(run / "comparisons.csv")
    pairs = set(zip(comparisons["arm"], comparisons["against"], strict=True))
    assert {("federated", "without_one"), ("ensemble", "local"), ("federated-FedProx", "federated")} <= pairs


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": ["ensemble"]}, "ensemble averages what the arm local scores"),
        ({"arms": ["scheduled"]}, "hospitals.schedule: belongs to the arm scheduled"),
        ({"arms": ["personalized"], "settings": ["real-epsilon-6"]}, "personalized takes no budget yet"),
        ({"arms": ["coalitions"]}, "coalitions: 4 to 8 hospitals"),
        ({"arms": {"personalized": {"federation.personal": {"name": "FedPer"}}}}, "federation.personal: FedPer shares"),
    ],
)
def test_what_an_arm_needs_is_said(phantom_study: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check(parse(phantom_study | changes, "small"))


def test_a_schedule_names_hospitals_of_the_study(phantom_study: dict[str, Any]) -> None:
    phantom_study["arms"] = ["scheduled"]
    phantom_study["hospitals"]["schedule"] = [{"hospital": "elsewhere"}]
    with pytest.raises(InputError, match=r"hospitals.schedule: the study has no hospital elsewhere"):
        check(parse(phantom_study, "small"))


def test_every_arm_is_scored_on_another_cohort(run: Path, phantom_cohort: Cohort) -> None:
    """The very patients of the run's own test split: the same scores, whoever trained, or averages."""
    again = rescore(run, phantom_cohort.folder, "test", lambda _: None)
    place = ["arm", "trained_at", "tested_at", "metric", "unit", "seed", "draw"]
    found, expected = (
        table[table["metric"] == "brier"].astype({"seed": str, "draw": str}).set_index(place)["value"]
        for table in (again, pd.read_csv(run / "results.csv"))
    )
    assert {"ensemble", "without_one", "personalized", "scheduled"} <= set(found.index.get_level_values("arm"))
    pd.testing.assert_series_equal(found.sort_index(), expected.sort_index(), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("schedule", "strategy", "message"),
    [
        ([{"hospital": "hospital-1", "joins": 2}], {"name": "Krum", "num_malicious_nodes": 0}, "needs 3 hospitals"),
        (
            [{"hospital": f"hospital-{number}", "joins": 2} for number in (1, 2, 3)],
            {"name": "FedAvg"},
            "nobody takes part",
        ),
    ],
)
def test_a_schedule_leaves_enough_hospitals_in_each_round(
    phantom_study: dict[str, Any], schedule: list[dict[str, Any]], strategy: dict[str, Any], message: str
) -> None:
    """Found before anything is trained; a round never lowers what its strategy needs."""
    phantom_study["arms"] = ["scheduled"]
    phantom_study["hospitals"]["schedule"] = schedule
    phantom_study["federation"]["strategy"] = strategy
    with pytest.raises(InputError, match=message):
        check(parse(phantom_study, "small"))
