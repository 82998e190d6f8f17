"""The guard helps where torchvision does not fit torch, and hides no other fault."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedmammo.models import torchvision_guard

ROOT = Path(__file__).parents[2]


def import_models_beside(torchvision: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Import the guard in a fresh process, where torchvision is a package with this source."""
    (folder / "torchvision").mkdir()
    (folder / "torchvision" / "__init__.py").write_text(torchvision)
    path = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-c", "import fedmammo.models.torchvision_guard, torchvision; print(torchvision.__name__)"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )


def test_missing_operators_are_declared(tmp_path: Path) -> None:
    """As torchvision's CUDA build does at import: it gives operators a second kind of kernel, and needs them there."""
    source = """
import torch

@torch.library.register_fake("torchvision::nms")
def nms(boxes, scores, threshold):
    return boxes
"""
    done = import_models_beside(source, tmp_path)
    assert done.stdout == "torchvision\n", done.stderr


def test_any_other_fault_of_torchvision_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('libcudart.so: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(RuntimeError, match=r"^libcudart\.so: cannot open$"):
        torchvision_guard._import_torchvision()
