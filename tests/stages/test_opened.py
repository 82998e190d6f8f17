"""What a process keeps open: devices that are there, weights by what they hold."""

from pathlib import Path
from typing import Any

import pytest
import torch

from fedmammo.config.sections import DiagnosisConfig
from fedmammo.config.weights import name_of_weights
from fedmammo.errors import InputError, StudyError
from fedmammo.stages.opened import pick_device, with_weights


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto").type == pick_device("cpu").type == "cpu"
    with pytest.raises(InputError, match=r"^engine\.device: cuda, but no GPU is visible here"):
        pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto").type == pick_device("cuda").type == "cuda"
    assert pick_device("cpu").type == "cpu"


def test_weights_are_the_file_that_holds_what_the_deployment_names(small_study: dict[str, Any], tmp_path: Path) -> None:
    """By digest: a file that is not known, and one that has changed since, are told; `none` needs no file."""
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"one")
    digest = name_of_weights(str(file))
    plain = DiagnosisConfig.model_validate(small_study["diagnosis"])
    named = plain.model_copy(update={"weights": digest})
    assert with_weights(plain, {}) == plain
    assert with_weights(named, {digest: file}).weights == str(file)
    with pytest.raises(StudyError, match=rf"^weights {digest[:16]}: no such file is known here"):
        with_weights(named, {})
    file.write_bytes(b"another")
    with pytest.raises(StudyError, match="no such file is known here"):
        with_weights(named, {digest: file})
