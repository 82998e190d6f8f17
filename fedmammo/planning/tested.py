"""Who a study will test and train on at each hospital, from its dealing alone: numbers, and no score."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from fedmammo.config.arm import ALL
from fedmammo.config.evaluation import EvaluationConfig, Unit
from fedmammo.planning.auroc import Sizes, design_effect

KEYS: dict[Unit, tuple[str, ...]] = {
    "patient": ("patient",),
    "breast": ("patient", "side"),
    "lesion": ("patient", "side", "lesion", "abnormality"),
    "image": ("patient", "image"),
}
"""Columns of a cohort's manifest that name a unit."""


class Tested(NamedTuple):
    """Who is tested at a place; means over draws of hospitals.

    Attributes:
        name: of the hospital, or `all`.
        patients: tested.
        positives: those of them with a malignant unit.
        benign: benign units.
        malignant: malignant units.
        fewest: patients of the smaller class, in the draw that has fewest.
        units: of each tested patient, in the first draw.
        folds: within which units are ranked, at least 1.
    """

    name: str
    patients: float
    positives: float
    benign: float
    malignant: float
    fewest: int
    units: tuple[int, ...]
    folds: int

    @property
    def prevalence(self) -> float:
        """Malignant share of the patients."""
        return self.positives / self.patients if self.patients else np.nan

    def sizes(self, within_patient: float) -> Sizes:
        """Return the sizes by which an AUROC's variance is worked out; at least one unit of each class.

        `within_patient`: correlation of two units of a patient.
        """
        effect = design_effect(self.units, within_patient) if self.units else 1.0
        return Sizes(max(self.benign, 1.0), max(self.malignant, 1.0), self.folds, effect)


def units_of(manifest: pd.DataFrame, unit: Unit) -> pd.DataFrame:
    """Return a row for each unit: `patient`, and whether any of its images is `malignant`."""
    keys = [key for key in KEYS[unit] if key in manifest]
    rows = manifest.groupby(keys, dropna=False, sort=False)["malignant"].any().reset_index()
    return rows[["patient", "malignant"]]


def tested_at(
    manifest: pd.DataFrame, draws: Mapping[int, pd.DataFrame], names: list[str], config: EvaluationConfig
) -> list[Tested]:
    """Return who is tested over all, then at each hospital.

    Args:
        manifest: of the cohort, a row for each image.
        draws: by draw a table of all patients, indexed by patient: `split`, `hospital` (`fedmammo.hospitals.dealing`).
        names: the hospitals, in order.
        config: says who is tested: with folds patients of the splits that are dealt to folds, else of `test`.
    """
    splits: list[str] = [*config.splits_of_folds] or [config.test]
    units = units_of(manifest, config.unit)
    found: dict[str, list[Tested]] = {name: [] for name in (ALL, *names)}
    for table in draws.values():
        chosen = table[table["split"].isin(splits)]["hospital"]
        own = units[units["patient"].isin(chosen.index)]
        hospital = own["patient"].map(chosen)
        for name, rows in found.items():
            here = own if name == ALL else own[hospital == name]
            rows.append(_count(name, here, max(1, config.folds)))
    return [_mean(rows) for rows in found.values()]


def _count(name: str, units: pd.DataFrame, folds: int) -> Tested:
    positive = units[units["malignant"]]["patient"].nunique()
    negative = units[~units["malignant"]]["patient"].nunique()
    malignant = int(units["malignant"].sum())
    counts = tuple(int(count) for count in units.groupby("patient", sort=False).size())
    smaller = min(positive, negative)
    return Tested(name, len(counts), positive, len(units) - malignant, malignant, smaller, counts, folds)


def _mean(rows: list[Tested]) -> Tested:
    patients, positives, benign, malignant = (
        float(np.mean([getattr(row, key) for row in rows])) for key in ("patients", "positives", "benign", "malignant")
    )
    first, fewest = rows[0], min(row.fewest for row in rows)
    return Tested(first.name, patients, positives, benign, malignant, fewest, first.units, first.folds)
