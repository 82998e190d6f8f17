"""What can go wrong, as types: each carries one line for the user and the exit code of the command."""

LONGEST = 2000
"""Signs of an error's line: what it quotes from a file may have millions."""


def one_line(text: str, most: int = LONGEST) -> str:
    """Make a line of a text that may quote anything from a file: no control signs, no half signs, the middle left out
    where it is long.
    """
    if len(text) > most:
        text = f"{text[: most * 3 // 4]} ... {text[-most // 5 :]}"
    line = " ".join(text.splitlines())
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in line)


class FedmammoError(Exception):
    """Base of all errors that a user may meet; `str(error)` is one line that says what to do."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class InputError(FedmammoError):
    """Something that the user gave is wrong: a file, a row, a key, a value. Nothing was written."""

    exit_code = 2


class StudyError(FedmammoError):
    """A study could not go on, for instance because no hospital answered; finished rounds are kept."""

    exit_code = 3
