"""How often a lesion of either kind has which description: rates of published populations, made easier or harder.

No rate comes from DDSM or CBIS-DDSM, whose patients are studied here: a drawn patient knows nothing of how often what
occurs among them. Where no population is published, a round number was chosen, and its docstring says so.
"""

import numpy as np
from numpy.typing import NDArray

Rates = dict[bool, NDArray[np.float64]]
"""Malignant → how often each pair of words occurs, (lines, columns), summing to 1; both kinds have the same zeros."""

SHAPES = ("ROUND", "OVAL", "LOBULATED", "IRREGULAR")
MARGINS = ("CIRCUMSCRIBED", "OBSCURED", "MICROLOBULATED", "ILL_DEFINED", "SPICULATED")
MASS_COUNTS = {
    False: ((149, 4, 1, 3, 1), (112, 12, 4, 20, 1), (18, 7, 1, 13, 0), (3, 16, 2, 41, 19)),
    True: ((18, 0, 1, 7, 6), (14, 1, 1, 14, 1), (4, 10, 5, 15, 8), (2, 56, 8, 141, 91)),
}
"""Malignant → masses by shape (lines) and margins (columns): the 830 of 961 records without a gap of Elter,
Schulz-Wendtland & Wittenberg 2007, Med. Phys. 34:4164, doi:10.1118/1.2786864 (UCI, doi:10.24432/C53K6Z): digital
mammograms, Erlangen, 2003 to 2006."""

TYPES = (
    "PLEOMORPHIC", "AMORPHOUS", "PUNCTATE", "FINE_LINEAR_BRANCHING",
    "LUCENT_CENTER", "COARSE", "VASCULAR", "ROUND_AND_REGULAR",
)  # fmt: skip
TYPICALLY_BENIGN = ("PUNCTATE", "LUCENT_CENTER", "VASCULAR", "ROUND_AND_REGULAR")
DISTRIBUTIONS = ("CLUSTERED", "LINEAR", "SEGMENTAL", "REGIONAL", "DIFFUSELY_SCATTERED", "NA")
"""NA, as CBIS-DDSM says it: single calcifications, which have no distribution."""
TYPE_COUNTS = {False: (24, 26, 0, 9, 0, 13, 0, 0), True: (10, 4, 0, 10, 0, 1, 0, 0)}
"""Malignant → biopsies by suspicious type, coarse standing for coarse heterogeneous: Burnside, Ochsner, Fowler et al.
2007, Radiology 242:388 (malignant were 10 of 34 fine pleomorphic, 4 of 30 amorphous, 10 of 19 fine linear, 1 of 14)."""
BIOPSIES, MALIGNANT_BIOPSIES = 849, 275
"""Calcifications under vacuum biopsy, and how many were malignant: "A matrix of morphology and distribution of
calcifications in the breast", Eur. J. Radiol. 2017, 86:221, doi:10.1016/j.ejrad.2016.11.022; so are the next three."""
DISTRIBUTION_COUNTS = (261, 85, 106, 398, 0, 0)
DISTRIBUTION_MALIGNANT = (0.22, 0.55, 0.42, 0.33, 0, 0)
"""Share of each distribution's lesions that were malignant."""
TYPICALLY_BENIGN_COUNT, TYPICALLY_BENIGN_MALIGNANT = 55, 0.02

DENSITIES = (1, 2, 3, 4)
DENSITY_RATES = (0.109, 0.421, 0.389, 0.081)
"""How frequent the density classes are: 1.69 million screening mammograms without cancer of the Breast Cancer
Surveillance Consortium, 2005 to 2014; Kerlikowske et al. 2019, JAMA Intern. Med. 179:1230, table 1,
doi:10.1001/jamainternmed.2019.1758."""
ASSESSMENT_COUNTS = {False: {2: 7, 3: 20, 4: 365, 5: 31}, True: {3: 4, 4: 103, 5: 285}}
"""Malignant → masses by BI-RADS category, of the same 830 records as `MASS_COUNTS`; other categories left out."""
SUBTLETY_RATES = (0.2, 0.2, 0.2, 0.2, 0.2)
"""How frequent the subtleties 1 (hardly visible) to 5 (obvious) are: chosen; only DDSM has such a scale."""
MALIGNANT_RATE = 0.5
"""Prevalence among phantom patients: chosen, since equal classes show most with few patients."""

DIFFICULTY = 0.5
"""From 0 (easy) to 1 (hard), where nothing else is said."""


def _mass_rates(malignant: bool) -> NDArray[np.float64]:
    """Shares of the counts, a half added to each, so that no description is impossible."""
    counts = np.array(MASS_COUNTS[malignant]) + 0.5
    return np.asarray(counts / counts.sum())


def _calcification_rates(malignant: bool) -> NDArray[np.float64]:
    """Rates by type (lines) and distribution (columns).

    Two assumptions: given the kind, type and distribution of suspicious calcifications are independent; typically
    benign ones are of each type equally often, and half of them single, half diffusely scattered.
    """
    share = DISTRIBUTION_MALIGNANT if malignant else np.subtract(1, DISTRIBUTION_MALIGNANT)
    spread = np.multiply(DISTRIBUTION_COUNTS, share)
    types = np.array(TYPE_COUNTS[malignant])
    of_kind = MALIGNANT_BIOPSIES if malignant else BIOPSIES - MALIGNANT_BIOPSIES
    share_of_kind = TYPICALLY_BENIGN_MALIGNANT if malignant else 1 - TYPICALLY_BENIGN_MALIGNANT
    harmless = TYPICALLY_BENIGN_COUNT * share_of_kind / of_kind
    plain = np.array([kind in TYPICALLY_BENIGN for kind in TYPES]) / len(TYPICALLY_BENIGN)
    suspicious = np.outer(types / types.sum(), spread / spread.sum())
    return np.asarray((1 - harmless) * suspicious + harmless * np.outer(plain, (0, 0, 0, 0, 0.5, 0.5)))


MASS_RATES: Rates = {kind: _mass_rates(kind) for kind in (False, True)}
CALCIFICATION_RATES: Rates = {kind: _calcification_rates(kind) for kind in (False, True)}


def description_rates(rates: Rates, malignant: bool, difficulty: float) -> NDArray[np.float64]:
    """How often a lesion has each description, (lines, columns), summing to 1.

    With b and m the rates of benign and malignant lesions, the log-likelihood ratio log(m / b) is multiplied by
    1.6 - 1.2 `difficulty`, about the geometric mean of both: at difficulty .5 the rates are those published; at 0 the
    kinds lie further apart, at 1 they nearly agree. What never occurs does so at no difficulty.
    """
    benign, cancer = rates[False], rates[True]
    exponent = (1.6 - 1.2 * difficulty) * (0.5 if malignant else -0.5)
    ratio = np.divide(cancer, benign, out=np.ones_like(benign), where=benign > 0)
    changed = np.sqrt(benign * cancer) * ratio**exponent
    return np.asarray(changed / changed.sum())


def choose_description(
    rates: Rates,
    lines: tuple[str, ...],
    columns: tuple[str, ...],
    malignant: bool,
    difficulty: float,
    generator: np.random.Generator,
) -> tuple[str, str]:
    """A pair of words, one of `lines` and one of `columns`, chosen by `description_rates`."""
    chosen = description_rates(rates, malignant, difficulty).ravel()
    line, column = divmod(int(generator.choice(chosen.size, p=chosen)), len(columns))
    return lines[line], columns[column]
