"""A hospital's ledger of what it has released: append-only, and on disk before anything leaves the hospital.

Budget is spent when noise is drawn. A release that was interrupted is drawn again from the same secret and the same
request, and is the same; one that is in the ledger is answered from its bytes, for nothing; every other request pays.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fedmammo.disk.files import read_tensors, sync_folder, write_tensors
from fedmammo.errors import StudyError
from fedmammo.privacy.accounting import epsilon, spent_of
from fedmammo.privacy.answer import Answer
from fedmammo.privacy.mechanism import Mechanism
from fedmammo.privacy.plan import DELTAS, Plan, digest_of
from fedmammo.privacy.reasons import RefusalError

if TYPE_CHECKING:  # whoever reads a ledger needs no torch
    from torch import Tensor

BEGIN = "0" * 64  # stands before the first line


class Ledger:
    """The lines of one deployment.

    Each is a JSON object with `previous`, the SHA-256 of the line before, and `seal`, that of all else in it. The first
    kind of line is a plan that was agreed to (`agreed`: its digest, the plan, and, where that is so, that the secret
    was `seeded`), the second a release: its `request` (a keyed digest), `stage`, `round` (under masks also `attempt`),
    what was drawn (`mechanism`, `steps`), `sha256` of the bytes, and `epsilon` at two deltas, all that the deployment
    has spent so far.

    Args:
        path: of the ledger; made by the first line.
        releases: folder of the bytes that were released.
        before: ledgers whose releases count too: those of a generator whose images are used.
    """

    def __init__(self, path: Path, releases: Path, before: Sequence[Path] = ()) -> None:
        self.path = path
        self._releases = releases
        self._before = before

    @property
    def lines(self) -> list[dict[str, Any]]:
        """All whole lines; what a crash cut short was never acted upon. Raises StudyError where one was altered."""
        return read_lines(self.path)

    def agree(self, plan: Plan, seeded: bool = False) -> None:
        """Write down a plan that the hospital agrees to, once. Raises RefusalError after another one was agreed to.

        `seeded`: whether the hospital's secret comes from a number, as in tests, so that nothing is private.
        """
        with self._opened() as file:
            agreed = [line["agreed"] for line in self.lines if "agreed" in line]
            if agreed and agreed[0] != plan.digest:
                raise RefusalError("refused: another plan was agreed to for this deployment")
            if not agreed:
                line = {"agreed": plan.digest, "plan": json.loads(plan.to_json())}
                self._append(file, line | ({"seeded": True} if seeded else {}))

    def agreed(self, digest: str) -> Plan:
        """Return the plan that was agreed to. Raises RefusalError where that is not the one with this digest."""
        for line in self.lines:
            if line.get("agreed") == digest:
                return Plan.from_json(json.dumps(line["plan"]))
        raise RefusalError("refused: it was not agreed to this plan")

    def knows(self, plan: Plan) -> bool:
        """Whether a plan was agreed to."""
        return any(line.get("agreed") == plan.digest for line in self.lines)

    def has(self, request: str) -> bool:
        """Whether a request was charged."""
        return any(line.get("request") == request for line in self.lines)

    def release(
        self,
        request: str,
        plan: Plan,
        mechanism: Mechanism,
        number: int,
        draw: Callable[[], Answer],
        attempt: int = 0,
    ) -> tuple[Answer, float]:
        """Return the tensors that a request releases, and what was spent with it: epsilon at the plan's delta.

        They are in the ledger before.

        Args:
            request: keyed digest of everything that determines the release.
            plan: what was agreed to.
            mechanism: whose round this is.
            number: of the round, from 1.
            draw: computes the release; called only where the request is new and within the budget.
            attempt: of the round, from 1, where masks hide what is released: each has one answer; else 0.

        Raises RefusalError where the plan has no such round left, or the budget would be passed.
        """
        with self._opened() as file:
            known = self._known(request, plan, draw)
            if known is not None:
                return known
            if attempt:
                self._check_attempt(mechanism, number, attempt)
            return self._release(file, request, plan, mechanism, {"round": number, "attempt": attempt}, draw)

    def _known(self, request: str, plan: Plan, draw: Callable[[], Answer]) -> tuple[Answer, float] | None:
        """Return what was released to a request before; none where it is new."""
        file = self._file(request)
        for line in self.lines:
            if line.get("request") == request:
                if not file.exists():  # its bytes were lost, in a power cut: the same request draws the same
                    self._write(file, draw())
                return self._read(file, line["sha256"]), line["epsilon"][f"{plan.delta:g}"]
        return None

    def _check_attempt(self, mechanism: Mechanism, number: int, attempt: int) -> None:
        """Raise RefusalError where a round has had its answer under an attempt, or one is not the next.

        Two sums under the same masks would tell how they differ.
        """
        taken = [(line["round"], line["attempt"]) for line in self.lines if line.get("stage") == mechanism.stage]
        if (number, attempt) in taken:
            raise RefusalError(f"refused: attempt {attempt} of round {number} has had an answer, to another request")
        if attempt > 1 and (number, attempt - 1) not in taken:
            raise RefusalError(f"refused: attempt {attempt} of round {number} was asked for before the one before it")
        if attempt > 1 and sum(one > 1 for _, one in taken) >= mechanism.spare:
            raise RefusalError(f"refused: no more than {mechanism.spare} rounds are asked again")

    def _release(
        self,
        ledger: IO[bytes],
        request: str,
        plan: Plan,
        mechanism: Mechanism,
        when: dict[str, int],
        draw: Callable[[], Answer],
    ) -> tuple[Answer, float]:
        file, lines, number = self._file(request), self.lines, when["round"]
        drawn = [line for line in lines if line.get("stage") == mechanism.stage]
        if len(drawn) >= mechanism.releases:
            raise RefusalError(
                f"refused: round {number} of stage {mechanism.stage} is one more than the {mechanism.releases} agreed "
                "to"
            )
        spent = [*(_spent(line) for path in self._before for line in read_lines(path)), *map(_spent, lines)]
        taken = [entry for entry in spent if entry is not None]
        total = spent_of([*taken, (mechanism, mechanism.local_steps)])
        if epsilon(total, plan.delta) > plan.budget:
            raise RefusalError(f"refused: round {number} would pass the budget of epsilon {plan.budget:g}", "budget")
        answer = draw()
        self._write(file, answer)
        costs = {f"{delta:g}": epsilon(total, delta) for delta in dict.fromkeys((plan.delta, *DELTAS))}
        self._append(
            ledger,
            {
                "request": request,
                "stage": mechanism.stage,
                **{name: value for name, value in when.items() if value},
                "mechanism": mechanism.to_dict(),
                "steps": mechanism.local_steps,
                "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
                "epsilon": costs,
            },
        )
        return answer, costs[f"{plan.delta:g}"]

    def _file(self, request: str) -> Path:
        return self._releases / f"release-{request[:16]}.safetensors"

    @staticmethod
    def _write(file: Path, answer: Answer) -> None:
        both = {f"tensors/{name}": tensor for name, tensor in answer.tensors.items()}
        both |= {f"beside/{name}": tensor for name, tensor in answer.beside.items()}
        write_tensors(file, both, {"names": json.dumps(list(both))})  # safetensors sorts them

    @staticmethod
    def _read(file: Path, sha256: str) -> Answer:
        try:
            altered = hashlib.sha256(file.read_bytes()).hexdigest() != sha256
        except OSError:
            altered = True
        if altered:
            raise StudyError(
                f"{file}: is not what the ledger says was released; restore it, or begin a new run, which spends anew"
            )
        found, about = read_tensors(file)
        kinds: dict[str, dict[str, Tensor]] = {"tensors": {}, "beside": {}}
        for key in json.loads(about["names"]):
            kind, _, name = key.partition("/")
            kinds[kind][name] = found[key]
        return Answer(tensors=kinds["tensors"], beside=kinds["beside"])

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        """Open the ledger for whoever is first: nobody else may spend between what is read and what is written."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed
            yield file

    def _append(self, file: IO[bytes], line: dict[str, Any]) -> None:
        file.seek(0)
        content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        file.truncate(len(whole))  # what a crash cut short
        before = whole.splitlines()
        line = {**line, "previous": hashlib.sha256(before[-1]).hexdigest() if before else BEGIN}
        file.write(json.dumps({**line, "seal": _seal(line)}, sort_keys=True).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
        sync_folder(self.path.parent)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read the whole lines of a ledger, none where there is no file. Raises StudyError where one was altered."""
    content = path.read_bytes() if path.exists() else b""
    lines, previous = [], BEGIN
    for number, text in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            line = json.loads(text)
            fits = line["previous"] == previous and line.pop("seal") == _seal(line)
        except (ValueError, KeyError, TypeError):
            fits = False
        if not fits:
            raise StudyError(
                f"{path}: line {number} is not what was written; restore it, or begin a new run, which spends anew"
            )
        lines.append(line)
        previous = hashlib.sha256(text).hexdigest()
    return lines


def spent_in(paths: Sequence[Path]) -> list[tuple[Mechanism, int]]:
    """List what ledgers say was drawn: mechanisms, and the steps taken of each."""
    found = (_spent(line) for path in paths for line in read_lines(path))
    return [entry for entry in found if entry is not None]


def _spent(line: dict[str, Any]) -> tuple[Mechanism, int] | None:
    return (Mechanism(**line["mechanism"]), line["steps"]) if "request" in line else None


def _seal(line: dict[str, Any]) -> str:
    return digest_of(json.dumps(line, sort_keys=True))
