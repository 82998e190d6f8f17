"""Labels by BI-RADS, for data sets that have no pathology."""

import re

from fedmammo.cohort.quarantine import Unusable

REMARK = (
    "Labels are radiologists' assessments, not pathology: BI-RADS 4 and above counts as malignant, 1 to 3 as benign."
)


def birads(text: str) -> int:
    """Read `BI-RADS 4`, `4` or `4a` as 4."""
    found = re.fullmatch(r"(?:BI-?RADS\s*)?([0-6])(?:\.0|\s*[ABC])?", text, re.IGNORECASE | re.ASCII)
    if found is None:
        raise Unusable(f"{text!r} is no BI-RADS category")
    return int(found[1])


def is_malignant(category: int | None) -> bool:
    """Whether a category counts as malignant.

    Raises:
        Unusable: it is missing, or 0, which says that more images are needed.
    """
    if not category:
        raise Unusable("no label: " + ("BI-RADS 0 is no assessment" if category == 0 else "BI-RADS is empty"))
    return category >= 4


def assessment(category: int) -> int | None:
    """The category as the manifest has it: 6 says what a biopsy found, not what was assessed."""
    return category if category <= 5 else None
