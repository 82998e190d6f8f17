"""What a source lists: every image, where its files are, and what cannot be used."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd

from fedmammo.cohort.quarantine import Quarantined, Row
from fedmammo.cohort.readers.fields import FIELDS
from fedmammo.cohort.readers.tables import Table


class Origin(NamedTuple):
    """What the card of a cohort says of its images; None where nobody knows."""

    licence: str | None
    citation: str | None


UNKNOWN = Origin(None, None)
CITATION = (
    "Sawyer-Lee R, Gimenez F, Hoogi A, Rubin D (2016): Curated Breast Imaging Subset of Digital Database for Screening "
    "Mammography (CBIS-DDSM). The Cancer Imaging Archive. doi:10.7937/K9/TCIA.2016.7O02S9CY. Lee RS et al. (2017): A "
    "curated mammography data set for use in computer-aided detection and diagnosis research. Scientific Data 4:170177."
)
CBIS = Origin("CC BY 3.0", CITATION)
CBIS_UIDS = "1.3.6.1.4.1.9590.100.1.2."
"""The identifiers of CBIS-DDSM's series begin so; other trees of the same form do not."""

NO_SPLIT = "The source has no split: all patients are in train; use evaluation.folds."
"""A remark."""

COLUMNS = ("lesion", *FIELDS, "malignant", "split", "image", "source", "work", "listed_in", "listed_row")


@dataclass(frozen=True)
class Listing:
    """A source, listed.

    Attributes:
        kind: what it is, for people.
        plan: one row per image that is to be read: the manifest's columns, `work` (a Lesion), and where it is listed
            (`listed_in`, `listed_row`).
        rows: what lists the images → how many it lists: each ends in the plan or in the quarantine.
        quarantine: what cannot be used.
        tables: those that were read.
        attributes: columns of the plan that are the user's own.
        notes: image → what is not known of it, and why.
        remarks: what its user should know, for the screen.
        origin: licence and citation of a public data set.
    """

    kind: str
    plan: pd.DataFrame
    rows: dict[str, int]
    quarantine: list[Quarantined]
    tables: list[Table]
    attributes: list[str] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    origin: Origin = UNKNOWN


def as_plan(rows: Iterable[Row], attributes: Iterable[str] = ()) -> pd.DataFrame:
    """Make a plan of rows; fields that a row does not have are empty."""
    return pd.DataFrame(list(rows), columns=[*COLUMNS, *attributes], dtype=object)
