"""What the server keeps after every round, in one file that is replaced at once."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedmammo.disk.files import read_tensors, write_tensors
from fedmammo.errors import InputError


@dataclass
class Checkpoint:
    """Where a deployment stands.

    Attributes:
        models: each group's model, tensors by name.
        strategies: each group's strategy state (fedmammo.federation.strategies.state_of).
        round: last finished round; 0 before the first.
        rows: rows of rounds.csv so far.
        kept: what else the server keeps of a group, tensors by name.
    """

    models: dict[str, dict[str, Tensor]]
    strategies: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    round: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    kept: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Replace the file at `path`."""
        tensors = {
            f"{kind}|{group}|{name}": tensor
            for kind, found in (("model", self.models), ("kept", self.kept))
            for group, model in found.items()
            for name, tensor in model.items()
        }
        for group, arrays in self.strategies.items():
            tensors |= {f"strategy|{group}|{name}": torch.from_numpy(array) for name, array in arrays.items()}
        about = {"round": self.round, "rows": self.rows, "order": list(tensors)}
        write_tensors(path, tensors, {"checkpoint": json.dumps(about)})

    @classmethod
    def read(cls, path: Path) -> "Checkpoint":
        """Read what `write` wrote, tensors in the same order: FedAvgM of Flower goes by it.

        Raises InputError where the file is missing or damaged.
        """
        tensors, metadata = read_tensors(path)
        try:
            about = json.loads(metadata["checkpoint"])
            found = cls({}, {}, int(about["round"]), list(about["rows"]))
            for key in about["order"]:
                kind, group, name = key.split("|")
                if kind == "strategy":
                    found.strategies.setdefault(group, {})[name] = tensors[key].numpy()
                else:
                    (found.models if kind == "model" else found.kept).setdefault(group, {})[name] = tensors[key]
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise InputError(f"{path}: is no checkpoint; delete it, and the deployment begins anew") from error
        return found
