"""Pretraining on drawn patches: what learns, what stays, and weights that a study takes up."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import fedmammo
from fedmammo.commands.phantom import pretrain
from fedmammo.config.sections import DiagnosisConfig
from fedmammo.config.study import parse
from fedmammo.disk.files import write_tensors
from fedmammo.errors import InputError
from fedmammo.features.opening import open_classifier, start_of
from fedmammo.models.classifier import build_classifier
from fedmammo.models.head import Taught
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
    assert tensors.keys() - before.keys() == {f"taught.{name}" for name in Taught._fields}
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, tensors[name])}
    assert changed and all(name.startswith(("blocks.4.", "blocks.5.")) for name in changed)
    assert {tensors[name].dtype for name in changed} == {torch.float32}
    write_tensors(tmp_path / "phantoms.safetensors", tensors)
    taken = build_classifier(config(str(tmp_path / "phantoms.safetensors"))).chain.network.state_dict()
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in taken.items())


class Stopped(Exception):
    pass


def test_what_was_stopped_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after the second of three steps; another lesson is refused. Ordinary randomness goes on, too."""
    monkeypatch.setattr(phantom_network, "TRIED", 32)
    monkeypatch.setattr(phantom_network, "CHECKPOINT_SECONDS", 0)
    asked = {"network": "test_vit", "weights": "none", "features": "3,6", "train": "all"}
    out, lesson = tmp_path / "out.safetensors", Lesson(6, 2, 1)
    drawn: list[float] = []

    def stop(step: int, steps: int) -> None:
        drawn.append(torch.rand(()).item())  # as paths that a network drops would be
        if step == 2:
            raise Stopped

    with pytest.raises(Stopped):
        pretrain(out, asked, 0.01, lesson, stop)
    with pytest.raises(InputError, match=r"checkpoint: is of another pretraining"):
        pretrain(out, asked, 0.01, Lesson(8, 2, 1), lambda *_: None)
    steps: list[int] = []
    again: list[float] = []

    def note(step: int, _: int) -> None:
        steps.append(step)
        again.append(torch.rand(()).item())

    pretrain(out, asked, 0.01, lesson, note)
    assert steps == [3]
    assert again == drawn[1:], "what is kept is of before the second draw"
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    pretrain(tmp_path / "whole.safetensors", asked, 0.01, lesson, lambda *_: None)
    assert out.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


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


def test_the_head_that_was_taught_is_where_a_study_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the constants: logits of the study's head are those of pretraining's, on any image."""
    monkeypatch.setattr(phantom_network, "TRIED", 32)
    tensors, _ = pretrain_on_phantoms(config(), Lesson(8, 4, 1), lambda *_: None)
    path = tmp_path / "phantoms.safetensors"
    write_tensors(path, tensors)
    asked = config(str(path)).model_copy(update={"head": "weights", "train": "head", "precision": "float32"})
    opened = open_classifier(asked, torch.device("cpu"), tmp_path / "public")
    assert start_of(asked, 5, tmp_path / "public").keys() == {"head.weight", "head.bias"}
    model = build_classifier(asked)
    model.standardize(torch.randn(9, len(model.center), generator=torch.Generator().manual_seed(1)))
    taught, images = Taught.read(str(path)), torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    read = model.prefix(images)
    expected = (read - taught.center) / taught.scale @ taught.weight + taught.bias
    with torch.no_grad():
        model.begin(taught)
        torch.testing.assert_close(model(read), expected, rtol=1e-4, atol=1e-4)
        for name, tensor in opened.start.items():
            opened.model.get_parameter(name).copy_(tensor)
        torch.testing.assert_close(opened.model(read), expected, rtol=1e-4, atol=1e-4)


def test_a_head_of_other_blocks_or_of_no_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phantom_network, "TRIED", 32)
    tensors, _ = pretrain_on_phantoms(config(), Lesson(4, 4, 1), lambda *_: None)
    write_tensors(tmp_path / "with.safetensors", tensors)
    write_tensors(
        tmp_path / "without.safetensors", {name: one for name, one in tensors.items() if "taught" not in name}
    )
    for changes, line in (
        ({"weights": "none"}, "name a file that has a head"),
        ({"weights": str(tmp_path / "without.safetensors")}, "has no head"),
        ({"weights": str(tmp_path / "with.safetensors"), "features": [6]}, "a head of 384 numbers, 192 are read here"),
    ):
        asked = config().model_copy(update={"head": "weights", "train": "head", **changes})
        with pytest.raises(InputError, match=line):
            open_classifier(asked, torch.device("cpu"), tmp_path / "public")


def test_the_setting_public_scores_the_head_of_the_weights_and_no_patient_trains(
    phantom_study: dict[str, Any], run_inline: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every arm the same scores, and beside it a budget that begins there; it says that nobody is learned from."""
    monkeypatch.setattr(phantom_network, "TRIED", 32)
    tensors, _ = pretrain_on_phantoms(config(), Lesson(4, 4, 1), lambda *_: None)
    write_tensors(tmp_path / "phantoms.safetensors", tensors)
    phantom_study["diagnosis"] |= {
        "features": [3, 6],
        "head": "weights",
        "weights": str(tmp_path / "phantoms.safetensors"),
    }
    study = phantom_study | {"arms": ["centralized", "federated"], "settings": ["public", "real-epsilon-6"]}
    study["evaluation"] = {"every": 1}  # it has no rounds to score
    run = fedmammo.open_run(run_inline(parse(study, "small"), tmp_path / "run"))
    public = run.predictions[run.predictions["setting"] == "public"]
    scores = [public[public["arm"] == arm]["score"].to_numpy() for arm in ("centralized", "federated")]
    assert len(scores[0]) and (scores[0] == scores[1]).all()
    held = run.guarantees.set_index("setting")["end_to_end"]
    assert set(held["public"]) == {"no patient"} and set(held["real-epsilon-6"]) == {"patient"}


@pytest.mark.parametrize("changes", [{"settings": ["public"]}, {"settings": ["public-epsilon-1"]}])
def test_public_needs_a_head_and_no_budget(phantom_study: dict[str, Any], changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="public is the head that the file of weights has"):
        parse(phantom_study | changes, "small")
