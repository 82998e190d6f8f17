"""Attempts: where masks hide hospitals' sums, a round that lacks one of them is asked again without it.

Masks vanish in the sum of all who were asked, and in no other. So an attempt that a hospital fails in is void: nobody
can read it. The hospital is out from then on, and the round is asked again of the others, with new masks and new noise,
which is a release of its own. What a deployment knows of it stands in its rows of rounds.csv, so that a restart knows
it too.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fedmammo.errors import StudyError
from fedmammo.federation.server import Reply
from fedmammo.privacy.answer import Answer
from fedmammo.privacy.plan import Plan

FAILED, VOID, OUT = "failed", "void", "out"  # what a status begins with
Row = dict[str, Any]


def out_of(rows: Sequence[Row]) -> dict[str, str]:
    """Return the status of hospitals that failed in an earlier attempt, and are asked no more."""
    return {row["hospital"]: f"{OUT} since it failed in round {row['round']}" for row in rows if _is(row, FAILED)}


def attempt_of(rows: Sequence[Row], number: int) -> int:
    """Return which attempt of a round is the next one, from 1. `rows`: of void attempts and of finished rounds."""
    asked = (row["hospital"] for row in rows if row["round"] == number and (_is(row, FAILED) or _is(row, VOID)))
    return 1 + max(Counter(asked).values(), default=0)


def void(rows: Sequence[Row], answers: Mapping[str, Reply]) -> list[Row]:
    """Return rows of an attempt in which somebody failed: what others answered is read by nobody."""
    failed = ", ".join(name for name, answer in answers.items() if not isinstance(answer, Answer))
    asked = [row for row in rows if row["hospital"] in answers]
    return [row if _is(row, FAILED) else row | {"status": f"{VOID}: {failed} failed"} for row in asked]


def check_enough(plan: Plan, rows: Sequence[Row], present: Sequence[str], where: str) -> None:
    """Raise StudyError where fewer hospitals are left than masks may be taken off of.

    `rows`: of all attempts so far; `present`: who would take part, had nobody failed.
    """
    failed = {row["hospital"]: row["status"] for row in rows if _is(row, FAILED)}
    left = [name for name in present if name not in failed]
    if len(failed) > plan.dropouts or len(left) < plan.together:
        name = next(reversed(failed))
        raise StudyError(
            f"{where}: {len(left)} of {len(plan.patients)} hospitals are left, {plan.together} are needed "
            f"(privacy.dropouts: {plan.dropouts}); {name} {failed[name]}; what was finished is kept, the same command "
            "with the same --out continues"
        )


def _is(row: Row, status: str) -> bool:
    return str(row["status"]).startswith(status)
