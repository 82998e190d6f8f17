"""Why a hospital does not do what it was asked: texts stay at home, one of these words travels.

What an error says may tell what files hold. A word of a closed list tells what everybody may know: which rule of the
hospital's own stands against it.
"""

from typing import Literal, get_args

ReasonName = Literal[
    "not_agreed", "not_understood", "approval", "cohort", "software", "app", "stopped", "scores", "columns",
    "algorithms", "without_budget", "central_trust", "maximum_epsilon", "maximum_delta", "minimum_noise_multiplier",
    "maximum_clipping_norm", "minimum_honest", "lifetime_epsilon", "budget", "folds",
    "protected", "local_models", "keys", "failed",
]  # fmt: skip
REASONS: dict[ReasonName, str] = {
    "not_agreed": "the hospital did not agree to what was asked",
    "not_understood": "the hospital does not understand what was asked",
    "approval": "the hospital's people have not approved this study; they do so with fedmammo site approve",
    "cohort": "the hospital's cohort is not the one with which the study was approved there",
    "software": "the hospital has another version of this software; install the same at both ends",
    "app": "the run brought another version of this software, or another app; install the same at both ends, and start "
    "runs with fedmammo deploy run",
    "stopped": "the hospital has stopped its part; its people start it again with fedmammo site start",
    "scores": "the hospital does not tell what models score on its patients in the way that was asked for",
    "columns": "the hospital does not tell these columns",
    "algorithms": "the algorithm is not among those that the hospital allows",
    "without_budget": "the hospital takes part in nothing but settings with a budget of privacy",
    "central_trust": "the hospital trusts no server to add the noise",
    "maximum_epsilon": "epsilon is above what the hospital allows",
    "maximum_delta": "delta is above what the hospital allows",
    "minimum_noise_multiplier": "there is less noise than the hospital wants",
    "maximum_clipping_norm": "the clipping norm is above what the hospital allows",
    "minimum_honest": "fewer honest hospitals would share the noise than the hospital wants",
    "lifetime_epsilon": "it would pass what the hospital spends in its lifetime",
    "budget": "it would pass the budget that was agreed to",
    "folds": "folds would test patients whom a budget protects",
    "protected": "patients are protected by a budget, and something of them would leave, or has left, without one",
    "local_models": "the hospital's own model does not leave it",
    "keys": "the hospitals' keys or members are not those that the hospital agreed to",
    "failed": "the hospital could not do it; its own log says why",
}
FIRST_CODE = 1001  # Flower's own codes are below


def code_of(reason: ReasonName) -> int:
    """Return the number that travels in an error's code."""
    return FIRST_CODE + get_args(ReasonName).index(reason)


def reason_of(code: int) -> ReasonName | None:
    """Return what a number stands for; none for another's."""
    names: tuple[ReasonName, ...] = get_args(ReasonName)
    return names[code - FIRST_CODE] if 0 <= code - FIRST_CODE < len(names) else None


class RefusalError(Exception):
    """A hospital does not do what it was asked; says why, in one line, and in one word that may travel."""

    def __init__(self, message: str, reason: ReasonName = "not_agreed") -> None:
        super().__init__(message)
        self.reason: ReasonName = reason
