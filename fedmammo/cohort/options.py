"""What a user may say about the preparation of a cohort."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmammo.cohort.patch import MARGIN
from fedmammo.errors import InputError

MAXIMUM_SIZE = 4096


@dataclass(frozen=True)
class Options:
    """How a cohort is prepared.

    Attributes:
        csv: folder of the case descriptions of CBIS-DDSM; looked for in the source and its folder `csv` where None.
        size: side of a patch in pixels, 1 to 4096.
        margin: around a lesion, as a share of its larger side, 0 to 10.
        strict: a patient in several splits is kept in the last of them with all its images; otherwise its images in
            the others are quarantined.
        licence: of the images, for the cohort card; those of public data sets are known.
        citation: likewise.
        patient: regular expression that finds the patient in the name of an image, where folders name classes: its
            first group, or all that it matches. Where None each image is a patient of its own.

    Raises InputError for one that is out of range.
    """

    csv: Path | None = None
    size: int = 128
    margin: float = MARGIN
    strict: bool = True
    licence: str | None = None
    citation: str | None = None
    patient: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.size <= MAXIMUM_SIZE:
            raise InputError(f"size {self.size}: expected 1 to {MAXIMUM_SIZE} pixels")
        if not 0 <= self.margin <= 10:
            raise InputError(f"margin {self.margin}: expected 0 to 10 times the lesion's side")
        try:
            re.compile(self.patient or "")
        except (re.error, OverflowError, RecursionError) as error:
            raise InputError(f"patient {self.patient!r}: expected a regular expression ({error})") from error

    @property
    def deciding(self) -> dict[str, Any]:
        """What the patches and the manifest depend on, by name."""
        known = {"size": self.size, "margin": self.margin, "strict": self.strict}
        return known | ({} if self.patient is None else {"patient": self.patient})
