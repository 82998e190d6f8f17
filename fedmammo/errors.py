"""What can go wrong, as types: each carries one line for the user and the exit code of the command."""


class FedmammoError(Exception):
    """Base of all errors that a user may meet; `str(error)` is one line that says what to do."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))  # a name that the user gave may hold a line break


class InputError(FedmammoError):
    """Something that the user gave is wrong: a file, a row, a key, a value. Nothing was written."""

    exit_code = 2


class StudyError(FedmammoError):
    """A study could not go on, for instance because no hospital answered; finished rounds are kept."""

    exit_code = 3
