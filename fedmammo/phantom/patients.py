"""Who is in the phantom cohort: each patient's breasts, views, lesions and what was found, without any image."""

from dataclasses import dataclass

import numpy as np

from fedmammo.phantom.calcifications import choose_calcifications
from fedmammo.phantom.images import Lesion
from fedmammo.phantom.masses import Mass, choose_mass
from fedmammo.phantom.rates import ASSESSMENT_COUNTS, DENSITIES, DENSITY_RATES, MALIGNANT_RATE, TYPICALLY_BENIGN

LESIONS = ("mass", "calcification")

# Round numbers, chosen without any cohort.
BOTH_BREASTS_RATE = 0.05
BOTH_VIEWS_RATE = 0.75
SECOND_LESION_RATE = 0.1
SAME_PATHOLOGY_RATE = 0.75
"""How often a further lesion of a malignant patient is malignant too; those of the others are all benign."""
WITHOUT_CALLBACK_RATE = 0.25
"""How often a benign lesion that looks harmless was not followed up."""


@dataclass(frozen=True)
class Finding:
    """A lesion and its verdict: `pathology` in CBIS-DDSM's words, `assessment` as BI-RADS category 2 to 5."""

    lesion: Lesion
    pathology: str
    assessment: int


@dataclass(frozen=True)
class Breast:
    """One side (LEFT or RIGHT), the views taken of it (CC, MLO) and the one or two lesions seen in each."""

    side: str
    views: tuple[str, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Patient:
    """A patient by number (from 1), with the density class (1 to 4) of both breasts."""

    number: int
    density: int
    breasts: tuple[Breast, ...]

    @property
    def malignant(self) -> bool:
        """Whether any lesion is malignant."""
        return any(f.lesion.malignant for breast in self.breasts for f in breast.findings)


def draw_patient(number: int, seed: int, difficulty: float, lesions: tuple[str, ...]) -> Patient:
    """Patient `number` of the cohort `seed`; who the others are, and how many, does not matter.

    `lesions` are the kinds that occur, of `LESIONS`; each lesion is of either, equally often.
    """
    generator = np.random.default_rng([seed, number])
    density = int(generator.choice(DENSITIES, p=DENSITY_RATES))
    malignant = bool(generator.random() < MALIGNANT_RATE)
    sides = list(generator.permutation(["LEFT", "RIGHT"])[: 1 + (generator.random() < BOTH_BREASTS_RATE)])
    breasts = []
    for rank, side in enumerate(sides):
        views: tuple[str, ...] = ("CC", "MLO")
        if generator.random() >= BOTH_VIEWS_RATE:
            views = (views[int(generator.integers(2))],)
        findings = []
        for k in range(1 + (generator.random() < SECOND_LESION_RATE)):
            cancer = malignant and (rank + k == 0 or generator.random() < SAME_PATHOLOGY_RATE)
            findings.append(_find(cancer, difficulty, str(generator.choice(lesions)), generator))
        breasts.append(Breast(str(side), views, tuple(findings)))
    return Patient(number, density, tuple(sorted(breasts, key=lambda breast: breast.side)))


def _find(malignant: bool, difficulty: float, kind: str, generator: np.random.Generator) -> Finding:
    choose = choose_mass if kind == "mass" else choose_calcifications
    lesion = choose(malignant, difficulty, generator)
    harmless = lesion.margins == "CIRCUMSCRIBED" if isinstance(lesion, Mass) else lesion.type in TYPICALLY_BENIGN
    if harmless and not malignant and generator.random() < WITHOUT_CALLBACK_RATE:
        return Finding(lesion, "BENIGN_WITHOUT_CALLBACK", 2)
    counts = ASSESSMENT_COUNTS[malignant]
    assessment = int(generator.choice(list(counts), p=np.array(list(counts.values())) / sum(counts.values())))
    return Finding(lesion, "MALIGNANT" if malignant else "BENIGN", assessment)
