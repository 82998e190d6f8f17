"""The loss of means: by hand for a generator that does not draw, and what a generator learns from it."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedmammo.config.sections import DiagnosisConfig
from fedmammo.models.classifier import build_classifier
from fedmammo.models.mcgan import build_mcgan
from fedmammo.privacy.embedding import cut
from fedmammo.randomness import generator_of
from fedmammo.synthesis.embedding import loss_of_means
from fedmammo.synthesis.sources import FromGan
from fedmammo.training.gan import train_gan


class Reads(nn.Module):
    """Reads four numbers off an image: its mean, and zeros."""

    typical_length = 2.0

    def standard_of(self, images: Tensor) -> Tensor:
        mean = images.mean(dim=(1, 2, 3))[:, None]
        return torch.cat([mean, torch.zeros(len(images), 3)], dim=1)


class Draws(nn.Module):
    """Draws images of these gray values, 0 to 1, whatever their class."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.values = torch.tensor(values)

    def generator(self, malignant: Tensor) -> Tensor:
        return (2 * self.values - 1).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)


def test_the_loss_by_hand() -> None:
    """Classes 0 1 0 1 0 1 0 1; benign images of 0, .4, .4, .8, of which the even ones mean .2 and the odd ones .6.

    Half of each is what a typical length of 2 leaves: .1 and .3. Off a target of .05: .05 x .25. Malignant images are
    all .2, so .1, off a target of .3: (-.2)^2.
    """
    means = torch.tensor([[0.05, 0, 0, 0], [0.3, 0, 0, 0]])
    gan: Any = Draws(0, 0.2, 0.4, 0.2, 0.4, 0.2, 0.8, 0.2)
    classifier: Any = Reads()
    loss = loss_of_means(classifier, means)(gan, torch.arange(8) % 2)
    assert float(loss) == pytest.approx(0.05 * 0.25 + 0.04, abs=1e-6)


def test_a_generator_learns_the_means_of_each_class() -> None:
    """Means that two other images have: their distance shrinks to less than half."""
    config = DiagnosisConfig.model_validate(
        {"network": "test_vit", "weights": "none", "image_size": 32, "optimizer": {"learning_rate": 0.1}}
    )
    classifier, gan = build_classifier(config), build_mcgan(FromGan(source="gan", image_size=32, width=4))
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    images = torch.stack([torch.linspace(0, 1, 32).expand(1, 32, 32), torch.full((1, 32, 32), 0.9)])
    with torch.no_grad():
        means = cut(classifier.standard_of(images), classifier.typical_length)

    def distance() -> float:
        torch.manual_seed(0)
        with torch.no_grad():
            return float(loss_of_means(classifier, means)(gan, torch.arange(64) % 2))

    first = distance()
    train_gan(gan, ["generator"], None, 16, range(60), generator_of("test"), {}, loss_of_means(classifier, means))
    assert abs(distance()) < first / 2
    assert all(torch.equal(before[name], value) for name, value in classifier.state_dict().items())
