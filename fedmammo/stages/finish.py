"""The end of a deployment: a hospital shows what it has spent, and drops what only its rounds needed."""

import shutil
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from fedmammo.privacy.answer import Answer, Mark
from fedmammo.privacy.guard import Guard
from fedmammo.stages.agree import guard_of
from fedmammo.stages.stage import Incoming, Work

OWN, OF_GENERATOR = "ledger", "ledger of the generator"


class Finish:
    """A ledger names requests by keyed digests, and what was released by digests of what the server has: it may leave.

    In a simulation the server reads the ledgers where they lie, and asks nobody.
    """

    name: ClassVar[str] = "finish"
    fields: ClassVar[dict[str, Mark]] = {"tensors": "public"}

    def at_hospital(self, work: Work, incoming: Incoming, guard: Guard) -> Answer:
        """Answer the texts of the deployment's ledger, and of its generator's, as bytes; nothing without a budget."""
        answer = Answer()
        if work.deployment.privacy is not None:
            of_generator = {OF_GENERATOR: True} if work.deployment.generator_share else {}
            paths = {name: guard_of(work, which).ledger.path for name, which in {OWN: False, **of_generator}.items()}
            answer = Answer({name: _bytes(path) for name, path in paths.items() if path.exists()})
        if not work.site.simulated:
            shutil.rmtree(work.folder, ignore_errors=True)
        return answer


def _bytes(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(path.read_bytes(), np.uint8).copy())
