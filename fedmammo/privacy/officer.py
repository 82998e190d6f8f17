"""A hospital's privacy officer: nothing that depends on patients leaves under a budget but through here."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from fedmammo.privacy.ledger import Ledger
from fedmammo.privacy.limits import Limits
from fedmammo.privacy.mechanism import Mechanism, Stage
from fedmammo.privacy.plan import Plan, RefusalError
from fedmammo.privacy.secret import Secret


class Officer:
    """Agrees to one plan for a deployment, refuses what deviates from it, and keeps secret and ledger.

    Args:
        folder: of the hospital in the run.
        deployment: the cell, or the generator that several cells share.
        seed: stands in for the operating system's secret, in tests.
        before: deployments whose releases count too: that of the generator whose images are used.
    """

    def __init__(self, folder: Path, deployment: str, seed: int | None, before: Sequence[str] = ()) -> None:
        self.secret = Secret.of(folder, seed)
        self.ledger = Ledger(
            ledger_of(folder, deployment), folder / deployment, [ledger_of(folder, other) for other in before]
        )

    def agree(self, text: str, study: str, limits: Limits, holder: str, patients: int) -> None:
        """Agree to the plan in `text` for the study with this digest, or raise RefusalError."""
        plan = Plan.from_json(text)
        if plan.study != study:
            raise RefusalError("refused: the plan is for another study than the one that is asked for")
        plan.check(limits, holder, patients)
        self.ledger.agree(plan)

    def accept(
        self, digest: str, stage: Stage, asked: dict[str, Any], study: str, number: int
    ) -> tuple[Plan, Mechanism]:
        """Return the plan that was agreed to, and its mechanism for this stage.

        Raises RefusalError where what is asked for deviates: another plan, study, noise, clipping norm, rate, number of
        steps or rounds, or a round beyond the last.
        """
        plan = self.ledger.agreed(digest)
        mechanism = plan.mechanism(stage)
        if plan.study != study:
            raise RefusalError("refused: the study is not the one that was agreed to")
        agreed = mechanism.to_dict()
        for name in sorted(agreed.keys() | asked.keys()):
            if asked.get(name) != agreed.get(name):
                raise RefusalError(
                    f"refused: {name.replace('_', ' ')} {asked.get(name)} was asked for, {agreed.get(name)} agreed to"
                )
        if not 1 <= number <= mechanism.rounds:
            raise RefusalError(f"refused: round {number} was asked for, {mechanism.rounds} were agreed to")
        return plan, mechanism

    def release(
        self,
        plan: Plan,
        mechanism: Mechanism,
        number: int,
        request: dict[str, Any],
        draw: Callable[[str], dict[str, Tensor]],
    ) -> tuple[dict[str, Tensor], float]:
        """Return a release and what the deployment has spent with it, epsilon at the plan's delta.

        `request`: everything else that determines the release; `draw` computes it, given the request's keyed digest.
        """
        whole = {"plan": plan.digest, "mechanism": mechanism.to_dict(), "round": number, **request}
        name = self.secret.digest(whole)
        tensors = self.ledger.release(name, plan, mechanism, number, lambda: draw(name))
        spent = [line["epsilon"] for line in self.ledger.lines if line.get("request") == name]
        return tensors, float(spent[0][f"{plan.delta:g}"])


def ledger_of(folder: Path, deployment: str) -> Path:
    """Return where a hospital's ledger of a deployment lies."""
    return folder / "ledger" / f"{deployment}.jsonl"


def digest_of_tensors(tensors: dict[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values, whatever their order."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
