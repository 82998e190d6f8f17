"""Who is in the phantom cohort: each patient's breasts, views, lesions and what was found, without any image."""

from dataclasses import dataclass

import numpy as np

from fedmammo.phantom.calcifications import choose_calcifications
from fedmammo.phantom.images import Lesion
from fedmammo.phantom.masses import Mass, choose_mass
from fedmammo.phantom.rates import DENSITIES, DENSITY_RATES, MALIGNANT_RATE

LESIONS = ("mass", "calcification")
BOTH_BREASTS_RATE = 0.06
BOTH_VIEWS_RATE = 0.70
SECOND_LESION_RATE = 0.08
SAME_PATHOLOGY_RATE = 0.7
"""How often a further lesion of a malignant patient is malignant too; those of the others are all benign."""


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
    if malignant:
        return Finding(lesion, "MALIGNANT", int(generator.choice([3, 4, 5], p=[0.06, 0.46, 0.48])))
    plain = lesion.margins == "CIRCUMSCRIBED" if isinstance(lesion, Mass) else lesion.distribution == "NA"
    if plain and generator.random() < 0.3:
        return Finding(lesion, "BENIGN_WITHOUT_CALLBACK", 2)
    return Finding(lesion, "BENIGN", int(generator.choice([2, 3, 4], p=[0.06, 0.42, 0.52])))
