"""What EMBED's clinical table knows of a breast in an exam: findings, with assessments and what biopsies found."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from fedmammo.cohort.quarantine import Quarantined, Row, Unusable
from fedmammo.cohort.readers.fields import gap, name, whole_number, word
from fedmammo.cohort.readers.lesion_rows import Columns, find_columns, parsed
from fedmammo.cohort.readers.tables import Table

_MALIGNANT, _BENIGN = {0, 1}, {4, 5}
"""Invasive and non-invasive cancer; benign findings and normal tissue. 2 and 3 (high-risk, borderline) and 6 (a cancer
of another organ) are neither."""
_ASSESSMENTS = {"A": 0, "N": 1, "B": 2, "P": 3, "S": 4, "M": 5, "K": None}
_SIDES = {"L": ["LEFT"], "R": ["RIGHT"], "B": ["LEFT", "RIGHT"]}
_SIDE = gap(word(*_SIDES))
COLUMNS: Columns = {
    "patient": ("empi_anon", name),
    "exam": ("acc_anon", name),
    "side": ("side", _SIDE),
    "biopsied": ("bside", _SIDE),
    "assessment": ("asses", gap(word(*_ASSESSMENTS))),
    "severity": ("path_severity", gap(whole_number(0, 6))),
    "density": ("tissueden", gap(whole_number(1, 5))),
}


class Breast(NamedTuple):
    """A breast in an exam."""

    patient: str
    exam: str
    side: str


Findings = dict[Breast, list[Row]]


def read_findings(table: Table) -> tuple[Findings, list[Quarantined]]:
    """Read the findings of each breast, and the rows that cannot be read.

    A finding without a side is of both breasts. A biopsy is of the side that is given for it, or else of the finding's;
    one that is said to be of both tells the label of neither.

    Raises:
        InputError: a column is missing.
    """
    rows, quarantine = parsed(table, find_columns(table, COLUMNS, may_be_missing=("biopsied", "density")))
    findings: Findings = defaultdict(list)
    for _, row in rows:
        biopsied = _SIDES[row.get("biopsied") or row["side"] or "B"]
        for side in dict.fromkeys([*_SIDES[row["side"] or "B"], *biopsied]):
            severity = row["severity"] if biopsied == [side] else None
            findings[Breast(row["patient"], row["exam"], side)].append(row | {"severity": severity})
    return dict(findings), quarantine


def is_malignant(findings: list[Row]) -> bool:
    """What the biopsies of a breast found.

    Raises:
        Unusable: there was none, or its results are neither benign nor malignant, or both.
    """
    severities = {finding["severity"] for finding in findings} - {None}
    if not severities:
        raise Unusable("no pathology: the tables have no biopsy of this breast for this exam")
    if not (severities <= _MALIGNANT or severities <= _BENIGN):
        said = ", ".join(map(str, sorted(severities)))
        raise Unusable(f"pathology is neither benign nor malignant: path_severity {said}")
    return severities <= _MALIGNANT


def describe(findings: list[Row]) -> dict[str, int | None]:
    """Density and assessment, where all findings of a breast agree on them."""
    density = _agreed(finding.get("density") for finding in findings)
    assessment = _agreed(finding["assessment"] for finding in findings)
    return {
        "density": None if density == 5 else density,  # 5 stands for a man
        "assessment": None if assessment is None else _ASSESSMENTS[assessment],
    }


def _agreed(values: Iterable[Any]) -> Any:
    """What all values say that say something."""
    said = set(values) - {None}
    return said.pop() if len(said) == 1 else None
