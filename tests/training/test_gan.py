"""The GAN's training loop: its losses by hand, which tensors change, how it goes on."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from fedmammo.config.arm import ArmName
from fedmammo.config.study import StudyConfig
from fedmammo.models.mcgan import Mcgan, build_mcgan
from fedmammo.synthesis.names import gan_name
from fedmammo.synthesis.sources import FromGan
from fedmammo.training.gan import AVERAGE, Patients, train_gan

SOURCE = FromGan(source="gan", image_size=32, width=4)


@pytest.fixture
def gan() -> Mcgan:
    return build_mcgan(SOURCE)


@pytest.fixture
def patients() -> Patients:
    """Two patients with one and two images."""
    images = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Patients(images, torch.tensor([0, 1, 1]), [np.array([0]), np.array([1, 2])])


def train(gan: Mcgan, patients: Patients | None, parts: list[str], steps: range, state: dict[str, Tensor]) -> tuple:
    return train_gan(gan, parts, patients, 4, steps, np.random.default_rng(0), state)


def changed(before: dict[str, Tensor], gan: Mcgan) -> set[str]:
    return {name.partition(".")[0] for name, value in gan.state_dict().items() if not torch.equal(before[name], value)}


def test_a_discriminator_that_scores_nothing_loses_two_logarithms_of_two(gan: Mcgan, patients: Patients) -> None:
    """With all scores 0, softplus(0) = ln 2 for real and for synthetic images, and so for the generator."""
    with torch.no_grad():
        gan.discriminator.score.weight.zero_()
        gan.discriminator.score.bias.zero_()
        gan.discriminator.classes.weight.zero_()
    numbers, _ = train(gan, patients, ["discriminator"], range(1, 2), {})
    assert numbers["loss"] == pytest.approx(2 * math.log(2), abs=1e-4)
    assert numbers["images"] == 4


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (["discriminator"], {"discriminator"}),
        (["generator"], {"generator", "average"}),
        (["discriminator", "generator"], {"discriminator", "generator", "average"}),
    ],
)
def test_only_the_parts_that_step_change(gan: Mcgan, patients: Patients, parts: list[str], expected: set[str]) -> None:
    before = {name: value.clone() for name, value in gan.state_dict().items()}
    _, state = train(gan, None if parts == ["generator"] else patients, parts, range(2), {})
    assert changed(before, gan) == expected
    assert {name.partition("/")[0] for name in state} == set(parts)


def test_the_average_begins_with_the_generator_and_ends_slow(gan: Mcgan, patients: Patients) -> None:
    """At step 0 the decay is 1 - 1/1 = 0; at step 10^6 it is `AVERAGE`: a change of d moves the average .002 d."""
    train(gan, patients, ["discriminator", "generator"], range(1), {})
    name = "first.weight"
    torch.testing.assert_close(gan.average.get_parameter(name), gan.generator.get_parameter(name))
    before = gan.average.get_parameter(name).clone()
    train(gan, patients, ["discriminator", "generator"], range(10**6, 10**6 + 1), {})
    moved = (1 - AVERAGE) * (gan.generator.get_parameter(name) - before)
    torch.testing.assert_close(gan.average.get_parameter(name), before + moved)


def test_the_same_call_gives_the_same_bytes_and_the_state_matters(patients: Patients) -> None:
    def twice(kept: bool) -> Mcgan:
        gan = build_mcgan(SOURCE)
        _, state = train(gan, patients, ["discriminator", "generator"], range(2), {})
        train(gan, patients, ["discriminator", "generator"], range(2, 4), state if kept else {})
        return gan

    first, second, forgot = (twice(kept).state_dict() for kept in (True, True, False))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], forgot[name]) for name in first)


def test_patients_are_drawn_alike_whatever_their_images(patients: Patients) -> None:
    """One image of two patients: patient 1 gives half of all, and each of patient 2's images a quarter."""
    torch.manual_seed(0)
    images, malignant = patients.draw(4000, np.random.default_rng(0))
    assert images.shape == (4000, 1, 32, 32)
    assert abs(float(malignant.float().mean()) - 0.5) < 0.03


def test_three_images_of_one_class_are_enough(gan: Mcgan) -> None:
    few = Patients(torch.zeros(3, 1, 32, 32), torch.zeros(3, dtype=torch.int64), [np.arange(3)])
    train(gan, few, ["discriminator", "generator"], range(5), {})
    assert all(value.isfinite().all() for value in gan.state_dict().values())


def test_a_hospitals_own_gan_has_one_name_in_the_local_and_the_federated_arm(phantom_study: dict) -> None:
    def name(
        arm: ArmName,
        combine: str,
        folds: int = 0,
        seed: int = 0,
        setting: str = "pretrained",
        share: float = 0.5,
        **keys: str,
    ) -> str:
        synthesis, privacy = {"source": "gan", "combine": combine, **keys}, {"generator_share": share}
        changes = {"synthesis": synthesis, "evaluation": {"folds": folds}, "privacy": privacy, "settings": [setting]}
        config = StudyConfig.model_validate({**phantom_study, **changes})
        return gan_name(config.deployment(arm, setting, seed), "all" if arm == "centralized" else "north")

    assert name("local", "pool") == name("federated", "pool") == "generator-alone-north-none-draw0"
    assert name("federated", "average") == "generator-federated-none-draw0"
    assert name("centralized", "pool") == "generator-centralized-none-draw0"
    assert name("local", "pool", seed=1) == name("local", "pool")  # seeds vary the classifier alone,
    assert name("local", "pool", folds=2, seed=1) != name("local", "pool", folds=2)  # but deal folds anew
    # Sums of features are added, whatever `combine` says; a generator with a budget is its setting's own.
    assert name("federated", "pool", method="mean_embedding") == "generator-federated-none-draw0"
    private = name("federated", "discriminator", setting="pretrained-epsilon-6")
    assert private == "generator-federated-none-pretrained-epsilon-6-draw0"
    assert (
        name("federated", "discriminator", setting="pretrained-epsilon-6", share=0) == "generator-federated-none-draw0"
    )
