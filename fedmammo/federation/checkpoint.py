"""What the server keeps after every round, in one file that is replaced at once."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedmammo.files import read_tensors, write_tensors


@dataclass
class Checkpoint:
    """Where a cell stands.

    Attributes:
        models: each group's model, tensors by name.
        strategies: each group's strategy state (fedmammo.federation.strategies.state_of).
        round: last finished round; 0 before the first.
        rows: rows of rounds.csv so far.
    """

    models: dict[str, dict[str, Tensor]]
    strategies: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    round: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Replace the file at `path`."""
        tensors = {
            f"model|{group}|{name}": tensor for group, model in self.models.items() for name, tensor in model.items()
        }
        for group, arrays in self.strategies.items():
            tensors |= {f"strategy|{group}|{name}": torch.from_numpy(array) for name, array in arrays.items()}
        write_tensors(path, tensors, {"round": str(self.round), "rows": json.dumps(self.rows)})

    @classmethod
    def read(cls, path: Path) -> "Checkpoint":
        """Read what `write` wrote."""
        tensors, metadata = read_tensors(path)
        found = cls({}, {}, int(metadata["round"]), json.loads(metadata["rows"]))
        for key, tensor in tensors.items():
            kind, group, name = key.split("|")
            if kind == "model":
                found.models.setdefault(group, {})[name] = tensor
            else:
                found.strategies.setdefault(group, {})[name] = tensor.numpy()
        return found
