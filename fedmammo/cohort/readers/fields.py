"""The fields of a lesion: what each may say, and how a table's cell becomes one."""

import math
import re
import unicodedata
from collections.abc import Callable
from decimal import Decimal

from fedmammo.cohort.quarantine import Row, Unusable

Value = str | int | float | bool | list[float] | None
Parser = Callable[[str], Value]
"""One stripped cell → its value; raises Unusable where it says something else than it may."""

_NUMBER = re.compile(r"\+?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_ROUNDED = re.compile(r"\d\.\d{2,}E\+\d{2,}", re.ASCII)
_NO_NAMES = ("", "nan", "null", "none", "<na>", "n/a", "#n/a")


def word(*allowed: str) -> Callable[[str], str]:
    """One of these words, which are upper case, in any case."""

    def parse(text: str) -> str:
        if text.upper() not in allowed:
            raise Unusable(f"{text!r} is none of {', '.join(allowed)}")
        return text.upper()

    return parse


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """A whole number from `low` to `high`."""

    def parse(text: str) -> int:
        number = Decimal(text) if _NUMBER.fullmatch(text) else None  # 30, 30.00 or 3e1, as programs write them
        if number is None or not low <= number <= high or number != int(number):
            raise Unusable(f"{text!r} is no whole number from {low} to {high}")
        return int(number)

    return parse


def number(text: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Unusable(f"{text!r} is no number")
    return value


def side(text: str) -> str:
    """A breast, by its name or its first letter."""
    return {"L": "LEFT", "R": "RIGHT"}[word("L", "R", "LEFT", "RIGHT")(text)[0]]


def optional(parser: Parser) -> Parser:
    """What `parser` reads, or None where the cell is empty."""
    return lambda text: parser(text) if text else None


def gap(parser: Parser) -> Parser:
    """What `parser` reads, or None where the cell is empty or holds a word for it, such as NaN."""
    return lambda text: None if text.lower() in _NO_NAMES else parser(text)


def name(text: str) -> str:
    """Any text, but none, and none of those that stand for it: their rows would be one patient."""
    if text.lower() in _NO_NAMES or "\0" in text:
        raise Unusable(f"{text!r} is no name")
    return text


def patient(text: str) -> str:
    """A patient's name without what people do not see or mean: so `123` and `123.0` are one patient.

    Signs that look alike (Unicode's NFKC, dashes, spaces), signs without width, and a whole number's decimals.
    """
    seen = "".join(sign for sign in unicodedata.normalize("NFKC", text) if unicodedata.category(sign) != "Cf")
    if _ROUNDED.fullmatch(seen):
        raise Unusable(f"{text!r} is a number that a spreadsheet has rounded; export the column as text")
    seen = " ".join(re.sub("[\u2010-\u2015\u2212]", "-", seen).split())
    return name(re.sub(r"^(\d+)\.0*$", r"\1", seen, flags=re.ASCII))


def _density(text: str) -> int | None:
    return whole_number(0, 4)(text) or None  # 0 stands for "not recorded"


FIELDS: dict[str, Parser] = {
    "patient": patient,
    "abnormality": whole_number(1, 99),
    "pathology": word("BENIGN", "BENIGN_WITHOUT_CALLBACK", "MALIGNANT"),
    "side": word("LEFT", "RIGHT"),
    "view": word("CC", "MLO"),
    "density": optional(_density),
    "assessment": optional(whole_number(0, 5)),
    "subtlety": optional(whole_number(0, 5)),
    "shape": optional(str),
    "margins": optional(str),
    "calcification_type": optional(str),
    "calcification_distribution": optional(str),
}
"""Field → parser. Densities 1-4 (0: not recorded), assessments 0-5 and subtleties 0-5 are those of BI-RADS and DDSM."""


def parse(parsers: dict[str, tuple[str, Parser]], cells: dict[str, str]) -> Row:
    """Read a row: field → (heading, parser) and heading → cell give field → value.

    Raises:
        Unusable: a cell cannot be read; the reason names its heading.
    """
    row: Row = {}
    for field, (heading, parser) in parsers.items():
        try:
            row[field] = parser(cells[heading].strip())
        except Unusable as reason:
            raise Unusable(f"unreadable {heading}: {reason}") from reason
    return row
