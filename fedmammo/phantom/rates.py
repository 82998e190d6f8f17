"""How often a lesion of either kind has which description: counts of CBIS-DDSM, made easier or harder.

The counts are rows of the two training CSVs as TCIA distributes them (`mass_case_description_train_set.csv` and
`calc_case_description_train_set.csv`, Lee et al. 2017, doi:10.7937/K9/TCIA.2016.7O02S9CY), of the descriptions that
use one word each.
"""

import numpy as np
from numpy.typing import NDArray

Counts = dict[bool, tuple[tuple[int, ...], ...]]

SHAPES = ("ROUND", "OVAL", "LOBULATED", "IRREGULAR")
MARGINS = ("CIRCUMSCRIBED", "OBSCURED", "MICROLOBULATED", "ILL_DEFINED", "SPICULATED")
MASS_COUNTS: Counts = {
    False: ((46, 25, 7, 4, 0), (104, 74, 15, 26, 0), (93, 62, 16, 15, 0), (0, 10, 1, 36, 10)),
    True: ((6, 1, 2, 14, 16), (8, 10, 25, 22, 24), (18, 10, 31, 23, 7), (0, 4, 11, 90, 163)),
}
"""Malignant → rows by shape (lines) and margins (columns)."""

TYPES = (
    "PLEOMORPHIC", "AMORPHOUS", "PUNCTATE", "FINE_LINEAR_BRANCHING",
    "LUCENT_CENTER", "COARSE", "VASCULAR", "ROUND_AND_REGULAR",
)  # fmt: skip
DISTRIBUTIONS = ("CLUSTERED", "LINEAR", "SEGMENTAL", "REGIONAL", "DIFFUSELY_SCATTERED", "NA")
"""NA, as the CSVs say it: single calcifications, which have no distribution."""
CALCIFICATION_COUNTS: Counts = {
    False: (
        (251, 5, 34, 6, 4, 0),
        (64, 0, 15, 2, 0, 2),
        (43, 4, 14, 4, 4, 16),
        (4, 9, 0, 0, 0, 5),
        (0, 0, 0, 0, 0, 93),
        (2, 0, 0, 0, 0, 33),
        (0, 7, 0, 0, 0, 75),
        (7, 0, 0, 0, 0, 7),
    ),
    True: (
        (219, 39, 66, 26, 0, 0),
        (37, 4, 6, 6, 2, 0),
        (15, 0, 4, 2, 0, 0),
        (16, 16, 10, 2, 0, 0),
        (0, 0, 0, 0, 0, 0),
        (0, 0, 0, 0, 0, 0),
        (0, 0, 0, 0, 0, 0),
        (3, 0, 0, 0, 0, 0),
    ),
}
"""Malignant → rows by type (lines) and distribution (columns)."""

DENSITIES = (1, 2, 3, 4)
DENSITY_RATES = (0.18, 0.44, 0.28, 0.10)
"""How frequent the density classes are among the patients of the mass CSV."""
SUBTLETY_RATES = (0.03, 0.08, 0.19, 0.28, 0.42)
"""How frequent the subtleties 1 (hardly visible) to 5 (obvious) are in the mass CSV."""
MALIGNANT_RATE = 0.45
"""Prevalence among phantom patients; .46 of the patients of the calcification CSV, .50 of the mass CSV."""

DIFFICULTY = 0.5
"""From 0 (easy) to 1 (hard), where nothing else is said."""


def description_rates(counts: Counts, malignant: bool, difficulty: float) -> NDArray[np.float64]:
    """How often a lesion has each description, (lines, columns), summing to 1.

    With b and m the rates of benign and malignant lesions (a half added to each count), the log-likelihood ratio
    log(m / b) is multiplied by 1.6 - 1.2 `difficulty`, about the geometric mean of both: at difficulty .5 the rates
    are those counted; at 0 the kinds lie further apart, at 1 they nearly agree.
    """
    benign, cancer = ((np.array(counts[kind]) + 0.5) / (np.array(counts[kind]) + 0.5).sum() for kind in (False, True))
    exponent = (1.6 - 1.2 * difficulty) * (0.5 if malignant else -0.5)
    rates = np.sqrt(benign * cancer) * (cancer / benign) ** exponent
    return np.asarray(rates / rates.sum())


def choose_description(
    counts: Counts,
    lines: tuple[str, ...],
    columns: tuple[str, ...],
    malignant: bool,
    difficulty: float,
    generator: np.random.Generator,
) -> tuple[str, str]:
    """A pair of words, one of `lines` and one of `columns`, chosen by `description_rates`."""
    rates = description_rates(counts, malignant, difficulty).ravel()
    line, column = divmod(int(generator.choice(rates.size, p=rates)), len(columns))
    return lines[line], columns[column]
