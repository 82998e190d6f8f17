"""A hospital's odometer: everything that it ever released about its patients, whatever study, seed or run asked.

A privacy filter (Feldman & Zrnic 2021, arXiv 2008.11193): what was spent composes, and what would pass the lifetime's
epsilon is refused. In a simulation each deployment is a hospital that might have been, whose odometer begins at 0.
"""

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fedmammo.disk.files import write_text
from fedmammo.errors import StudyError
from fedmammo.privacy.accounting import Spent, epsilon, spent_of
from fedmammo.privacy.ledger import Ledger, spent_in
from fedmammo.privacy.limits import Limits
from fedmammo.privacy.mechanism import Mechanism
from fedmammo.privacy.reasons import RefusalError

PROTECTED = "protected.json"  # patients who train under a budget, by pseudonym
EXPOSED = "exposed.json"  # patients of whom something left without one: who trained without, or whose scores left


class Odometer:
    """The ledgers of a hospital, one for each deployment.

    Args:
        folder: of the hospital's state.
        limits: the hospital's own.
        one_for_all: whether all deployments count together, as they do at a real hospital.
    """

    def __init__(self, folder: Path, limits: Limits, one_for_all: bool) -> None:
        self._folder = folder
        self._limits = limits
        self.one_for_all = one_for_all

    def ledger(self, deployment: str, before: Sequence[str] = ()) -> Ledger:
        """Return the ledger of a deployment. `before`: others whose releases count for its budget too."""
        releases = self._folder / deployment
        earlier = [ledger_of(self._folder, other) for other in before]
        return Ledger(ledger_of(self._folder, deployment), releases, earlier)

    @property
    def _ledgers(self) -> list[Path]:
        return sorted((self._folder / "ledger").glob("*.jsonl"))

    @property
    def spent(self) -> Spent:
        """All that was ever released."""
        return spent_of(spent_in(self._ledgers))

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Let one release at a time be drawn, over all deployments that count together."""
        if not self.one_for_all:
            yield
            return
        path = self._folder / "ledger" / ".lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed
            yield

    def check(self, more: Sequence[tuple[Mechanism, int]]) -> None:
        """Raise RefusalError where so much more would pass the lifetime's epsilon."""
        if not self.one_for_all:
            return
        most, delta = self._limits.lifetime_epsilon, self._limits.lifetime_delta
        if epsilon(spent_of([*spent_in(self._ledgers), *more]), delta) > most:
            why = f"refused: it would pass the lifetime epsilon of {most:g} at delta {delta:g}"
            raise RefusalError(why, "lifetime_epsilon")

    @property
    def protected(self) -> set[str]:
        """Patients who trained, or will, under a budget."""
        return self._noted(PROTECTED)

    def protect(self, patients: Sequence[str]) -> None:
        """Note that patients are protected, from now on, in everything.

        Raises RefusalError where something of them left without a budget: one would promise what is no longer true.
        """
        self._note(PROTECTED, patients, EXPOSED, "something of these patients has left without a budget before")

    def expose(self, patients: Sequence[str]) -> None:
        """Note that something of patients leaves without a budget. Raises RefusalError where one protects them."""
        self._note(EXPOSED, patients, PROTECTED, "patients are protected by a budget that was agreed to before")

    def _noted(self, name: str) -> set[str]:
        path = self._folder / name
        if not path.exists():
            return set()
        try:
            noted = json.loads(path.read_text())
        except (ValueError, RecursionError):
            noted = None
        if not isinstance(noted, list) or not all(isinstance(patient, str) for patient in noted):
            raise StudyError(f"{path}: does not say which patients were used; restore the file")
        return set(noted)

    def _note(self, name: str, patients: Sequence[str], others: str, why: str) -> None:
        if not self.one_for_all:
            return
        with self.spending():
            if not self._noted(others).isdisjoint(patients):
                raise RefusalError(f"refused: {why}", "protected")
            noted = self._noted(name)
            if not noted.issuperset(patients):
                write_text(self._folder / name, json.dumps(sorted(noted.union(patients))) + "\n")


def ledger_of(folder: Path, deployment: str) -> Path:
    """Return where a hospital's ledger of a deployment lies."""
    return folder / "ledger" / f"{deployment}.jsonl"
