"""What could not be prepared, and why: one bad file or row never stops the rest."""

from collections.abc import Hashable
from typing import Any, NamedTuple

from fedmammo.errors import one_line

LONGEST = 500
"""Signs of a reason."""
Row = dict[Hashable, Any]
"""One row of a table, by column."""


class Unusable(Exception):
    """One image cannot be prepared.

    `str(error)` is the reason, as `what is wrong: detail`; the part before the colon is what reasons are
    counted by. It is one line, whatever it quotes from a file.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(one_line(reason, LONGEST))


class Quarantined(NamedTuple):
    """One row of `quarantine.csv`.

    Attributes:
        source: the file that is at fault or that lists the image: a patch (path relative to the source) or a table.
        row: the row of that table as a spreadsheet counts it (the header is row 1); None for a file.
        reason: see `Unusable`.
    """

    source: str
    row: int | None
    reason: str


def quarantined(planned: Row, reason: str) -> Quarantined:
    """Quarantine a planned image where it is listed (columns `listed_in`, `listed_row`)."""
    row = planned["listed_row"]
    return Quarantined(planned["listed_in"], None if row is None or row != row else int(row), one_line(reason, LONGEST))
