"""What each hospital holds, asked against achieved, and how far the hospitals differ."""

import numpy as np
import pandas as pd

from fedmammo.config.sections import HospitalsConfig
from fedmammo.hospitals.assignment import density_classes, hospital_names, lesion_types
from fedmammo.hospitals.case_mix import Whole
from fedmammo.hospitals.profiles import Profile, load_profiles
from fedmammo.hospitals.rules import ByProfiles


def holdings(patients: pd.DataFrame, hospital_of: pd.Series, config: HospitalsConfig) -> pd.DataFrame:
    """Count what each hospital holds: one row per hospital and split, in the hospitals' order.

    Columns: hospital, split; patients, images, malignant (patients), unknown density (patients); and as fractions:
    share (of the split's patients), prevalence, density 1 to density 4 (of the patients whose density is known) and,
    where some have calcifications, masses (of the patients whose first lesion's type is known). With profiles, each
    fraction is followed by what was asked: `share asked`... Undefined fractions and targets that a profile does not
    name are missing.
    """
    rule = config.assignment
    profiles = load_profiles(rule.profiles) if isinstance(rule, ByProfiles) else []
    asked = {profile.name: _asked(profile, profiles) for profile in profiles}
    holder = hospital_of.loc[patients.index]
    both_types = np.bincount(lesion_types(patients), minlength=3)[1:].all()
    rows = []
    for name in hospital_names(config, patients):
        for split in sorted(patients["split"].unique()):
            in_split = patients["split"] == split
            group = patients[in_split & (holder == name)]
            density, lesions = _density(group), np.bincount(lesion_types(group), minlength=3)[1:]
            achieved = {
                "share": len(group) / in_split.sum(),
                "prevalence": group["malignant"].mean() if len(group) else np.nan,
                **{f"density {i}": density[i - 1] / (density.sum() or np.nan) for i in range(1, 5)},
            }
            if both_types:
                achieved["masses"] = lesions[0] / (lesions.sum() or np.nan)
            row = {
                "hospital": name,
                "split": split,
                "patients": len(group),
                "images": int(group["images"].sum()),
                "malignant": int(group["malignant"].sum()),
                "unknown density": len(group) - int(density.sum()),
            }
            for what, fraction in achieved.items():
                row[what] = fraction
                if profiles:
                    row[f"{what} asked"] = asked[name][what]
            rows.append(row)
    return pd.DataFrame(rows)


def side_by_side(held: pd.DataFrame) -> pd.DataFrame:
    """Turn the rows of one split of `holdings` into columns, leaving out what is known of no hospital."""
    return held.drop(columns="split").set_index("hospital").dropna(axis=1, how="all").T.reset_index(names="")


def distances(patients: pd.DataFrame, hospital_of: pd.Series) -> pd.DataFrame:
    """Measure how far each hospital is from all hospitals pooled: one row per hospital, sorted by name.

    Columns: hospital, patients, label distance (benign and malignant patients), density distance (classes 1 to 4 of
    the patients whose density is known). Both are Jensen-Shannon distances with base 2 (Lin 1991, IEEE Trans. Inf.
    Theory 37:145; the square root of the divergence): 0 where the hospital is like the pool, at most 1; missing where
    nothing is known.
    """
    rows = [
        {
            "hospital": name,
            "patients": len(group),
            "label distance": _distance(_labels(group), _labels(patients)),
            "density distance": _distance(_density(group), _density(patients)),
        }
        for name, group in patients.groupby(hospital_of.loc[patients.index])
    ]
    return pd.DataFrame(rows)


def _asked(profile: Profile, profiles: list[Profile]) -> dict[str, float]:
    """Return a profile's targets, missing where it names none."""
    density = profile.density or (np.nan,) * 4
    return {
        "share": profile.share / sum(other.share for other in profiles),
        "prevalence": np.nan if profile.prevalence is None else profile.prevalence,
        **{f"density {i}": density[i - 1] for i in range(1, 5)},
        "masses": np.nan if profile.masses is None else profile.masses,
    }


def _labels(patients: pd.DataFrame) -> Whole:
    """Count benign and malignant patients."""
    return np.bincount(patients["malignant"].to_numpy(dtype=np.int64), minlength=2)


def _density(patients: pd.DataFrame) -> Whole:
    """Count the patients of density classes 1 to 4."""
    return np.bincount(density_classes(patients), minlength=5)[1:]


def _distance(counts: Whole, pooled: Whole) -> float:
    if not counts.any():
        return float("nan")
    from scipy.spatial.distance import jensenshannon

    return float(jensenshannon(counts, pooled, base=2))
