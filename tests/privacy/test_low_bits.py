"""What the low bits of one release tell of a patient: nothing with noise in integers, all where something is a float.

The attacker knows all patients, how sums are made, and the deviation of the noise; not whether one patient was there.
Trap 23 is the same attack through a hospital's own door.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dp_accounting.pld.privacy_loss_distribution import from_discrete_gaussian_mechanism
from scipy.stats import binom, norm
from torch import Tensor

from fedmammo.cohort.store import FACTS, KEY, Cohort, _digest
from fedmammo.config.sections import DiagnosisConfig
from fedmammo.features.inputs import Inputs
from fedmammo.models.classifier import Classifier
from fedmammo.privacy.accounting import epsilon, mu_of
from fedmammo.privacy.answer import Answer
from fedmammo.privacy.central import noised_mean
from fedmammo.privacy.noise import MARGIN, Grid, clipped_sum, from_grid, noised
from fedmammo.privacy.secret import Secret, Stream
from fedmammo.stages import embedding
from fedmammo.stages.opened import inputs_of
from fedmammo.stages.stage import Job

DELTA = 1e-4
RELEASES = 200
PATIENTS, NUMBERS = 201, 512

Release = Callable[[bool, Stream], Tensor]
"""(whether the patient is there, noise) → what is released."""
Sums = tuple[Tensor, Tensor]
"""What would be released if there were no noise, without the patient and with; made in one of the possible ways."""


def stream_of(number: int) -> Stream:
    return Stream(number.to_bytes(32, "little"))


def whole_steps(plain: Tensor, released: Tensor, unit: float) -> bool:
    """Tell whether noise of whole steps makes this release of this sum."""
    steps = (released.double() - plain.double()) / unit
    return bool(((steps - steps.round()).abs() < 1e-4).all())


def float32_noise(plain: Tensor, released: Tensor) -> bool:
    """Tell whether noise of float32 makes this release of this sum: their difference, or a number next to it."""
    plain = plain.float()
    noise = (released.double() - plain.double()).float()
    near = [noise, *(torch.nextafter(noise, torch.full_like(noise, end)) for end in (-np.inf, np.inf))]
    return bool(torch.stack([plain + one == released for one in near]).any(0).all())


def guess_presence(sums: Sequence[Sums], released: Tensor, unit: float) -> bool:
    """Tell whether a patient was there: by low bits that fit one of two sums alone, else by the likelihood ratio.

    Args:
        sums: in all ways in which they may be made; the likelihood is that of the first.
        released: as long as they are.
        unit: the size of a step in what is released.
    """
    for without, present in sums:
        if (fits := whole_steps(present, released, unit)) != whole_steps(without, released, unit):
            return fits
        if (fits := float32_noise(present, released)) != float32_noise(without, released):
            return fits
    without, present = (plain.double() for plain in sums[0])
    return bool((released.double() - (without + present) / 2) @ (present - without) > 0)


def right_guesses(release: Release, sums: Sequence[Sums], unit: float) -> int:
    """Count the releases that are told right, of RELEASES; a coin decides whether the patient is in one."""
    coins = np.random.default_rng(0).random(RELEASES) < 0.5
    return sum(
        guess_presence(sums, release(bool(there), stream_of(number)), unit) == there
        for number, there in enumerate(coins)
    )


@pytest.fixture(scope="module")
def cohorts() -> tuple[Tensor, Tensor]:
    """Vectors of norm 1 of all patients but the first, and of all."""
    vectors = torch.randn(PATIENTS, NUMBERS, generator=torch.Generator().manual_seed(1))
    vectors = vectors / vectors.norm(dim=1, keepdim=True)
    return vectors[1:], vectors


@pytest.mark.parametrize("budget", [0.01, 1, 6])
def test_nobody_tells_a_patient_from_low_bits(budget: float, cohorts: tuple[Tensor, Tensor]) -> None:
    """The best test is right with probability Phi(mu / 2) (Dong et al. 2022), and so often is this one.

    Within what 99 of 100 such attackers would reach. Where the sums are not rounded before the integers are added, or
    where all is float32, as it was, the same attacker is right nearly always.
    """
    mu = mu_of(budget, DELTA)
    grid = Grid.of(1.0, 1 / mu, NUMBERS)
    integers = [clipped_sum([vectors], 1.0, grid) for vectors in cohorts]
    divisor = float(PATIENTS - 1)
    without, present = (from_grid(total, grid, divisor)[0] for total in integers)
    rounded = (without, present)
    without, present = (vectors.double().sum(0) * (1 - MARGIN) / divisor for vectors in cohorts)
    exact = (without, present)
    single = (cohorts[0].sum(0), cohorts[1].sum(0))

    def in_integers(there: bool, stream: Stream) -> Tensor:
        return from_grid(noised(integers[there], grid, stream), grid, divisor)[0]

    def not_rounded(there: bool, stream: Stream) -> Tensor:
        zero = torch.zeros(NUMBERS, dtype=torch.int64)
        return exact[there] + from_grid(noised([zero], grid, stream), grid, divisor)[0]

    def in_float32(there: bool, stream: Stream) -> Tensor:
        return single[there] + torch.from_numpy(stream.normal((NUMBERS,)) / mu).float()

    chance = float(norm.cdf(mu / 2))
    right = right_guesses(in_integers, [rounded, exact], grid.step / divisor)
    assert binom.ppf(0.005, RELEASES, chance) <= right <= binom.ppf(0.995, RELEASES, chance)
    assert right_guesses(not_rounded, [rounded, exact], grid.step / divisor) == RELEASES
    assert right_guesses(in_float32, [single], grid.step) >= 0.95 * RELEASES


# Trap 23. The attacker is the server, and chooses the model that goes out. What it attacks is what a hospital answered
# through its client app, or where the server is trusted, what leaves the server.

BUDGETS = (0.01, 1, 6)
RATE = 2.0**-10  # so small that every step begins near the model that was sent; a power of two changes no digit
STUDY: dict[str, Any] = {
    "hospitals": {"assignment": {"by": "uniform", "count": 1}},  # of 16 training patients: likewise
    "diagnosis": {"augmentation": {"flips": "none"}, "optimizer": {"learning_rate": RATE, "momentum": 0.0}},
    "synthesis": {"source": "gan", "method": "mean_embedding"},
}
Deploy = Callable[..., Any]


@pytest.fixture
def both(
    deploy: Deploy, own_cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Any, Any]]:
    """Make two hospitals of the same patients, in the first of which one's data is replaced by nothing.

    The cohort's key is no secret here: the same tests draw the same noise every time. No power cut is survived.
    """
    monkeypatch.setattr(os, "fsync", lambda _: None)
    real, known = embedding.public_classifier, {}

    def once(inputs: Inputs, config: DiagnosisConfig) -> Classifier:
        """Build each hospital's network once: that takes longer than all the rest."""
        if id(inputs) not in known:
            known[id(inputs)] = (real(inputs, config), inputs)
        return known[id(inputs)][0]

    monkeypatch.setattr(embedding, "public_classifier", once)
    (own_cohort.folder / KEY).write_text(bytes(32).hex())
    facts = json.loads((own_cohort.folder / FACTS).read_text())
    (own_cohort.folder / FACTS).write_text(json.dumps(facts | {"digest": _digest(own_cohort.folder, bytes(32))}))
    shutil.copytree(own_cohort.folder, tmp_path / "without")

    def made(setting: str, steps: int = 1, trust: str = "local") -> tuple[Any, Any]:
        found = []
        for name in ("without", "cohort"):
            how = {"federation": {"rounds": 1, "local_steps": steps}, "privacy": {"trust": trust}}
            cohort = Cohort.open(tmp_path / name)
            one = deploy(f"{name}-{setting}-{steps}-{trust}", settings=[setting], cohort=cohort, **STUDY, **how)
            one.agree(0)
            if name == "without":
                inputs = inputs_of(one.site(0), one.deployment)
                (_, store), *_ = inputs._sets
                for row in one.held["hospital-1"].training[0]:
                    store.put("whole", row, np.full(64, np.nan, np.float32))
            found.append(one)
        return found[0], found[1]

    return made


def release(one: Any, stage: str, number: int = 0) -> Tensor:
    """What the hospital answers to a model of zeros, as one vector.

    Each number is a hospital of the same patients with another secret, that has released nothing yet.
    """
    site, deployment = one.site(0), one.deployment
    site.file, site.folder = site.file.model_copy(update={"secret_seed": number}), one.folder(0) / f"state-{number}"
    one.declare(0)
    one.ask(0, Job("agree", deployment.digest, plan=one.plan.digest), text=json.dumps(one.sizes))
    model = {name: torch.zeros_like(tensor) for name, tensor in one.model.items()}
    job = Job(stage, deployment.digest, 1, plan=one.plan.digest)
    answer: Answer = one.ask(0, job, {"arrays": model} if stage == "train" else {})
    return torch.cat([tensor.flatten() for tensor in answer.tensors.values()])


def assert_told_no_better_than_claimed(right: int, budget: float) -> None:
    """The best test is right with probability Phi(mu / 2) (Dong et al. 2022): within 99 of 100 such attackers."""
    chance = float(norm.cdf(mu_of(budget, DELTA) / 2))
    low, high = binom.ppf([0.005, 0.995], RELEASES, chance)
    assert low <= right <= high, (right, low, high)


def coins() -> Iterator[tuple[int, int]]:
    yield from enumerate((np.random.default_rng(0).random(RELEASES) < 0.5).astype(int).tolist())


@pytest.mark.parametrize(
    ("stage", "steps", "budget"),
    [*((stage, 1, budget) for stage in ("embedding", "train") for budget in BUDGETS), ("train", 5, 1)],
)
def test_trap_23_floating_point_what_a_hospital_answers(both: Any, stage: str, steps: int, budget: float) -> None:
    """At a hospital that noises by itself. Every sum that left lies on the grid, exactly."""
    setting = f"{'synthetic' if stage == 'embedding' else 'real'}-epsilon-{budget:g}"
    trusted = [release(one, stage) for one in both(setting, 1, "central")]
    hospitals = both(setting, steps)
    (mechanism,) = hospitals[0].plan.mechanisms
    grid = Grid.of(mechanism.clipping_norm, mechanism.noise_multiplier, len(trusted[0]))
    factor = 1.0 if stage == "embedding" else -RATE * steps
    unit = grid.step / 16 * (1.0 if stage == "embedding" else RATE)
    without, present = (factor * grid.step / 16 * total.double() for total in trusted)
    assert hospitals[0].sizes == {"hospital-1": 16} and (trusted[0] != trusted[1]).sum() > 0
    right = 0
    for number, there in coins():
        released = release(hospitals[there], stage, number + 1)
        whole = released.double() / unit
        if steps == 1:  # the sum of several float32 steps may have lost digits
            assert (whole == whole.round()).all()
        right += guess_presence([(without, present)], released, unit) == bool(there)
    assert_told_no_better_than_claimed(right, budget)


@pytest.mark.parametrize("stage", ["embedding", "train"])
@pytest.mark.parametrize("budget", BUDGETS)
def test_trap_23_floating_point_what_a_trusted_server_makes_of_sums(both: Any, budget: float, stage: str) -> None:
    setting = f"{'synthetic' if stage == 'embedding' else 'real'}-epsilon-{budget:g}"
    hospitals = both(setting, 1, "central")
    sums = [release(one, stage) for one in hospitals]
    (mechanism,) = hospitals[0].plan.mechanisms
    grid = Grid.of(mechanism.clipping_norm, mechanism.noise_multiplier, len(sums[0]))
    without, present = (grid.step / 16 * total.double() for total in sums)
    right = 0
    for number, there in coins():
        noised = noised_mean([{"sum": sums[there]}], mechanism, 16, {}, Secret.of(Path("server"), number))["sum"]
        whole = noised * 16 / grid.step
        assert torch.equal(whole, whole.round()) and sums[there].dtype == torch.int64
        right += guess_presence([(without, present)], noised.float(), grid.step / 16) == bool(there)
    assert_told_no_better_than_claimed(right, budget)


@pytest.mark.parametrize("budget", [1, 6])
def test_trap_23_what_is_accounted_is_what_discrete_noise_costs(deploy: Deploy, budget: float) -> None:
    """By dp-accounting's distribution of privacy losses of the discrete mechanism itself."""
    one = deploy(settings=[f"synthetic-epsilon-{budget:g}"], **STUDY)
    (mechanism,) = one.plan.mechanisms
    grid = Grid.of(mechanism.clipping_norm, mechanism.noise_multiplier, 130)
    discrete = from_discrete_gaussian_mechanism(
        grid.deviation,
        sensitivity=grid.sensitivity,
        truncation_bound=12 * grid.deviation + grid.sensitivity,
        value_discretization_interval=1e-3,
        use_connect_dots=True,
    )
    accounted = epsilon(((1.0, mechanism.noise_multiplier, 1),), DELTA)
    assert discrete.get_epsilon_for_delta(DELTA) <= accounted * (1 + 1e-6) <= budget * (1 + 1e-6)
