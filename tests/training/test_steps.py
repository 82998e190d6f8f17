"""The training loop against steps computed by hand, and scoring."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fedmammo.cohort.store import Cohort
from fedmammo.config.sections import DiagnosisConfig
from fedmammo.disk.files import read_tensors, write_tensors
from fedmammo.features.inputs import Inputs
from fedmammo.hospitals.records import true_records
from fedmammo.models.classifier import initial_model
from fedmammo.randomness import generator_of
from fedmammo.strategies.base import LocalRound
from fedmammo.strategies.fedprox import FedProx
from fedmammo.training.steps import batches_of_patients, score, train

CPU = torch.device("cpu")
SWIN = "swin_tiny_patch4_window7_224"
SGD = {"name": "sgd", "learning_rate": 0.4, "momentum": 0.0}


def diagnosis(**keys: Any) -> DiagnosisConfig:
    defaults = {
        "network": "test_vit",
        "weights": "none",
        "image_size": 32,
        "optimizer": SGD,
        "augmentation": {"flips": "none"},
    }
    return DiagnosisConfig.model_validate(defaults | keys)


def generator() -> np.random.Generator:
    return generator_of(0, "test")


# The patients of each step


@given(
    patients=st.integers(1, 60),
    fraction=st.floats(0, 1, exclude_min=True),
    steps=st.integers(0, 50),
    seed=st.integers(0, 99),
)
def test_every_pass_deals_each_patient_at_most_once(patients: int, fraction: float, steps: int, seed: int) -> None:
    batches = list(batches_of_patients(patients, fraction, steps, np.random.default_rng(seed)))
    size = max(1, round(fraction * patients))
    a_pass = patients // size
    assert len(batches) == steps
    assert all(len(batch) == size for batch in batches)
    for start in range(0, steps, a_pass):
        dealt = np.concatenate(batches[start : start + a_pass])
        assert len(set(dealt.tolist())) == len(dealt)
        assert set(dealt.tolist()) <= set(range(patients))


def test_a_pass_whose_steps_divide_the_patients_deals_all_of_them() -> None:
    """A quarter of 20 patients is 5: each four steps deal all 20, in another order each time."""
    batches = list(batches_of_patients(20, 0.25, 8, generator()))
    passes = [np.concatenate(batches[:4]), np.concatenate(batches[4:])]
    assert [sorted(dealt.tolist()) for dealt in passes] == 2 * [list(range(20))]
    assert not np.array_equal(*passes)


def test_who_is_left_over_changes_from_pass_to_pass() -> None:
    """Steps of 2 leave 1 of 5 patients over in each pass; over 100 passes everybody is left over at times."""
    batches = list(batches_of_patients(5, 0.4, 200, generator()))
    counts = np.bincount(np.concatenate(batches))
    assert counts.sum() == 400
    assert (counts < 100).all()


# One step, by hand


class Hand:
    """Features written by hand: column 0 holds what a test says, all others 0; centre 0, scale 1.

    Patient A has one malignant image with value 2, patient B three benign ones with values 1, -1 and 3. Mirrored
    images have value -1 throughout. The head starts at 0, so that every image has probability 1/2.
    """

    def __init__(self, cohort: Cohort, **keys: Any) -> None:
        self.config = diagnosis(**keys)
        self.inputs = Inputs(cohort, self.config, CPU, true_records(cohort))
        self.inputs.model.center.zero_()
        self.inputs.model.scale.fill_(1)
        malignant = cohort.manifest["malignant"].to_numpy()
        _, store = self.inputs._sets[0]
        self.a, self.b = np.flatnonzero(malignant)[:1], np.flatnonzero(~malignant)[:3]
        for view, values in zip(self.inputs.views, ([2, 1, -1, 3], [-1, -1, -1, -1]), strict=False):
            for array in store.files(view.name):
                stored = np.load(array.filename, mmap_mode="r+")
                rows = np.concatenate([self.a, self.b])
                if stored.ndim == 2:  # the features; else their marks
                    stored[rows], stored[rows, 0] = 0, values
                else:
                    stored[rows] = 1
                stored.flush()

    def train(self, steps: int = 1, mu: float = 0.0, start: float = 0.0) -> tuple[Tensor, float, dict[str, float]]:
        """Weights and bias after so many steps, and the numbers."""
        incoming = {"head.weight": torch.full((1, 64), start), "head.bias": torch.zeros(1)}
        prox = FedProx(name="FedProx", proximal_mu=mu)
        local = LocalRound(cast(Any, None), incoming, {}, {})  # FedProx looks at the model alone
        trained, numbers, _ = train(
            self.inputs, [self.a, self.b], self.config, steps, generator(), incoming, {},
            correct=lambda parameters: prox.correct(local, parameters),
        )  # fmt: skip
        assert trained.public == {}
        return trained.model["head.weight"][0], trained.model["head.bias"].item(), numbers


def sigmoid(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))


def test_a_step_weighs_patients_equally(own_cohort: Cohort) -> None:
    """Loss: the mean over patients of the mean over their images of cross-entropy, log 2 = .6931 everywhere.

    Gradient of an image: (p - label) x. Weight 0: 1/2 [(.5 - 1) 2 + 1/3 (.5 x 1 + .5 x -1 + .5 x 3)] = 1/2 [-1 + .5]
    = -.25; a step of .4 gives 0.1. (Images weighed equally would give .4 x (1 - 1.5) / 4 = -.05.)
    Bias: 1/2 [-.5 + 1/3 (.5 + .5 + .5)] = 0.
    """
    weights, bias, numbers = Hand(own_cohort).train()
    assert torch.allclose(weights, torch.tensor([0.1] + 63 * [0.0]))
    assert bias == pytest.approx(0, abs=1e-8)
    assert numbers == {"loss": pytest.approx(np.log(2)), "images": 4}


def test_a_second_step(own_cohort: Cohort) -> None:
    """At weight .1: p = s(.2) for A, s(.1), s(-.1), s(.3) for B; the loss is the mean of both steps."""
    p = [sigmoid(value) for value in (0.2, 0.1, -0.1, 0.3)]
    gradient = ((p[0] - 1) * 2 + (p[1] - p[2] + 3 * p[3]) / 3) / 2
    of_bias = ((p[0] - 1) + (p[1] + p[2] + p[3]) / 3) / 2
    loss = (-np.log(p[0]) - (np.log(1 - p[1]) + np.log(1 - p[2]) + np.log(1 - p[3])) / 3) / 2
    weights, bias, numbers = Hand(own_cohort).train(steps=2)
    assert weights[0].item() == pytest.approx(0.1 - 0.4 * gradient, rel=1e-5)
    assert bias == pytest.approx(-0.4 * of_bias, rel=1e-4)
    assert numbers["loss"] == pytest.approx((np.log(2) + loss) / 2, rel=1e-5)
    assert numbers["images"] == 8


def test_the_contrast_is_the_same_wherever_the_head_stands(own_cohort: Cohort) -> None:
    """Gradient of an image: (1/2 - label) x. Weight 0: 1/2 [-.5 x 2 + 1/3 (.5 x 1 + .5 x -1 + .5 x 3)] = -.25."""
    for start in (0.0, 0.5):
        weights, bias, _ = Hand(own_cohort, loss="contrast").train(start=start)
        assert torch.allclose(weights - start, torch.tensor([0.1] + 63 * [0.0]))
        assert bias == pytest.approx(0, abs=1e-8)


def test_the_bias_of_a_head_on_directions_is_as_small_an_input_as_one_of_them(own_cohort: Cohort) -> None:
    """On 4 directions it counts half, in what is learned and in scores: logit = w x + b / 2.

    Weight 0, so that every logit is b / 2 = .5: the weights' gradient is 1/2 [(p - 1) 2 + p (1 - 1 + 3) / 3], that of
    the bias half of 1/2 [(p - 1) + p].
    """
    hand = Hand(own_cohort, directions=4)
    hand.inputs.model.directions.copy_(torch.eye(64)[:, :4])
    incoming, p = {"head.weight": torch.zeros(1, 4), "head.bias": torch.ones(1)}, sigmoid(0.5)
    assert score(hand.inputs, hand.a, incoming)[0] == pytest.approx(p)
    trained, _, _ = train(hand.inputs, [hand.a, hand.b], hand.config, 1, generator(), incoming, {})
    weight, bias = (trained.model[f"head.{name}"] for name in ("weight", "bias"))
    assert weight[0, 0].item() == pytest.approx(-0.4 * ((p - 1) * 2 + p) / 2)
    assert bias.item() == pytest.approx(1 - 0.4 * ((p - 1) + p) / 4)


def test_label_smoothing(own_cohort: Cohort) -> None:
    """Labels .9 and .1: weight 0 gets 1/2 [(.5 - .9) 2 + 1/3 (.4 x 1 + .4 x -1 + .4 x 3)] = -.2; a step of .4: 0.08."""
    weights, bias, numbers = Hand(own_cohort, label_smoothing=0.2).train()
    assert weights[0].item() == pytest.approx(0.08)
    assert bias == pytest.approx(0, abs=1e-8)
    assert numbers["loss"] == pytest.approx(np.log(2))


def test_both_views_of_every_image(own_cohort: Cohort) -> None:
    """Mirrored, A's value is -1 instead of 2 and B's are -1: weight 0 gets the mean of -.25 and 1/2 [.5 - .5] = 0."""
    hand = Hand(own_cohort, augmentation={"flips": "horizontal", "views_per_step": 2})
    weights, _, numbers = hand.train()
    assert weights[0].item() == pytest.approx(0.4 * 0.125)
    assert numbers["images"] == 8


def test_one_view_of_every_image_is_drawn_anew(own_cohort: Cohort) -> None:
    """Each image is seen as itself or mirrored: the weight after a step is one of the values that this can give.

    A: (.5 - 1) x 2 or x -1, that is -1 or .5; B: .5/3 times (1 or -1) + (-1) + (3 or -1): .5, -.1667, .1667, -.5.
    """
    hand = Hand(own_cohort, augmentation={"flips": "horizontal", "views_per_step": 1})
    possible = [-0.4 * (a + b) / 2 for a in (-1, 0.5) for b in (0.5, -1 / 6, 1 / 6, -0.5)]
    seen = set()
    for number in range(40):
        incoming = {"head.weight": torch.zeros(1, 64), "head.bias": torch.zeros(1)}
        draw = generator_of(0, "views", number)
        outgoing, _, _ = train(hand.inputs, [hand.a, hand.b], hand.config, 1, draw, incoming, {})
        weight = outgoing.model["head.weight"][0, 0].item()
        nearest = min(possible, key=lambda value: abs(value - weight))
        assert weight == pytest.approx(nearest, abs=1e-6)
        seen.add(nearest)
    assert len(seen) == len(possible)


def test_more_views_than_there_are(own_cohort: Cohort) -> None:
    both = Hand(own_cohort, augmentation={"flips": "horizontal", "views_per_step": 2}).train()
    more = Hand(own_cohort, augmentation={"flips": "horizontal", "views_per_step": 9}).train()
    assert torch.equal(both[0], more[0])


def test_the_proximal_term(own_cohort: Cohort) -> None:
    """mu/2 |w - w0|² pulls with mu (w - w0): nothing at the first step, .4 x .5 x .1 = .02 at the second.

    Bias: the first step leaves it at 0, so that it is not pulled. The loss that is told is without the term.
    """
    plain, pulled = (Hand(own_cohort).train(steps=2, mu=mu) for mu in (0.0, 0.5))
    assert (plain[0][0] - pulled[0][0]).item() == pytest.approx(0.02, rel=1e-4)
    assert pulled[1] == pytest.approx(plain[1], abs=1e-7)
    assert pulled[2] == plain[2]


def test_the_proximal_term_pulls_to_the_incoming_model(own_cohort: Cohort) -> None:
    """And not to 0: at the first step, at the incoming model itself, a strong pull changes nothing."""
    plain, pulled = (Hand(own_cohort).train(mu=mu, start=0.7) for mu in (0.0, 100.0))
    assert torch.equal(plain[0], pulled[0])


def test_momentum(own_cohort: Cohort) -> None:
    """v1 = g1, v2 = .9 g1 + g2: after two steps the weight is further by .4 x .9 x .25 = .09 than without."""
    plain = Hand(own_cohort).train(steps=2)
    momentum = Hand(own_cohort, optimizer=SGD | {"momentum": 0.9}).train(steps=2)
    assert (momentum[0][0] - plain[0][0]).item() == pytest.approx(0.09, rel=1e-5)


def test_weight_decay_of_sgd(own_cohort: Cohort) -> None:
    """L2 of .5 adds .5 w to the gradient: a weight of 1 without any other gradient becomes 1 - .4 x .5 = .8."""
    weights, _, _ = Hand(own_cohort, optimizer=SGD | {"weight_decay": 0.5}).train(start=1.0)
    assert torch.allclose(weights[1:], torch.tensor(0.8))


def test_a_first_step_of_adamw(own_cohort: Cohort) -> None:
    """m/(1 - b1) = g and sqrt(v/(1 - b2)) = |g|: the step is the rate, .4, in the direction that lowers the loss.

    Decoupled decay of .5 takes .4 x .5 = .2 of a weight; columns without gradient only decay.
    """
    optimizer = {"name": "adamw", "learning_rate": 0.4, "weight_decay": 0.5}
    weights, _, _ = Hand(own_cohort, optimizer=optimizer).train()
    assert weights[0].item() == pytest.approx(0.4, rel=1e-5)
    weights, _, _ = Hand(own_cohort, optimizer=optimizer).train(start=1.0)
    assert torch.allclose(weights[1:], torch.tensor(0.8))


# Rounds


@pytest.mark.parametrize("keys", [{"train": "head"}, {"train": "last_blocks:1"}], ids=lambda keys: keys["train"])
@pytest.mark.parametrize(
    "optimizer",
    [
        {"name": "adamw", "learning_rate": 0.01, "weight_decay": 0.05},
        {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9},
    ],
    ids=lambda optimizer: optimizer["name"],
)
def test_rounds_do_not_interrupt_the_optimiser(
    phantom_cohort: Cohort, tmp_path: Path, optimizer: dict[str, Any], keys: dict[str, Any]
) -> None:
    """Six steps in one round are the same, bit for bit, as in rounds of 1, 2 and 3 whose state went through a file.

    All of one patient's images and views are in every step, so that nothing depends on an order that is drawn.
    """
    config = diagnosis(**keys, optimizer=optimizer, augmentation={"flips": "horizontal", "views_per_step": 2})
    inputs = Inputs(phantom_cohort, config, CPU, true_records(phantom_cohort))
    patients = [np.arange(6)]
    inputs.compute(patients[0])
    whole, numbers, whole_state = train(inputs, patients, config, 6, generator(), initial_model(config, 0), {})
    expected = whole.model

    model, state, images = initial_model(config, 0), {}, 0.0
    for number, steps in enumerate((1, 2, 3)):
        (model, _), some, state = train(inputs, patients, config, steps, generator_of(number), model, state)
        images += some["images"]
        write_tensors(tmp_path / "state", state)
        state, _ = read_tensors(tmp_path / "state")
    assert images == numbers["images"] == 6 * 6 * 2
    assert expected.keys() == model.keys()
    assert all(torch.equal(model[name], expected[name]) for name in expected)
    assert state.keys() == whole_state.keys()
    assert all(torch.equal(state[name], whole_state[name]) for name in state)
    initial = initial_model(config, 0)
    assert not any(torch.equal(model[name], initial[name]) for name in model)


def test_a_fresh_state_is_another_continuation(phantom_cohort: Cohort) -> None:
    config = diagnosis(optimizer={"learning_rate": 0.01})
    inputs = Inputs(phantom_cohort, config, CPU, true_records(phantom_cohort))
    inputs.compute(np.arange(6))
    (model, _), _, state = train(inputs, [np.arange(6)], config, 2, generator(), initial_model(config, 0), {})
    continued, _, _ = train(inputs, [np.arange(6)], config, 1, generator(), model, state)
    forgotten, _, _ = train(inputs, [np.arange(6)], config, 1, generator(), model, {})
    assert not torch.equal(continued.model["head.weight"], forgotten.model["head.weight"])


def test_what_is_frozen_does_not_change(phantom_cohort: Cohort) -> None:
    """Strong weight decay would shrink whatever the optimiser holds."""
    config = diagnosis(train="last_blocks:1", optimizer={"learning_rate": 0.1, "weight_decay": 1.0})
    inputs = Inputs(phantom_cohort, config, CPU, true_records(phantom_cohort))
    inputs.compute(np.arange(4))
    before = {name: tensor.clone() for name, tensor in inputs.model.state_dict().items()}
    outgoing, _, _ = train(inputs, [np.arange(4)], config, 2, generator(), initial_model(config, 0), {})
    after = inputs.model.state_dict()
    changed = {name for name in before if not torch.equal(after[name], before[name])}
    assert changed == outgoing.model.keys() == inputs.model.trained().keys()
    assert not inputs.model.training


def test_random_paths_come_from_the_round_and_leave_no_trace(phantom_cohort: Cohort) -> None:
    """Swin drops paths while it trains: by the round's generator, not by torch's global one, which stays as it was."""
    config = diagnosis(network=SWIN, train="last_blocks:1")
    inputs = Inputs(phantom_cohort, config, CPU, true_records(phantom_cohort))
    inputs.compute(np.arange(4))
    incoming = initial_model(config, 0)

    def trained(seed: int, draw: np.random.Generator) -> Tensor:
        torch.manual_seed(seed)
        before = torch.random.get_rng_state()
        outgoing, _, _ = train(inputs, [np.arange(4)], config, 2, draw, incoming, {})
        assert torch.equal(torch.random.get_rng_state(), before)
        return outgoing.model["head.weight"]

    first = trained(1, generator())
    assert torch.equal(trained(2, generator()), first)
    assert not torch.equal(trained(1, generator_of("another")), first)


def test_a_model_of_another_study_is_refused(phantom_cohort: Cohort) -> None:
    config = diagnosis()
    inputs = Inputs(phantom_cohort, config, CPU, true_records(phantom_cohort))
    for incoming in ({}, {"head.weight": torch.zeros(1, 64)}, initial_model(config, 0) | {"extra": torch.zeros(1)}):
        with pytest.raises(ValueError, match="the incoming model has other tensors"):
            score(inputs, np.arange(1), incoming)


# Scores


def test_a_score_is_the_sigmoid_of_the_mean_logit_over_flips(own_cohort: Cohort) -> None:
    """With a weight of 1: A's logits are 2 and -1, B's are 1, -1, 3 and -1 each: means .5 and 0, -1, 1."""
    hand = Hand(own_cohort, augmentation={"flips": "horizontal"})
    incoming = {"head.weight": torch.eye(64)[:1], "head.bias": torch.zeros(1)}
    found = score(hand.inputs, np.concatenate([hand.a, hand.b]), incoming)
    assert found.dtype == np.float32
    assert found == pytest.approx([0.6224593, 0.5, 0.2689414, 0.7310586], abs=1e-6)


def test_crops_do_not_count(own_cohort: Cohort) -> None:
    config = diagnosis(augmentation={"flips": "horizontal", "crops": 2})
    cropped, plain = (
        Inputs(own_cohort, made, CPU, true_records(own_cohort))
        for made in (config, diagnosis(augmentation={"flips": "horizontal"}))
    )
    rows = np.arange(5)
    cropped.compute(rows)
    model = initial_model(config, 0)
    assert np.array_equal(score(cropped, rows, model), score(plain, rows, model))


@pytest.mark.parametrize("train_what", ["head", "last_blocks:1", "all"])
def test_a_score_depends_on_its_image_alone(phantom_cohort: Cohort, train_what: str) -> None:
    config = diagnosis(train=train_what, augmentation={"flips": "both"})
    inputs = Inputs(phantom_cohort, config, CPU, true_records(phantom_cohort))
    rows = np.arange(12)
    inputs.compute(rows)
    model = initial_model(config, 0)
    together = score(inputs, rows, model)
    assert len(set(together.tolist())) > 6
    assert np.array_equal(score(inputs, rows[::-1], model)[::-1], together)
    assert [score(inputs, rows[number : number + 1], model)[0] for number in range(12)] == together.tolist()
    assert score(inputs, rows[:0], model).shape == (0,)
