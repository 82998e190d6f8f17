"""Counts what a prepared cohort holds, for `fedmammo data show`."""

import pandas as pd

from fedmammo.cohort.store import SPLITS, Cohort


def summary(cohort: Cohort) -> dict[str, pd.DataFrame]:
    """Title → table.

    `splits`: one row per split that occurs and one for all: patients, images, malignant patients and images, images
    per patient (median, maximum), patients per density (1-4, not recorded), images per view. `counts`: one row per
    table or folder that lists images: rows, prepared, quarantined. `quarantine`: rows per reason, most frequent first.
    """
    counts: dict[str, dict[str, float]] = {
        split: _counts(
            cohort.manifest[cohort.manifest["split"] == split], cohort.patients[cohort.patients["split"] == split]
        )
        for split in SPLITS
        if (cohort.manifest["split"] == split).any()
    }
    counts["all"] = _counts(cohort.manifest, cohort.patients)
    reasons = cohort.quarantine["reason"].str.split(":").str[0].value_counts()
    quarantine = reasons.rename_axis("reason").rename("rows").reset_index()
    listed = pd.DataFrame(
        [{"listed in": name, **count} for name, count in cohort.facts.get("counts", {}).items()],
        columns=["listed in", "rows", "prepared", "quarantined"],
    )
    return {
        "splits": pd.DataFrame(list(counts.values()), index=pd.Index(counts, name="split")),
        "counts": listed,
        "quarantine": quarantine,
    }


def _counts(images: pd.DataFrame, patients: pd.DataFrame) -> dict[str, float]:
    density = patients["density"]
    return {
        "patients": len(patients),
        "images": len(images),
        "malignant patients": int(patients["malignant"].sum()),
        "malignant images": int(images["malignant"].sum()),
        "images per patient, median": float(patients["images"].median()),
        "images per patient, maximum": int(patients["images"].max()),
        **{f"density {grade}": int((density == grade).sum()) for grade in (1, 2, 3, 4)},
        "density not recorded": int(density.isna().sum()),
        **{view: int((images["view"] == view).sum()) for view in ("CC", "MLO")},
    }
