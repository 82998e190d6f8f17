"""The server with real hospitals on the inline grid: combining, failing hospitals, too few of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from fedmammo.cohort.store import Cohort
from fedmammo.config.study import parse
from fedmammo.disk.files import read_tensors
from fedmammo.errors import StudyError
from fedmammo.federation.client_app import app_of
from fedmammo.federation.inline_grid import InlineGrid
from fedmammo.hospitals.dealing import deal
from fedmammo.models.classifier import initial_model
from fedmammo.run.folder import RunFolder
from fedmammo.strategies.registry import STRATEGIES

FEDERATED = "federated-real-seed0-draw0-fold0"
Go = Callable[..., RunFolder]


@pytest.fixture
def go(run_inline: Callable[..., Path]) -> Go:
    """Run a study inline; `spoil` is a hospital that cannot keep its state (a folder is in the way)."""

    def run(study: dict[str, Any], out: Path, spoil: str | None = None) -> RunFolder:
        def grid(hospitals: Path, nodes: int) -> Grid:
            if spoil:
                (hospitals / spoil / FEDERATED / "round-00001.safetensors").mkdir(parents=True)
            return InlineGrid(app_of(hospitals), nodes)

        return RunFolder(run_inline(parse(study, "test"), out, grid))

    return run


def test_one_round_of_fedavg_is_the_mean_of_local_models_weighted_by_patients(
    phantom_study: dict[str, Any], go: Go, tmp_path: Path
) -> None:
    """After one round, federated = sum n_h x local_h / sum n_h, if both arms draw the same patients.

    With all patients in every step, one view and no dropout nothing is drawn but the order of a sum's terms, so the
    equation holds to rounding.
    """
    phantom_study["federation"] = {"rounds": 1, "local_steps": 2}
    phantom_study["diagnosis"]["augmentation"] = {"flips": "none"}
    phantom_study["diagnosis"]["optimizer"] = {"name": "sgd", "learning_rate": 0.01}
    phantom_study["arms"] = ["local", "federated"]
    folder = go(phantom_study, tmp_path / "run")
    config = parse(phantom_study, "test")
    cohort = Cohort.open(Path(config.cohort.path))
    found = deal(cohort, config).held(cohort, config.deployment("federated", "real"))
    weights = {name: len(holder.training) for name, holder in found.items() if name != "all"}
    local = {
        name: read_tensors(folder.path / f"models/local-real-seed0-draw0-fold0-{name}.safetensors")[0]
        for name in weights
    }
    federated, _ = read_tensors(folder.path / f"models/{FEDERATED}-all.safetensors")
    for tensor, value in federated.items():
        expected = sum(weights[name] * local[name][tensor].double() for name in weights) / sum(weights.values())
        np.testing.assert_allclose(value.numpy(), expected.numpy(), atol=1e-6, err_msg=tensor)


def test_one_round_of_qfedavg_weighs_local_models_by_their_losses(
    phantom_study: dict[str, Any], go: Go, tmp_path: Path
) -> None:
    """With q = 1, L = 1 / .01: w - sum F_h g_h / sum (|g_h|² + 100 F_h), where g_h = 100 (w - w_h).

    Local models as in the test above; a round of one step of all patients, so that F_h is the loss of w.
    """
    phantom_study["federation"] = {"rounds": 1, "local_steps": 1, "strategy": {"name": "QFedAvg", "q": 1}}
    phantom_study["diagnosis"]["augmentation"] = {"flips": "none"}
    phantom_study["diagnosis"]["optimizer"] = {"name": "sgd", "learning_rate": 0.01}
    phantom_study["arms"] = ["local", "federated"]
    folder = go(phantom_study, tmp_path / "run")
    rounds = pd.read_csv(folder.path / "rounds.csv")
    losses = rounds[rounds["arm"] == "federated"].set_index("hospital")["loss"]
    initial = initial_model(parse(phantom_study, "test").diagnosis, 0)
    pulls, scale = {name: torch.zeros_like(tensor).double() for name, tensor in initial.items()}, 0.0
    for hospital, loss in losses.items():
        local, _ = read_tensors(folder.path / f"models/local-real-seed0-draw0-fold0-{hospital}.safetensors")
        gradient = {name: 100 * (tensor.double() - local[name].double()) for name, tensor in initial.items()}
        scale += sum(float(tensor.square().sum()) for tensor in gradient.values()) + 100 * loss
        pulls = {name: pull + loss * gradient[name] for name, pull in pulls.items()}
    federated, _ = read_tensors(folder.path / f"models/{FEDERATED}-all.safetensors")
    assert any(pull.abs().max() / scale > 1e-3 for pull in pulls.values())
    for name, tensor in initial.items():
        expected = (tensor.double() - pulls[name] / scale).numpy()
        np.testing.assert_allclose(federated[name].numpy(), expected, atol=1e-6, err_msg=name)


def test_a_failing_hospital_is_recorded_and_the_others_go_on(
    phantom_study: dict[str, Any], go: Go, tmp_path: Path
) -> None:
    phantom_study["arms"] = ["federated"]
    folder = go(phantom_study, tmp_path / "run", spoil="hospital-2")
    rounds = pd.read_csv(folder.path / "rounds.csv")
    failed = rounds[rounds["hospital"] == "hospital-2"]
    assert len(failed) == 2
    assert failed["status"].str.startswith("failed: ").all()
    assert (failed["bytes_up"] == 0).all()
    assert set(rounds[rounds["hospital"] != "hospital-2"]["status"]) == {"ok"}
    assert (folder.path / "results.csv").exists()


@pytest.mark.parametrize("name", ["Krum", "Bulyan"])
def test_a_round_with_fewer_answers_than_the_strategy_needs_ends_the_study(
    phantom_study: dict[str, Any], go: Go, tmp_path: Path, name: str
) -> None:
    phantom_study["arms"] = ["federated"]
    phantom_study["diagnosis"]["train"] = "head"
    phantom_study["federation"]["strategy"] = {"name": name}
    with pytest.raises(StudyError, match="train, round 1: 2 of 3 hospitals answered, 3 are needed; hospital-2 failed"):
        go(phantom_study, tmp_path / "run", spoil="hospital-2")
    go(phantom_study, tmp_path / "well")


def test_too_few_answers_end_the_study_and_it_continues_when_the_hospital_is_well(
    phantom_study: dict[str, Any], go: Go, tmp_path: Path
) -> None:
    phantom_study["federation"]["min_hospitals"] = 3
    phantom_study["arms"] = ["federated"]
    with pytest.raises(StudyError, match=r"round 1: 2 of 3 hospitals answered, 3 are needed; hospital-2 failed: "):
        go(phantom_study, tmp_path / "run", spoil="hospital-2")
    assert not (tmp_path / "run/results.csv").exists()
    (tmp_path / f"run/hospitals/hospital-2/{FEDERATED}/round-00001.safetensors").rmdir()
    continued = go(phantom_study, tmp_path / "run")
    undisturbed = go(phantom_study, tmp_path / "other")
    for name in ("results.csv", "predictions.csv", "rounds.csv", f"models/{FEDERATED}-all.safetensors"):
        assert (continued.path / name).read_bytes() == (undisturbed.path / name).read_bytes(), name


class Lossy:
    """Hospitals of which the second loses some messages of each kind with its worker."""

    def __init__(self, app: ClientApp, losses: int) -> None:
        self._app = app
        self._losses = losses
        self.lost = {"query.hello": 0, "query.features": 0, "evaluate": 0}

    def __call__(self, message: Message, context: Context) -> Message:
        kind = message.metadata.message_type
        if context.node_config["partition-id"] == 1 and self.lost.get(kind, self._losses) < self._losses:
            self.lost[kind] += 1
            raise ConnectionError("the worker is gone")
        return self._app(message, context)


@pytest.mark.parametrize(("losses", "enough"), [(2, True), (3, False)])
def test_a_message_lost_with_its_worker_is_sent_three_times(
    phantom_study: dict[str, Any], run_inline: Callable[..., Path], tmp_path: Path, losses: int, enough: bool
) -> None:
    """Introductions, features and scores are needed from every hospital; hospital-2 loses the first of each kind."""
    lossy: list[Lossy] = []

    def grid(hospitals: Path, nodes: int) -> Grid:
        lossy.append(Lossy(app_of(hospitals), losses))
        return InlineGrid(lossy[0], nodes)  # type: ignore[arg-type]

    phantom_study["arms"] = ["federated"]
    config = parse(phantom_study, "test")
    if enough:
        run_inline(config, tmp_path / "run", grid)
        assert set(lossy[0].lost.values()) == {2}
    else:
        with pytest.raises(StudyError, match="no node answered as hospital-2"):
            run_inline(config, tmp_path / "run", grid)


def test_a_model_that_is_not_finite_is_a_failure(phantom_study: dict[str, Any], go: Go, tmp_path: Path) -> None:
    """A step size of 3e38 makes every hospital's model infinite or NaN within two steps; nobody is left."""
    phantom_study["arms"] = ["federated"]
    phantom_study["diagnosis"]["optimizer"] = {"name": "sgd", "learning_rate": 3e38}
    with pytest.raises(StudyError, match="its model is not finite"):
        go(phantom_study, tmp_path / "run")


def test_only_a_federated_model_travels(phantom_study: dict[str, Any], go: Go, tmp_path: Path) -> None:
    """test_vit's head alone: 64 weights and a bias, 260 bytes of float32 and two small array headers, each way."""
    phantom_study["diagnosis"]["train"] = "head"
    folder = go(phantom_study, tmp_path / "run")
    rounds = pd.read_csv(folder.path / "rounds.csv")
    travelled = rounds.groupby("arm")[["bytes_up", "bytes_down"]].max()
    assert (travelled.loc[["centralized", "local"]] == 0).all(axis=None)
    assert travelled.loc["federated"].between(260, 260 + 2 * 256).all()
    assert (rounds["simulated_seconds"] > 0).all()


@pytest.fixture(scope="module")
def averaged() -> dict[str, torch.Tensor]:
    """What FedAvg ends in, by the name of the optimiser, once it was trained."""
    return {}


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_trains_and_is_measured(
    phantom_study: dict[str, Any], go: Go, tmp_path: Path, averaged: dict[str, torch.Tensor], name: str
) -> None:
    """Two rounds end in a model of their own kind: only FedAvg's equals FedAvg's."""
    phantom_study["diagnosis"]["train"] = "head"
    phantom_study["arms"] = ["federated"]
    if name == "SCAFFOLD":
        phantom_study["diagnosis"]["optimizer"] = {"name": "sgd", "learning_rate": 0.1, "momentum": 0.0}

    def trained(strategy: str) -> torch.Tensor:
        phantom_study["federation"]["strategy"] = {"name": strategy}
        folder = go(phantom_study, tmp_path / strategy)
        rounds = pd.read_csv(folder.path / "rounds.csv")
        assert len(rounds) == 6
        assert (rounds[["bytes_up", "bytes_down"]] > 0).all(axis=None)
        return read_tensors(folder.path / f"models/{FEDERATED}-all.safetensors")[0]["head.weight"]

    optimizer = str(phantom_study["diagnosis"]["optimizer"])
    if optimizer not in averaged:
        averaged[optimizer] = trained("FedAvg")
    model = averaged[optimizer] if name == "FedAvg" else trained(name)
    assert model.dtype == averaged[optimizer].dtype
    assert model.equal(averaged[optimizer]) == (name == "FedAvg")


def test_folds_test_every_patient_once_for_each_seed(phantom_study: dict[str, Any], go: Go, tmp_path: Path) -> None:
    phantom_study["evaluation"] |= {"folds": 2, "folds_over": ["train", "test"]}
    phantom_study["seeds"] = [0, 1]
    phantom_study["arms"] = ["centralized"]
    phantom_study["diagnosis"]["train"] = "head"
    folder = go(phantom_study, tmp_path / "run")
    tested = folder.predictions().query("split == 'cross-validation'")
    counts = tested.groupby(["seed", "patient"])["fold"].nunique()
    assert (counts == 1).all()
    assert counts.groupby("seed").size().tolist() == [24, 24]
    assert tested.groupby("seed").size().tolist() == [46, 46]
