"""Pretraining on drawn patches: what learns, what stays, and weights that a study takes up."""

from pathlib import Path

import pytest
import torch

from fedmammo.commands.phantom import pretrain
from fedmammo.config.sections import DiagnosisConfig
from fedmammo.disk.files import write_tensors
from fedmammo.errors import InputError
from fedmammo.models.classifier import build_classifier
from fedmammo.training import phantom_network
from fedmammo.training.phantom_network import Lesson, pretrain_on_phantoms


def config(weights: str = "none", rate: float = 0.01) -> DiagnosisConfig:
    return DiagnosisConfig.model_validate(
        {
            "network": "test_vit",
            "weights": weights,
            "image_size": 32,
            "features": [3, 6],
            "train": "last_blocks:2",
            "precision": "bfloat16",
            "optimizer": {"learning_rate": rate},
        }
    )


def test_the_last_blocks_learn_and_a_study_takes_up_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks 5 and 6 of 6 learn, in float32; everything else is as it was, to the last bit."""
    monkeypatch.setattr(phantom_network, "TRIED", 32)
    steps: list[tuple[int, int]] = []
    tensors, right = pretrain_on_phantoms(config(), Lesson(7, 3, 1), lambda *step: steps.append(step))
    assert steps == [(1, 2), (2, 2)]  # the seventh patch fills no step
    assert right.keys() == {"shape", "margins", "malignant"} and all(0 <= one <= 1 for one in right.values())
    before = build_classifier(config()).chain.network.state_dict()
    assert tensors.keys() == before.keys()
    changed = {name for name, tensor in tensors.items() if not torch.equal(tensor, before[name])}
    assert changed and all(name.startswith(("blocks.4.", "blocks.5.")) for name in changed)
    assert {tensors[name].dtype for name in changed} == {torch.float32}
    write_tensors(tmp_path / "phantoms.safetensors", tensors)
    taken = build_classifier(config(str(tmp_path / "phantoms.safetensors"))).chain.network.state_dict()
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in taken.items())


@pytest.mark.parametrize(
    ("changes", "lesson", "line"),
    [
        ({"train": "head"}, (4, 2, 1), r"^--train head: all, or last_blocks:N$"),
        ({"features": "six"}, (4, 2, 1), r"^--features six: numbers of blocks, such as 6,10$"),
        ({"features": "6,3"}, (4, 2, 1), r"^--features"),
        ({"network": "nonsense"}, (4, 2, 1), r"^diagnosis.network: timm knows no 'nonsense'"),
        ({}, (4, 5, 1), r"^--patches 4, --batch 5: a step takes 1 patch or more of them$"),
    ],
)
def test_what_cannot_be_pretrained_is_one_line_before_anything_is_drawn(
    tmp_path: Path, changes: dict[str, str], lesson: tuple[int, int, int], line: str
) -> None:
    asked = {"network": "test_vit", "weights": "none", "features": "3,6", "train": "all"} | changes
    with pytest.raises(InputError, match=line):
        pretrain(tmp_path / "out.safetensors", asked, 0.01, Lesson(*lesson), lambda *_: None)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "out.safetensors").write_text("mine")
    asked = {"network": "test_vit", "weights": "none", "features": "3,6", "train": "all"}
    with pytest.raises(InputError, match="is there already"):
        pretrain(tmp_path / "out.safetensors", asked, 0.01, Lesson(4, 2, 1), lambda *_: None)
    assert (tmp_path / "out.safetensors").read_text() == "mine"
