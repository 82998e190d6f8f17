"""FedAvgSquared by hand."""

import pytest
import torch

from fedmammo.privacy.answer import Answer
from fedmammo.privacy.secret import Secret
from fedmammo.stages.stage import Turn
from fedmammo.strategies.fedavgsquared import FedAvgSquared


def turn_of(answers: dict[str, tuple[float, int]]) -> Turn:
    """A round in which hospitals answer a number and how many patients they have."""
    given = {
        name: Answer({"w": torch.tensor([value])}, {"num-examples": float(patients)})
        for name, (value, patients) in answers.items()
    }
    cpu = torch.device("cpu")
    return Turn(None, None, "all", 1, {"w": torch.zeros(1)}, {}, given, dict, 0, Secret(bytes(32)), cpu)  # type: ignore[arg-type]


def test_hospitals_weigh_by_the_square_of_their_patients() -> None:
    """(1 x 1 + 9 x 2 + 16 x 5) / 26; a hospital alone hands its model through, bit for bit."""
    strategy = FedAvgSquared(name="FedAvgSquared")
    model, kept = strategy.at_server(turn_of({"a": (1.0, 1), "b": (2.0, 3), "c": (5.0, 4)}))
    assert model["w"].item() == pytest.approx(99 / 26)
    assert kept == {}
    alone, _ = strategy.at_server(turn_of({"a": (0.1, 7)}))
    assert torch.equal(alone["w"], torch.tensor([0.1]))


def test_with_noise_of_its_own_at_each_hospital_it_has_the_least() -> None:
    """Sums of n ones with noise of variance 1: of means over n, weights n² give 1 / sum n² in place of H / (sum n)²."""
    sizes = [178, 118, 78, 53, 35]
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(4000, len(sizes), generator=generator)
    found = [
        FedAvgSquared(name="FedAvgSquared")
        .at_server(turn_of({str(n): (float(1 + one / n), n) for n, one in zip(sizes, row, strict=True)}))[0]["w"]
        .item()
        for row in noise[:400].tolist()
    ]
    least = 1 / sum(n**2 for n in sizes)
    assert torch.tensor(found).var().item() == pytest.approx(least, rel=0.25)
    assert least < 0.8 * len(sizes) / sum(sizes) ** 2
