"""SCAFFOLD by hand, against a plain loop, and through hospitals."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from flwr.clientapp import ClientApp
from torch import Tensor
from torch.nn import functional

from fedmammo.config.arm import ALL
from fedmammo.config.deployment import Deployment
from fedmammo.config.study import parse
from fedmammo.errors import InputError
from fedmammo.federation.checkpoint import Checkpoint
from fedmammo.federation.inline_grid import InlineGrid
from fedmammo.federation.rounds import Combiner
from fedmammo.privacy.answer import Answer
from fedmammo.privacy.secret import Secret
from fedmammo.run.checks import check
from fedmammo.stages.opened import inputs_of
from fedmammo.stages.stage import Tensors, Turn
from fedmammo.strategies.base import LocalRound
from fedmammo.strategies.scaffold import Scaffold
from fedmammo.training.state import load_state, of_kind

SGD = {"name": "sgd", "learning_rate": 0.1, "momentum": 0.0}


def scaffold_study(study: dict[str, Any], local_steps: int = 2, rounds: int = 3, rate: float = 1.0) -> dict[str, Any]:
    """Heads of all patients' whole images: nothing is drawn."""
    strategy = {"name": "SCAFFOLD", "server_learning_rate": rate}
    return {
        **study,
        "arms": ["federated"],
        "diagnosis": {**study["diagnosis"], "optimizer": SGD, "augmentation": {"flips": "none"}},
        "federation": {"rounds": rounds, "local_steps": local_steps, "strategy": strategy},
    }


def tensors(value: float) -> Tensors:
    return {"weight": torch.tensor([value])}


class ByHand:
    """Hospitals whose loss is (w - target)² / 2, so that a gradient is w - target; a round is one step of rate 1/2."""

    def __init__(self, deployment: Deployment, targets: dict[str, float], patients: dict[str, int]) -> None:
        self.deployment = deployment
        self.targets = targets
        self.patients = patients
        self.own: dict[str, Tensors] = {name: {} for name in targets}
        self.server: Tensors = {}
        InlineGrid(ClientApp(), len(targets))  # messages take a run's number from it

    def round(self, model: Tensors, number: int) -> Tensors:
        answers = {}
        strategy = self.deployment.strategy
        for name, target in self.targets.items():
            local = LocalRound(self.deployment, model, strategy.beside(self.server), self.own[name])
            weight = torch.nn.Parameter(model["weight"].clone())
            weight.grad = weight.detach() - target
            with torch.no_grad():
                strategy.correct(local, {"weight": weight})
                trained = {"weight": weight - 0.5 * weight.grad}
            beside, self.own[name] = strategy.after(local, trained)
            answers[name] = Answer(trained, {"num-examples": float(self.patients[name])}, beside)
        combiner = Combiner(strategy, self.deployment, model)
        nodes = {name: node for node, name in enumerate(answers)}
        everybody = sum(self.patients.values())
        turn = Turn(
            self.deployment, None, ALL, number, model, self.server, answers,
            lambda: combiner.mean(number, answers, nodes), everybody, Secret(bytes(32)), torch.device("cpu"),
        )  # fmt: skip
        model, self.server = strategy.at_server(turn)
        return model


@pytest.fixture
def deployment(small_study: dict[str, Any]) -> Deployment:
    content = scaffold_study(small_study, local_steps=1)
    content["diagnosis"]["optimizer"] = SGD | {"learning_rate": 0.5}
    return parse(content, "study.yaml").deployment("federated", "real")


def test_two_hospitals_two_rounds_of_one_step(deployment: Deployment) -> None:
    """Targets 1 and 5 of hospitals with 1 and 3 patients, from w = 0, all variates 0; K l = 1/2.

    Round 1: gradients -1, -5; y = .5, 2.5; c_1 = (0 - .5) / .5 = -1, c_2 = -5, their gradients at w.
    w = (.5 + 3 x 2.5) / 4 = 2; c = (-1 + 3 x -5) / 4 = -4.
    Round 2: gradients 2 - 1 = 1, 2 - 5 = -3. Hospital 1 steps along 1 + c - c_1 = 1 - 4 + 1 = -2 to 3; hospital 2 along
    -3 - 4 + 5 = -2 to 3: both the same way. c_1' = c_1 - c + (2 - 3) / .5 = -1 + 4 - 2 = 1, c_2' = -5 + 4 - 2 = -3:
    again the gradients at w. w = 3; c = -4 + ((1 + 1) + 3 (-3 + 5)) / 4 = -2.
    """
    hospitals = ByHand(deployment, {"one": 1.0, "two": 5.0}, {"one": 1, "two": 3})
    model = hospitals.round(tensors(0.0), 1)
    assert model == tensors(2.0) and hospitals.server == tensors(-4.0)
    assert hospitals.own == {"one": tensors(-1.0), "two": tensors(-5.0)}
    model = hospitals.round(model, 2)
    assert model == tensors(3.0) and hospitals.server == tensors(-2.0)
    assert hospitals.own == {"one": tensors(1.0), "two": tensors(-3.0)}


def test_a_hospital_that_does_not_answer_keeps_its_variate(deployment: Deployment) -> None:
    """What the others changed counts over all hospitals' patients: hospital 2 alone, 3 of 4: c = 3 x -5 / 4 = -3.75."""
    strategy = deployment.strategy
    local = LocalRound(deployment, tensors(0.0), {}, {})
    beside, _ = strategy.after(local, tensors(2.5))
    answers = {"two": Answer(tensors(2.5), {"num-examples": 3.0}, beside)}
    turn = Turn(
        deployment, None, ALL, 1, tensors(0.0), {}, answers, lambda: tensors(2.5), 4, Secret(bytes(32)),
        torch.device("cpu"),
    )  # fmt: skip
    assert strategy.at_server(turn) == (tensors(2.5), tensors(-3.75))


def test_the_servers_rate_is_how_far_the_model_goes(deployment: Deployment) -> None:
    """From 1 to a mean of 3 at rate .25: 1.5; the variate does not know of it."""
    strategy = Scaffold(name="SCAFFOLD", server_learning_rate=0.25)
    answers = {"one": Answer(tensors(3.0), {"num-examples": 2.0}, tensors(-4.0))}
    turn = Turn(
        deployment, None, ALL, 1, tensors(1.0), {}, answers, lambda: tensors(3.0), 2, Secret(bytes(32)),
        torch.device("cpu"),
    )  # fmt: skip
    assert strategy.at_server(turn) == (tensors(1.5), tensors(-4.0))


def test_a_variate_knows_the_heads_rate(deployment: Deployment) -> None:
    """From 0 to 1 in one step: at rate .5 the gradient was -2, at the head's .25 it was -4."""
    optimizer = deployment.diagnosis.optimizer.model_copy(update={"head_learning_rate": 0.25})
    diagnosis = deployment.diagnosis.model_copy(update={"optimizer": optimizer, "train": "all"})
    both = {"chain.weight": torch.zeros(1), "head.weight": torch.zeros(1)}
    local = LocalRound(deployment.model_copy(update={"diagnosis": diagnosis}), both, {}, {})
    change, _ = deployment.strategy.after(local, {name: torch.ones(1) for name in both})
    assert change == {"chain.weight": torch.tensor([-2.0]), "head.weight": torch.tensor([-4.0])}


def published(federation: Any, local_steps: int, rounds: int, rate: float) -> tuple[Tensors, Tensors]:
    """Algorithm 1 of Karimireddy et al. 2020 with option II: the model x and the server's variate c, in float64.

    Every hospital takes part in every round; hospitals are weighted by patients, as the study's mean is.
    """
    data, weights = [], []
    for site in federation.hospitals.sites.values():
        training, inputs = site.holder(federation.deployment).training, inputs_of(site, federation.deployment)
        rows = np.concatenate(training)
        with torch.no_grad():
            seen = inputs.classifier.standard(inputs.read(rows, np.zeros_like(rows))).double()
        share = torch.from_numpy(np.concatenate([np.full(len(own), 1 / len(own)) for own in training])) / len(training)
        data.append((seen, torch.from_numpy(inputs.malignant[rows].astype(float)), share))
        weights.append(len(training))
    part = [weight / sum(weights) for weight in weights]
    x = {name: tensor.double() for name, tensor in federation.initial.items()}
    c = {name: torch.zeros_like(tensor) for name, tensor in x.items()}
    c_i = [{name: torch.zeros_like(tensor) for name, tensor in x.items()} for _ in data]
    for _ in range(rounds):
        moved, changed = [], []
        for number, (seen, labels, share) in enumerate(data):
            y = {name: tensor.clone().requires_grad_() for name, tensor in x.items()}
            for _ in range(local_steps):
                logits = functional.linear(seen, y["head.weight"], y["head.bias"]).squeeze(1)
                loss = functional.binary_cross_entropy_with_logits(logits, labels, weight=share, reduction="sum")
                gradients = torch.autograd.grad(loss, list(y.values()))
                y = {
                    name: (y[name] - 0.1 * (gradient + c[name] - c_i[number][name])).detach().requires_grad_()
                    for name, gradient in zip(y, gradients, strict=True)
                }
            new = {name: c_i[number][name] - c[name] + (x[name] - y[name].detach()) / (local_steps * 0.1) for name in x}
            moved.append({name: y[name].detach() - x[name] for name in x})
            changed.append({name: new[name] - c_i[number][name] for name in x})
            c_i[number] = new
        for name in x:
            x[name] = x[name] + rate * sum(share * one[name] for share, one in zip(part, moved, strict=True))
            c[name] = c[name] + sum(share * one[name] for share, one in zip(part, changed, strict=True))
    return x, c


@pytest.mark.parametrize(("local_steps", "rate"), [(3, 1.0), (1, 0.5)])
def test_through_hospitals_it_is_the_published_algorithm(
    phantom_study: dict[str, Any], federation_of: Any, tmp_path: Path, local_steps: int, rate: float
) -> None:
    """Three hospitals, three rounds: model and variates to float32's rounding; and it is not FedAvg."""
    study = scaffold_study(phantom_study, local_steps, 3, rate)
    federation = federation_of(study, tmp_path)
    found = federation.train()
    model, variate = published(federation, local_steps, 3, rate)
    for name, tensor in model.items():
        torch.testing.assert_close(found.models[ALL][name].double(), tensor, atol=2e-6, rtol=1e-4)
        kept = of_kind(found.kept[ALL], "strategy")[name]
        torch.testing.assert_close(kept.double(), variate[name], atol=2e-5, rtol=1e-3)
    assert {row["status"] for row in found.rows} == {"ok"}
    mean = phantom_study | study | {"federation": study["federation"] | {"strategy": {"name": "FedAvg"}}}
    plain = federation_of(mean, tmp_path / "mean").train()
    apart = (plain.models[ALL]["head.weight"] - found.models[ALL]["head.weight"]).abs().max()
    assert float(apart) > 1e-4


def test_a_single_hospital_with_zero_variates_takes_sgd(
    phantom_study: dict[str, Any], federation_of: Any, tmp_path: Path
) -> None:
    """With one hospital c = c_i in every round: nothing is corrected, bit for bit in the first round."""
    models = []
    for name in ("SCAFFOLD", "FedAvg"):
        study = scaffold_study(phantom_study)
        study["hospitals"] = {"assignment": {"by": "uniform", "count": 1}}
        study["federation"]["strategy"] = {"name": name}
        federation = federation_of(study, tmp_path / name)
        incoming = {"arrays": federation.initial}
        first = federation.hospitals.work("hospital-1", federation.deployment, "train", 1, incoming)
        models.append((first.tensors, federation.train().models[ALL]))
    (first, last), (plain_first, plain_last) = models
    assert all(torch.equal(first[name], plain_first[name]) for name in first)
    for name, tensor in last.items():
        torch.testing.assert_close(tensor, plain_last[name], atol=1e-6, rtol=1e-5)


class Stopped(Exception):
    """In place of a kill."""


def test_variates_survive_a_restart(
    phantom_study: dict[str, Any], federation_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped when hospitals had answered round 2, before the server kept it; then the same bytes as if never."""
    study = scaffold_study(phantom_study)
    whole = federation_of(study, tmp_path / "whole")
    expected = whole.train()
    stopped = federation_of(study, tmp_path / "run")
    write = Checkpoint.write

    def killed(self: Checkpoint, path: Path) -> None:
        if self.round == 2:
            raise Stopped
        write(self, path)

    with monkeypatch.context() as broken:
        broken.setattr(Checkpoint, "write", killed)
        with pytest.raises(Stopped):
            stopped.train()
    again = federation_of(study, tmp_path / "run").train()
    for name, tensor in expected.models[ALL].items():
        assert torch.equal(again.models[ALL][name], tensor)
    for folder in (whole, stopped):
        assert (folder.run / "checkpoint.safetensors").read_bytes() == (
            whole.run / "checkpoint.safetensors"
        ).read_bytes()
    own = [of_kind(load_state(one.hospitals.folder / "hospital-1" / one.deployment.name, 4), "strategy")
           for one in (whole, stopped)]  # fmt: skip
    assert own[0] and all(torch.equal(own[0][name], own[1][name]) for name in own[0])


@pytest.mark.parametrize(
    "optimizer",
    [
        {"name": "adamw", "learning_rate": 0.1},
        {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9},
        {"name": "sgd", "learning_rate": 0.1, "momentum": 0.0, "weight_decay": 0.01},
    ],
)
def test_other_optimisers_are_refused_before_anything_runs(
    phantom_study: dict[str, Any], optimizer: dict[str, Any]
) -> None:
    study = scaffold_study(phantom_study)
    study["diagnosis"]["optimizer"] = optimizer
    with pytest.raises(InputError) as caught:
        check(parse(study, "study.yaml"))
    assert str(caught.value) == (
        "federation.strategy: SCAFFOLD takes diagnosis.optimizer: {name: sgd, momentum: 0, weight_decay: 0}"
    )


def test_under_a_budget_variates_come_from_noised_models(
    phantom_study: dict[str, Any], federation_of: Any, tmp_path: Path
) -> None:
    """The answer passes the hospital's guard, and c_i' - c_i = -c + (x - y) / (K l) for the y that was released.

    Everybody who knows x, y and c works it out: it tells no more of patients than y does. Asked again, it is the same.
    """
    study = scaffold_study(phantom_study, rounds=2)
    study |= {"settings": ["real-epsilon-6"], "privacy": {"secret_seed": 1}}
    federation = federation_of(study, tmp_path)
    ask = cast(Callable[..., Answer], federation.hospitals.work)
    beside: Tensors = {name: torch.full_like(tensor, 0.25) for name, tensor in federation.initial.items()}
    assert federation.plan is not None
    for number, model in (
        (1, federation.initial),
        (2, {name: tensor + 1 for name, tensor in federation.initial.items()}),
    ):
        sent = {"arrays": model, "beside": beside} if number > 1 else {"arrays": model}
        job = ("hospital-1", federation.deployment, "train", number, sent)
        answer, again = (ask(*job, plan=federation.plan.digest) for _ in range(2))
        assert answer.numbers.keys() == {"num-examples", "epsilon"} and answer.beside.keys() == answer.tensors.keys()
        for name, tensor in answer.tensors.items():
            known: Tensor = (model[name] - tensor) / (2 * 0.1) - (beside[name] if number > 1 else 0)
            assert torch.allclose(answer.beside[name], known, atol=1e-6)
            assert torch.equal(again.tensors[name], tensor) and torch.equal(again.beside[name], answer.beside[name])
    found = federation.hospitals.sites["hospital-1"].odometer.ledger(federation.deployment.name).lines
    assert len([line for line in found if "request" in line]) == 2


def test_a_study_under_a_budget_is_trained_with_it(
    phantom_study: dict[str, Any], federation_of: Any, tmp_path: Path
) -> None:
    study = scaffold_study(phantom_study, rounds=2)
    study |= {"settings": ["real-epsilon-6"], "privacy": {"secret_seed": 1}}
    found = federation_of(study, tmp_path).train()
    assert {row["status"] for row in found.rows} == {"ok"} and all(row["epsilon_spent"] > 0 for row in found.rows)
    assert all(tensor.abs().max() > 0 for tensor in of_kind(found.kept[ALL], "strategy").values())
