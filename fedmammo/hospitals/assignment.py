"""Who holds which patients: the rules that deal patients to hospitals, and each hospital's validation patients.

Patients come as a table with one row each, indexed by patient: malignant (bool), density (1 to 4, missing or 0 where
unknown), split (str), images (int). Every rule divides the patients of a split into kinds, says how many of each kind
a hospital gets, and deals them at random; so patients stay whole and every patient is dealt exactly once.
"""

import numpy as np
import pandas as pd

from fedmammo.config import ByAttribute, ByChance, ByDirichlet, ByProfiles, BySize, HospitalsConfig
from fedmammo.errors import InputError
from fedmammo.hospitals.case_mix import Real, Whole, apportion, fit
from fedmammo.hospitals.profiles import load_profiles
from fedmammo.randomness import generator_of

TRAIN = "train"
_DRAWS = 100  # of Dirichlet shares, before asking for other ones


def density_classes(patients: pd.DataFrame) -> Whole:
    """Return each patient's breast density class, 1 to 4, and 0 where it is unknown."""
    return patients["density"].fillna(0).to_numpy(dtype=np.int64)


def hospital_names(config: HospitalsConfig, patients: pd.DataFrame) -> list[str]:
    """Name the hospitals in their order: profiles' names, `hospital-1`..., or the densities that occur, `density-1`...

    Raises InputError for profiles that cannot be loaded, and where no patient's density is known.
    """
    rule = config.assignment
    if isinstance(rule, ByProfiles):
        return [profile.name for profile in load_profiles(rule.profiles)]
    if isinstance(rule, ByAttribute):
        return [f"{rule.attribute}-{value}" for value in _known_densities(patients)]
    return [f"hospital-{number}" for number in range(1, rule.count + 1)]


def assign(patients: pd.DataFrame, config: HospitalsConfig) -> pd.Series:
    """Deal every patient to a hospital: a Series of names, indexed as `patients`.

    Each split is dealt on its own by the same shares. The result depends on `config.seed` and on the patients, not on
    their order. Raises InputError where a hospital would get no patient of the split `train` (of the cohort, if it
    has no such split).
    """
    names = hospital_names(config, patients)
    ordered = patients.sort_index()
    kinds = _kinds(ordered, config)
    in_training = _in_training(ordered)
    shares = _shares(ordered, kinds[in_training], config)
    dealt = np.zeros(len(ordered), dtype=np.int64)
    for split in sorted(ordered["split"].unique()):
        members = np.flatnonzero(ordered["split"] == split)
        table = _table(np.bincount(kinds[members], minlength=shares.shape[1]), shares, config)
        generator = generator_of(config.seed, "hospitals", "assignment", split)
        for kind in range(table.shape[1]):
            of_kind = generator.permutation(members[kinds[members] == kind])
            dealt[of_kind] = np.repeat(np.arange(len(names)), table[:, kind])
    without = [name for number, name in enumerate(names) if number not in dealt[in_training]]
    if without:
        more = f" and {len(without) - 3} more" if len(without) > 3 else ""
        raise InputError(
            f"hospitals.assignment: no training patient (of {in_training.sum()}) for {', '.join(without[:3])}{more}; "
            + _remedy(config)
        )
    hospital_of = pd.Series(np.array(names)[dealt], index=ordered.index, name="hospital", dtype="str")
    return hospital_of.reindex(patients.index)


def validation_patients(patients: pd.DataFrame, hospital_of: pd.Series, config: HospitalsConfig) -> set[str]:
    """Choose which of the training patients given set thresholds instead: the same fraction at every hospital.

    The number is rounded to the nearest and divided over benign and malignant in proportion; at least one patient
    stays for training. Fixed by `config.seed`, the hospital's name and its patients, not by their order.
    """
    ordered = patients.sort_index()
    chosen: set[str] = set()
    for hospital, group in ordered.groupby(hospital_of.loc[ordered.index]):
        generator = generator_of(config.seed, "hospitals", "validation", str(hospital))
        malignant = group["malignant"].to_numpy(dtype=bool)
        number = min(round(config.validation_fraction * len(group)), len(group) - 1)
        counts = apportion(number, np.bincount(malignant, minlength=2))
        for label, count in enumerate(counts):
            chosen.update(generator.permutation(group.index[malignant == label])[:count])
    return chosen


def _in_training(patients: pd.DataFrame) -> np.ndarray:
    """Mark the patients of the split `train`; all of them where the cohort has no such split."""
    marked = (patients["split"] == TRAIN).to_numpy()
    return marked if marked.any() else np.ones(len(patients), dtype=bool)


def _known_densities(patients: pd.DataFrame) -> list[int]:
    values = sorted(set(density_classes(patients).tolist()) - {0})
    if not values:
        raise InputError("hospitals.assignment: no patient of the cohort has a density; deal patients by another rule")
    return values


def _kinds(patients: pd.DataFrame, config: HospitalsConfig) -> Whole:
    """Number the kinds of patients that the rule tells apart."""
    malignant = patients["malignant"].to_numpy(dtype=np.int64)
    match config.assignment:
        case ByProfiles():
            return 5 * malignant + density_classes(patients)
        case ByDirichlet():
            return malignant
        case ByAttribute():
            return density_classes(patients)
        case _:
            return np.zeros(len(patients), dtype=np.int64)


def _shares(patients: pd.DataFrame, training_kinds: Whole, config: HospitalsConfig) -> Real:
    """Return which share of each kind a hospital gets: hospitals x kinds, positive column sums."""
    match config.assignment:
        case ByProfiles(profiles=profiles):
            return np.ones((len(profiles), 10))  # only its shape counts: the case mix is fitted
        case ByChance(count=count):
            return np.ones((count, 1))
        case BySize(count=count, ratio=ratio):
            return ratio ** -np.arange(count, dtype=np.float64)[:, None]
        case ByDirichlet() as rule:
            return _dirichlet_shares(np.bincount(training_kinds, minlength=2), rule, config.seed)
        case ByAttribute():
            classes = density_classes(patients)
            known = _known_densities(patients)
            shares = np.equal.outer(known, np.arange(5)).astype(np.float64)
            shares[:, 0] = np.bincount(classes, minlength=5)[known]
            shares[:, shares.sum(0) == 0] = 1  # classes that do not occur
            return shares


def _dirichlet_shares(labels: Whole, rule: ByDirichlet, seed: int) -> Real:
    """Draw shares of benign and of malignant patients, again until every hospital has a training patient.

    Each label's shares over hospitals are drawn from Dirichlet(alpha, ..., alpha) (Yurochkin et al. 2019, arXiv
    1905.12022, section 4; label skew by a Dirichlet distribution as in Hsu et al. 2019, arXiv 1909.06335). If no
    draw succeeds the last one is returned.
    """
    generator = generator_of(seed, "hospitals", "shares")
    for _ in range(_DRAWS):
        shares = generator.dirichlet([rule.alpha] * rule.count, size=2).T
        if (apportion(labels[0], shares[:, 0]) + apportion(labels[1], shares[:, 1])).all():
            break
    return shares


def _table(totals: Whole, shares: Real, config: HospitalsConfig) -> Whole:
    """Return how many patients of each kind a hospital gets: hospitals x kinds, columns summing to `totals`."""
    if isinstance(config.assignment, ByProfiles):
        return fit(totals.reshape(2, 5), load_profiles(config.assignment.profiles)).reshape(shares.shape)
    return np.column_stack([apportion(total, shares[:, kind]) for kind, total in enumerate(totals)])


def _remedy(config: HospitalsConfig) -> str:
    """Say what to change where a hospital stays without training patients."""
    match config.assignment:
        case ByProfiles():
            return "raise its share, or name fewer profiles"
        case ByChance(count=count):
            return f"lower count ({count})"
        case BySize(count=count, ratio=ratio):
            return f"lower count ({count}) or ratio ({ratio:g})"
        case ByDirichlet(count=count, alpha=alpha):
            return f"raise alpha ({alpha:g}) or lower count ({count})"
        case ByAttribute(attribute=attribute):
            return f"deal patients by another rule than {attribute}"
