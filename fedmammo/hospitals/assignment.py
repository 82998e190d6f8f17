"""Who holds which patients: the rules that deal patients to hospitals.

Patients come as a table with one row each, indexed by patient: malignant (bool), split (str), images (int), and what
is recorded of their first lesion: density (1 to 4, missing or 0 where unknown), lesion (mass or calcification), and
whatever else the cohort's manifest has. Every rule divides the patients of a split into kinds, says how many of each
kind a hospital gets, and deals them at random; so patients stay whole and every patient is dealt exactly once.
"""

import numpy as np
import pandas as pd

from fedmammo.config.sections import HospitalsConfig
from fedmammo.errors import InputError
from fedmammo.hospitals.attribute import hospitals_by_attribute
from fedmammo.hospitals.case_mix import Real, Whole, apportion, fit
from fedmammo.hospitals.profiles import Profile, load_profiles, names_of
from fedmammo.hospitals.rules import ByAttribute, ByChance, ByDirichlet, ByProfiles, BySite, BySize
from fedmammo.randomness import generator_of

TRAIN = "train"
LESIONS = ("mass", "calcification")
_SHAPE = (2, 5, 3)  # labels, density classes with 0 for unknown, lesions with 0 for unknown
_KINDS = 30
_DRAWS = 100  # of Dirichlet shares, before asking for other ones


def density_classes(patients: pd.DataFrame) -> Whole:
    """Return each patient's breast density class, 1 to 4, and 0 where it is unknown."""
    return patients["density"].fillna(0).to_numpy(dtype=np.int64)


def lesion_types(patients: pd.DataFrame) -> Whole:
    """Return the type of each patient's first lesion: 1 mass, 2 calcification, and 0 where it is not recorded."""
    if "lesion" not in patients:
        return np.zeros(len(patients), dtype=np.int64)
    numbers = {name: number for number, name in enumerate(LESIONS, start=1)}
    return np.asarray(patients["lesion"].map(numbers).fillna(0), dtype=np.int64)


def case_mix(patients: pd.DataFrame) -> Whole:
    """Count patients by label, density class (0 unknown) and type of lesion (0 unknown): 2 x 5 x 3."""
    return np.bincount(_case_kinds(patients), minlength=_KINDS).reshape(_SHAPE)


def _case_kinds(patients: pd.DataFrame) -> Whole:
    """Number each patient's place in the table of `case_mix`."""
    labels = patients["malignant"].to_numpy(dtype=np.int64)
    places = np.ravel_multi_index((labels, density_classes(patients), lesion_types(patients)), _SHAPE)
    return places.astype(np.int64)


def hospital_names(config: HospitalsConfig, patients: pd.DataFrame) -> list[str]:
    """Name the hospitals in their order: profiles' names, `hospital-1`..., or by the values that an attribute has.

    Raises InputError for profiles that cannot be loaded, and for an attribute that no patient has.
    """
    rule = config.assignment
    if not isinstance(rule, ByAttribute):
        return names_of(rule)
    found = hospitals_by_attribute(patients, in_training(patients), rule)[0]
    if rule.names and rule.names != found:
        raise InputError(f"hospitals.assignment.names: these patients make the hospitals {', '.join(found)}; say so")
    return found


def assign(patients: pd.DataFrame, config: HospitalsConfig) -> pd.Series:
    """Deal every patient to a hospital: a Series of names, indexed as `patients`.

    Each split is dealt on its own by the same shares. The result depends on `config.draw` and on the patients, not on
    their order. Raises InputError where a hospital would get no patient of the split `train` (of the cohort, if it
    has no such split).
    """
    names = hospital_names(config, patients)
    ordered = patients.sort_index()
    kinds = _kinds(ordered, config)
    training = in_training(ordered)
    shares = _shares(kinds[training], len(names), config)
    rule = config.assignment
    profiles = load_profiles(rule.profiles) if isinstance(rule, ByProfiles) else []
    dealt = np.zeros(len(ordered), dtype=np.int64)
    for split in sorted(ordered["split"].unique()):
        members = np.flatnonzero(ordered["split"] == split)
        table = _table(np.bincount(kinds[members], minlength=shares.shape[1]), shares, profiles)
        generator = generator_of(config.draw, "hospitals", "assignment", split)
        for kind in range(table.shape[1]):
            of_kind = generator.permutation(members[kinds[members] == kind])
            dealt[of_kind] = np.repeat(np.arange(len(names)), table[:, kind])
    without = [name for number, name in enumerate(names) if number not in dealt[training]]
    if without:
        more = f" and {len(without) - 3} more" if len(without) > 3 else ""
        raise InputError(
            f"hospitals.assignment: no training patient (of {training.sum()}) for {', '.join(without[:3])}{more}; "
            + _remedy(config)
        )
    hospital_of = pd.Series(np.array(names)[dealt], index=ordered.index, name="hospital", dtype="str")
    return hospital_of.reindex(patients.index)


def in_training(patients: pd.DataFrame) -> np.ndarray:
    """Mark the patients of the split `train`; all of them where the cohort has no such split."""
    marked = (patients["split"] == TRAIN).to_numpy()
    return marked if marked.any() else np.ones(len(patients), dtype=bool)


def _kinds(patients: pd.DataFrame, config: HospitalsConfig) -> Whole:
    """Number the kinds of patients that the rule tells apart."""
    match config.assignment:
        case ByProfiles():
            return _case_kinds(patients)
        case ByDirichlet():
            return patients["malignant"].to_numpy(dtype=np.int64)
        case ByAttribute() as rule:
            return hospitals_by_attribute(patients, in_training(patients), rule)[1] + 1
        case _:
            return np.zeros(len(patients), dtype=np.int64)


def _shares(training_kinds: Whole, hospitals: int, config: HospitalsConfig) -> Real:
    """Return which share of each kind a hospital gets: hospitals x kinds, positive column sums."""
    match config.assignment:
        case ByProfiles():
            return np.ones((hospitals, _KINDS))  # only its shape counts: the case mix is fitted
        case ByChance():
            return np.ones((hospitals, 1))
        case BySize(ratio=ratio):
            return ratio ** -np.arange(hospitals, dtype=np.float64)[:, None]
        case ByDirichlet() as rule:
            return _dirichlet_shares(np.bincount(training_kinds, minlength=2), rule, config.draw)
        case ByAttribute():
            sizes = np.bincount(training_kinds, minlength=hospitals + 1)[1:]
            return np.column_stack([sizes, np.eye(hospitals)])
        case BySite():
            raise InputError("hospitals.assignment: real hospitals hold their own patients; there is nothing to deal")


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


def _table(totals: Whole, shares: Real, profiles: list[Profile]) -> Whole:
    """Return how many patients of each kind a hospital gets: hospitals x kinds, columns summing to `totals`."""
    if profiles:
        return fit(totals.reshape(_SHAPE), profiles).reshape(shares.shape)
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
            raise AssertionError(f"every value of {attribute} that names a hospital has a training patient")
        case BySite():
            raise AssertionError("nobody deals the patients of real hospitals")
