"""The guard of a hospital's patients: the one place where a budget and no budget differ. It releases, refuses, charges.

Nothing that depends on patients leaves a hospital but through `release`. What was agreed to is the hospital's own copy
of the plan: a message can name it by its digest, and cannot change it.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from torch import Tensor

from fedmammo.privacy.answer import Answer, Mark, check_fields
from fedmammo.privacy.ledger import Ledger
from fedmammo.privacy.limits import Limits
from fedmammo.privacy.masks import Masks, Party
from fedmammo.privacy.odometer import Odometer
from fedmammo.privacy.plan import Plan
from fedmammo.privacy.reasons import RefusalError
from fedmammo.privacy.secret import Secret
from fedmammo.privacy.steps import PrivateSteps

Draw = Callable[[PrivateSteps | None], Answer]
"""Computes an answer from patients, with noise where steps are given; called only where it may be released."""
ALONE = Party()  # whose sums nobody else's are added to


class Guard(Protocol):
    """What stands between a stage and its hospital's patients."""

    def release(
        self,
        stage: str,
        number: int,
        depends_on: Mapping[str, Any],
        draw: Draw,
        public: int = 0,
        asked: Collection[str] = (),
    ) -> Answer:
        """Return what a stage releases in round `number`.

        Args:
            stage: whose mechanism it is.
            number: of the round, from 1.
            depends_on: everything else that determines the answer: texts, numbers, and tensors by name.
            draw: computes the answer.
            public: images of nobody that are learned from beside the patients, each as a patient of its own.
            asked: names in `depends_on` of all that comes with the request, alike at all hospitals that are asked.

        Raises RefusalError where that was not agreed to, or would cost too much.
        """
        ...

    def check(self, stage: str, marks: Mapping[str, Mark], answer: Answer) -> None:
        """Raise RefusalError where the answer holds what is not for others to see."""
        ...


class Open:
    """Without a budget: whatever is drawn leaves."""

    def release(
        self,
        stage: str,
        number: int,
        depends_on: Mapping[str, Any],
        draw: Draw,
        public: int = 0,
        asked: Collection[str] = (),
    ) -> Answer:
        """Return what is drawn."""
        return draw(None)

    def check(self, stage: str, marks: Mapping[str, Mark], answer: Answer) -> None:
        """Let everything pass."""


class Budget:
    """Under a budget: a plan that was agreed to once, a ledger of what was drawn, noise from the hospital's secret.

    Args:
        ledger: of the deployment, or of the generator that it shares with others.
        odometer: of the hospital.
        secret: the hospital's.
        patients: who trains, by pseudonym; as many as the plan declares.
        plan: digest of the plan by which a job asks; none where it asks by none.
        party: with whom the hospital adds sums up under masks.
    """

    def __init__(
        self,
        ledger: Ledger,
        odometer: Odometer,
        secret: Secret,
        patients: Sequence[str],
        plan: str | None,
        party: Party = ALONE,
    ) -> None:
        self.ledger = ledger
        self._odometer = odometer
        self._secret = secret
        self._patients = list(patients)
        self._asked = plan
        self._party = party

    def agree(self, plan: Plan, limits: Limits, holder: str) -> None:
        """Agree to a plan, once, or raise RefusalError."""
        plan.check(limits, holder, len(self._patients))
        self.ledger.agree(plan, self._secret.seeded)

    @property
    def plan(self) -> Plan:
        """The plan, as the hospital wrote it down. Raises RefusalError where it is not the one that is asked by."""
        return self.ledger.agreed(self._asked or "")

    def release(
        self,
        stage: str,
        number: int,
        depends_on: Mapping[str, Any],
        draw: Draw,
        public: int = 0,
        asked: Collection[str] = (),
    ) -> Answer:
        """Return a release from the ledger, drawn and charged there if it is new; and what was spent with it."""
        plan = self.plan
        mechanism = plan.mechanism(stage)
        if not 1 <= number <= mechanism.rounds:
            raise RefusalError(f"refused: round {number} was asked for, {mechanism.rounds} were agreed to")
        whole = {"plan": plan.digest, "mechanism": mechanism.to_dict(), "round": number, "patients": self._patients}
        named = {key: _named(value) for key, value in depends_on.items()}
        sums, attempt = plan.trust != "local", 0
        masks: Masks | None = None
        if plan.secure:
            brought = {key: named[key] for key in asked}
            masks = self._party.masks(plan, stage, number, brought, self._secret)
            attempt, whole["masks"] = self._party.attempt, masks.context
        name = self._secret.digest(whole | named)

        def drawn() -> Answer:
            if not self.ledger.has(name):  # else it was paid for, and only its bytes were lost
                self._odometer.check([(mechanism, mechanism.local_steps)])
            return draw(PrivateSteps(mechanism, self._secret, name, len(self._patients), public, sums, masks))

        with self._odometer.spending():
            answer, spent = self.ledger.release(name, plan, mechanism, number, drawn, attempt)
        return replace(answer, numbers={"epsilon": spent})

    def check(self, stage: str, marks: Mapping[str, Mark], answer: Answer) -> None:
        """Raise RefusalError where a field is neither public nor charged."""
        check_fields(stage, marks, answer)


def _named(value: Any) -> Any:
    """Return tensors as the digest that names them."""
    return digest_of_tensors(value) if isinstance(value, dict) else value


def digest_of_tensors(tensors: dict[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values, whatever their order."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
