"""Ledgers: what is on disk before anything leaves, what is refused, and what a crash or a hand leaves behind."""

import hashlib
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fedmammo.errors import StudyError
from fedmammo.privacy.accounting import epsilon
from fedmammo.privacy.answer import Answer
from fedmammo.privacy.ledger import Ledger, read_lines, spent_in
from fedmammo.privacy.mechanism import Mechanism
from fedmammo.privacy.plan import Plan
from fedmammo.privacy.reasons import RefusalError

MECHANISM = Mechanism("train", 1.0, 2.0, 1.0, 3, 2)  # three rounds of two steps
PLAN = Plan("study", "local", 6.0, 1e-4, (MECHANISM,), {"a": 10})


class Hospital:
    """A ledger with an agreed plan, and a count of what was drawn for it."""

    def __init__(self, folder: Path, plan: Plan = PLAN, before: tuple[Path, ...] = ()) -> None:
        self.folder, self.plan = folder, plan
        self.ledger = Ledger(folder / "ledger.jsonl", folder / "releases", before)
        self.ledger.agree(plan)
        self.drawn: list[str] = []
        self.as_before: float | None = None  # what is drawn, in place of a number of its own

    def ask(self, request: str, number: int = 1) -> Tensor:
        """Request something; what is drawn has a number of its own."""

        def draw() -> Answer:
            self.drawn.append(request)
            value = self.as_before if self.as_before is not None else float(len(self.drawn))
            return Answer({"x": torch.tensor([value])})

        name = hashlib.sha256(request.encode()).hexdigest()
        answer, spent = self.ledger.release(name, self.plan, self.plan.mechanisms[0], number, draw)
        assert spent == next(line for line in self.ledger.lines if line.get("request") == name)["epsilon"]["0.0001"]
        return answer.tensors["x"]

    def lines(self) -> list[bytes]:
        return self.ledger.path.read_bytes().splitlines(keepends=True)


@pytest.fixture
def hospital(tmp_path: Path) -> Hospital:
    return Hospital(tmp_path)


def test_a_release_is_a_line_with_all_that_was_spent_so_far(hospital: Hospital) -> None:
    hospital.ask("first", 1), hospital.ask("second", 2)
    agreed, *releases = hospital.ledger.lines
    assert agreed["agreed"] == PLAN.digest
    assert [(line["stage"], line["round"], line["steps"]) for line in releases] == [("train", 1, 2), ("train", 2, 2)]
    for count, line in enumerate(releases, start=1):
        spent = ((1.0, 2.0, 2 * count),)
        assert line["epsilon"] == {"0.0001": epsilon(spent, 1e-4), "1e-06": epsilon(spent, 1e-6)}
    assert spent_in([hospital.ledger.path]) == [(MECHANISM, 2), (MECHANISM, 2)]


def test_what_is_asked_again_is_the_same_and_free(hospital: Hospital) -> None:
    first = hospital.ask("first")
    before = hospital.lines()
    assert hospital.ask("first") == first == 1.0
    assert hospital.ask("first", number=3) == first
    assert hospital.drawn == ["first"] and hospital.lines() == before


def test_tensors_keep_their_order(hospital: Hospital) -> None:
    """Flower's strategies add up tensors by position: an answer that was found has them as when it was drawn."""
    drawn = {"weight": torch.ones(2), "bias": torch.zeros(1), "half": torch.ones(1, dtype=torch.bfloat16)}
    answer = Answer(drawn, beside={"z": torch.ones(1), "a": torch.zeros(2)})
    for _ in range(2):
        found, _ = hospital.ledger.release("0" * 64, PLAN, MECHANISM, 1, lambda: answer)
        assert list(found.tensors) == ["weight", "bias", "half"] and list(found.beside) == ["z", "a"]
        assert found.tensors["half"].dtype == torch.bfloat16 and found.beside["a"].tolist() == [0, 0]


def test_what_is_asked_otherwise_is_drawn_afresh_and_paid(hospital: Hospital) -> None:
    assert hospital.ask("first") != hospital.ask("first, altered")
    spent = [line["epsilon"]["0.0001"] for line in hospital.ledger.lines[1:]]
    assert len(spent) == 2 and spent[1] > spent[0]


def test_it_is_on_disk_before_it_is_returned(hospital: Hospital) -> None:
    """Whoever has the release finds its line and its bytes."""
    released = hospital.ask("first")
    (line,) = read_lines(hospital.ledger.path)[1:]
    (file,) = (hospital.folder / "releases").iterdir()
    assert hashlib.sha256(file.read_bytes()).hexdigest() == line["sha256"]
    assert released == 1.0


@pytest.mark.parametrize("call", [1, 2])
def test_what_could_not_be_flushed_does_not_leave(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """The disk fails when the bytes (1) or the line (2) are flushed: nothing leaves, and asked again it counts once."""
    calls = []

    def fails(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == call:
            raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken, pytest.raises(OSError, match="Input/output"):
        broken.setattr(os, "fsync", fails)
        hospital.ask("first")
    hospital.ask("first")
    assert len(hospital.ledger.lines) == 2


def test_one_round_more_than_agreed_is_refused(hospital: Hospital) -> None:
    """However the round is called, and although the budget would allow it."""
    hospital.plan = replace(PLAN, budget=60.0)
    for request in "abc":
        hospital.ask(request)
    with pytest.raises(RefusalError, match=r"^refused: round 1 of stage train is one more than the 3 agreed to$"):
        hospital.ask("d")
    assert hospital.drawn == ["a", "b", "c"]
    assert hospital.ask("b") == 2.0


def test_what_would_pass_the_budget_is_refused(tmp_path: Path) -> None:
    """Two rounds cost less than 4.5, three more (by the closed form, mu = 1 and 1.22)."""
    hospital = Hospital(tmp_path, replace(PLAN, budget=4.5))
    hospital.ask("a", 1), hospital.ask("b", 2)
    with pytest.raises(RefusalError, match=r"^refused: round 3 would pass the budget of epsilon 4\.5$"):
        hospital.ask("c", 3)
    assert hospital.drawn == ["a", "b"] and len(hospital.ledger.lines) == 3


def test_what_another_ledger_spent_counts_too(tmp_path: Path) -> None:
    """That of a generator whose images are used: two rounds there leave one round here below 4.5."""
    plan = replace(PLAN, budget=4.5)
    generator = Hospital(tmp_path / "generator", plan)
    generator.ask("a", 1), generator.ask("b", 2)
    hospital = Hospital(tmp_path / "classifier", plan, (generator.ledger.path,))
    with pytest.raises(RefusalError, match="would pass the budget"):
        hospital.ask("c")
    alone = Hospital(tmp_path / "alone", plan)
    alone.ask("c")
    assert alone.drawn == ["c"] and hospital.drawn == []


def test_another_plan_is_refused(hospital: Hospital) -> None:
    hospital.ledger.agree(PLAN)
    assert hospital.ledger.knows(PLAN) and not hospital.ledger.knows(replace(PLAN, budget=7.0))
    with pytest.raises(RefusalError, match=r"^refused: another plan was agreed to for this deployment$"):
        hospital.ledger.agree(replace(PLAN, budget=7.0))
    assert hospital.ledger.agreed(PLAN.digest) == PLAN
    with pytest.raises(RefusalError, match=r"^refused: it was not agreed to this plan$"):
        hospital.ledger.agreed(replace(PLAN, budget=7.0).digest)
    assert len(hospital.ledger.lines) == 1


@pytest.mark.parametrize("cut", [1, 40, -1])
def test_a_torn_last_line_was_never_acted_upon(hospital: Hospital, cut: int) -> None:
    """A crash while the second release was written: it is drawn again, and its line takes the torn one's place."""
    hospital.ask("a", 1), hospital.ask("b", 2)
    whole = hospital.lines()
    hospital.ledger.path.write_bytes(b"".join(whole[:2]) + whole[2][:cut])
    assert len(hospital.ledger.lines) == 2
    hospital.ask("b", 2)
    assert hospital.drawn == ["a", "b", "b"]
    found = [json.loads(line) for line in hospital.lines()]
    assert len(found) == 3 and found[1]["previous"] == hashlib.sha256(whole[0].strip()).hexdigest()
    assert [line["round"] for line in hospital.ledger.lines[1:]] == [1, 2]


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("alter", ["change", "remove", "garbage"])
def test_an_altered_line_ends_everything(hospital: Hospital, number: int, alter: str) -> None:
    """Wherever it stands, but for what no chain can tell: a last line that is gone."""
    hospital.ask("a", 1), hospital.ask("b", 2)
    lines = hospital.lines()
    if alter == "remove":
        del lines[number]
    else:
        lines[number] = lines[number].replace(b'"steps": 2', b'"steps": 1') if alter == "change" else b"{}\n"
    if alter == "change" and number == 0:
        lines[0] = lines[0].replace(b'"budget": 6.0', b'"budget": 9.0')
    hospital.ledger.path.write_bytes(b"".join(lines))
    if alter == "remove" and number == 2:
        assert len(hospital.ledger.lines) == 2
        return
    with pytest.raises(StudyError, match=r"ledger\.jsonl: line \d is not what was written; restore it"):
        hospital.ask("c", 3)
    assert hospital.drawn == ["a", "b"]


def test_bytes_that_were_altered_are_not_drawn_again(hospital: Hospital) -> None:
    hospital.ask("a")
    (file,) = (hospital.folder / "releases").iterdir()
    file.write_bytes(b"other")
    with pytest.raises(StudyError, match=r"is not what the ledger says was released; restore it"):
        hospital.ask("a")
    assert hospital.drawn == ["a"]


def test_bytes_that_are_gone_are_drawn_again_and_must_be_the_same(hospital: Hospital) -> None:
    """A power cut may take a file whose line stands: the same request draws the same, free, or nothing leaves."""
    hospital.ask("a")
    (file,) = (hospital.folder / "releases").iterdir()
    before = hospital.lines()
    file.unlink()
    hospital.as_before = 1.0
    assert hospital.ask("a") == 1.0 and hospital.lines() == before
    file.unlink()
    hospital.as_before = None
    with pytest.raises(StudyError, match=r"is not what the ledger says was released; restore it"):
        hospital.ask("a")
    with pytest.raises(StudyError, match=r"is not what the ledger says was released; restore it"):
        hospital.ask("a")
    assert hospital.lines() == before


def test_processes_at_once_do_not_pass_the_limits_together(tmp_path: Path) -> None:
    """Four ask for the one round that was agreed to; a draw takes so long that all have asked before any has drawn."""
    hospital = Hospital(tmp_path, replace(PLAN, mechanisms=(replace(MECHANISM, rounds=1),)))

    def draw() -> Answer:
        time.sleep(0.5)
        return Answer({"x": torch.zeros(1)})

    children = []
    for number in range(4):
        pid = os.fork()
        if pid == 0:
            code = 2
            try:
                hospital.ledger.release(f"{number}" * 64, hospital.plan, hospital.plan.mechanisms[0], 1, draw)
                code = 0
            except RefusalError:
                code = 1
            finally:
                os._exit(code)
        children.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    assert sorted(codes) == [0, 1, 1, 1]
    assert len(hospital.ledger.lines) == 2
