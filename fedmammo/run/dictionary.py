"""The data dictionary: every column of every table that a run leaves, in one line each.

`python -m fedmammo.run.dictionary` writes docs/tables.md; a run's folder holds it as `columns.csv`.
"""

from collections.abc import Mapping

import pandas as pd

from fedmammo.evaluation.metrics import ABOUT
from fedmammo.run.columns import FOLD, INTERVAL, METRIC, NOTE, PLACE, TESTED
from fedmammo.run.hospital_columns import ABOUT_HOSPITALS

_HELD = {
    "share": "of the split's patients",
    "prevalence": "malignant share of its patients",
    **{f"density_{grade}": f"share of density {grade}, of patients whose density is known" for grade in range(1, 5)},
    "masses": "share of patients whose first lesion is a mass; empty where all lesions are of one type",
}
TABLES: dict[str, dict[str, str]] = {
    "verdicts.csv": {
        "tested_at": "a hospital, or `all` hospitals' patients; where not all hospitals give rows of them, the "
        "`mean over hospitals` of random effects in place of `all`",
        "verdict": "superior, non-inferior, inconclusive, inferior or not assessable, from interval and margin alone",
        "difference": "of the primary metric, `arm` minus `against`; empty where it is not assessable",
        **INTERVAL,
        "p": "two-sided, of no difference",
        "p_holm": "the same, adjusted over hospitals (Holm)",
        "margin": "the largest loss that would not matter (`evaluation.primary.margin`)",
        "patients_needed": "about how many test patients, other things equal, would show what `to_show` says; empty "
        "where no number would, because of seeds and draws, where there is no interval, and of a `mean over hospitals`",
        "to_show": "a true difference as large as the margin, shown as superior with a probability of 80 %",
        "patients": TESTED["patients"],
        "positives": TESTED["positives"],
        "metric": "the primary metric",
        "unit": TESTED["unit"],
        "arm": "the arm that ought to be better",
        "against": "the other; local is a hospital's own model, at `all` the mean over hospitals' models",
        "setting": "in which both were trained",
        "varies": "what the interval lets vary",
        "fixed": "what it takes as it is: the verdict speaks of nothing else",
        **NOTE,
        "sentence": "all this in a sentence",
    },
    "results.csv": {
        **PLACE,
        "trained_at": "the hospital whose model it is; `all`: everybody's, and in the local arm the mean over models",
        "tested_at": TESTED["tested_at"],
        "split": "name of the tested patients: a split of the cohort, or `cross-validation`",
        "unit": TESTED["unit"],
        **METRIC,
        "value": "of the metric; with folds of pairs or units of one fold, summed up over folds",
        **INTERVAL,
        "repeats": "seeds times draws of hospitals",
        "median": "over repeats",
        "lowest": "over repeats",
        "patients": TESTED["patients"],
        "positives": TESTED["positives"],
        "units": "tested images, lesions, breasts or patients",
        "prevalence": "malignant share of the units",
        "epsilon": "the most that a hospital spent of each patient's budget; empty without one",
        "delta": "at which epsilon is told",
        "end_to_end": "what epsilon covers: all that a `patient` had to do with the model, `none` of it, `no patient`",
        **NOTE,
    },
    "comparisons.csv": {
        "role": "`primary`, `primary at a hospital` (one family), or `secondary`: not adjusted, not to be decided by",
        **METRIC,
        "unit": TESTED["unit"],
        "better": "which way the metric is better: higher, lower, or the value that is best; empty where neither is",
        "arm": "minuend",
        "against": "subtrahend; local is the hospital's own model, at `all` the mean over hospitals' models",
        "setting": "of the minuend",
        "against_setting": "of the subtrahend",
        "tested_at": TESTED["tested_at"],
        "difference": "mean over repeats of `arm` minus `against`",
        **INTERVAL,
        "at_least": "one-sided 95 % lower limit; where higher is better, minus it is the most that is lost",
        "error": "standard error; empty where there is no interval",
        "of_repeats": "part of its square that comes from seeds and draws, 0 to 1: more patients leave it as it is",
        "p": "two-sided, of no difference; empty where it cannot be honest",
        "p_holm": "of the primary comparison at hospitals: adjusted over them (Holm)",
        "repeats": "seeds times draws of hospitals",
        "median": "difference over repeats",
        "q05": "its 5 % quantile over repeats",
        "lowest": "smallest over repeats: the worst where higher is better",
        "patients": TESTED["patients"],
        "positives": TESTED["positives"],
        **NOTE,
    },
    "subgroups.csv": {
        "column": "of the cohort (`evaluation.subgroups`)",
        "value": "in that column; `(not recorded)`",
        "arm": "an arm, or the primary difference of two",
        "setting": PLACE["setting"],
        "unit": "images by view, else the study's unit",
        "metric": "the primary metric",
        "estimate": "mean over repeats, on these units alone",
        **INTERVAL,
        "patients": TESTED["patients"],
        "positives": TESTED["positives"],
        "units": "tested units with this value",
        **NOTE,
    },
    **ABOUT_HOSPITALS,
    "roc.csv": {
        "arm": PLACE["arm"],
        "setting": PLACE["setting"],
        "false_positive_rate": "share of benign units above the cut, 0 to 1: the most that each fold's cut allows",
        "sensitivity": "share of malignant units above their fold's cut, on the test patients' own curve",
        **INTERVAL,
        "unit": TESTED["unit"],
        "patients": TESTED["patients"],
        "positives": TESTED["positives"],
        **NOTE,
    },
    "precision_recall.csv": {
        "arm": PLACE["arm"],
        "setting": PLACE["setting"],
        "recall": "share of malignant units that reach the cut, above 0 to 1: the least that each fold's cut attains",
        "precision": "malignant share of the tested units that reach their fold's cut",
        **INTERVAL,
        "unit": TESTED["unit"],
        "patients": TESTED["patients"],
        "positives": TESTED["positives"],
        **NOTE,
    },
    "calibration.csv": {
        "arm": PLACE["arm"],
        "setting": PLACE["setting"],
        "bin_low": "least score of the bin, one of ten",
        "bin_high": "its end, which belongs to the next bin",
        "predicted": "mean score of the units in it, over all repeats and the local arm's models",
        "observed": "malignant share of the same units",
        **INTERVAL,
        "units": "in the bin; the mean over repeats and models, rounded",
        "unit": TESTED["unit"],
        "patients": "with units in the bin; the mean likewise",
        "positives": "with malignant units in it; the mean likewise",
        **NOTE,
    },
    "decision_curve.csv": {
        "arm": PLACE["arm"],
        "setting": PLACE["setting"],
        "threshold": "probability of malignancy from which on one would act",
        "prevalence": "at which net benefit is told: the declared one, or that of the tested units",
        "net_benefit": "true positives less false ones times threshold / (1 - threshold), per unit",
        **INTERVAL,
        "treat_all": "net benefit of acting on everybody",
        "treat_none": "of acting on nobody: 0",
        "unit": TESTED["unit"],
        "patients": TESTED["patients"],
        "positives": TESTED["positives"],
        **NOTE,
    },
    "predictions.csv": {
        **PLACE,
        **FOLD,
        "trained_at": "where the model was trained: a hospital, or `all`",
        "split": "name of the tested patients, or `validation`: who set thresholds",
        "hospital": "of the patient",
        "patient": "pseudonym",
        "breast": "pseudonym",
        "lesion": "pseudonym of one abnormality in all its views",
        "image": "pseudonym",
        "label": "1 malignant, 0 benign; of validation images as it is on record",
        "score": "probability of malignancy, 0 to 1",
        "density": "BI-RADS density of the breast, 1 to 4",
        "subtlety": "of the lesion, 1 (subtle) to 5 (obvious)",
        "lesion_type": "mass or calcification",
        "view": "CC or MLO",
        "assessment": "the reader's BI-RADS assessment, 0 to 5",
    },
    "rounds.csv": {
        **PLACE,
        **FOLD,
        "stage": "pretrain, share, train, or that of a generator",
        "round": "from 1",
        "hospital": "who took part",
        "status": "`ok`, or why it did not; under masks also `void`: it answered, but another failed and the round was "
        "asked again; `out`: it failed before and is asked no more",
        "simulated_seconds": "by the speed of its computer and line; empty for `pretrain`",
        "bytes_up": "sent by the hospital",
        "bytes_down": "received by it",
        "loss": "mean over its steps; empty under a budget",
        "epsilon_spent": "so far, under a budget",
        "patients": "training patients, as the hospital declares them",
    },
    "flow.csv": {
        "stage": "listed, quarantined, prepared, split, hospital, trained, thresholds (who set them), tested, no part",
        "name": "a table of the source, a reason, the kind of source, a split, a hospital; `all`",
        "patients": "how many; empty where it is not known",
        "images": "how many; of what was listed, rows of tables or files",
        "malignant": "patients with a malignant lesion",
        "note": "licence and citation of the data; of which draw, seed and folds the row is",
    },
    "holdings.csv": {
        "draw": PLACE["draw"].split(";")[0],
        "hospital": "whose patients these are",
        "split": "of the cohort, or `all`",
        "digitiser": "how the hospital's films look",
        "patients": "that it holds there",
        "images": "of them",
        "benign": "patients without a malignant lesion",
        "malignant": "patients with one",
        "unknown_density": "patients whose density is not on record",
        **{
            key: text
            for name, about in _HELD.items()
            for key, text in ((name, about), (f"{name}_asked", "what its profile asked for"))
        },
        "label_distance": "of `all` splits: Jensen-Shannon distance of its classes from all hospitals', 0 to 1",
        "density_distance": "the same of its breast densities",
    },
    "costs.csv": {
        "arm": PLACE["arm"],
        "setting": PLACE["setting"],
        "hospital": "whose cost it is; `all`: that of a holder of all patients",
        "rounds": "of all stages that it took part in, in each deployment (mean over seeds, draws and folds)",
        "missed": "rounds that it failed in (mean)",
        "simulated_hours": "by the speed of its computer and line (mean)",
        "megabytes_up": "sent by it (mean)",
        "megabytes_down": "received by it (mean)",
    },
    "published.csv": {
        "study": "who published it",
        "setting": "the setting of ours that is most like it",
        "metric": "as in results.csv",
        "value": "as published",
        "sd": "over three seeds, where it was published",
        "unit": "of what the metric is",
        "images": "that were tested",
        "protects": "what its epsilon protects; empty without one",
    },
    "timings.csv": {**PLACE, **FOLD, "seconds": "of the clock that the deployment took; may differ between equal runs"},
    "synthetic/pools.csv": {
        **PLACE,
        **FOLD,
        "sole_setting": "where a pool was made for one setting alone",
        "holder": "the hospital that holds it, or `all`",
        "digest": "SHA-256 that names it",
        "images": "how many",
        "guarantee": "what holds for patients whom a generator learned from",
    },
    "synthetic/quality.csv": {
        "arm": PLACE["arm"],
        "seed": PLACE["seed"],
        "draw": PLACE["draw"],
        **FOLD,
        "holder": "of the pool",
        "metric": "what was measured (docs/synthesis.md)",
        "value": "of the synthetic images",
        "sd": "standard deviation over subsets",
        "real_to_real": "the same of real images against real ones",
        "real_to_real_sd": "its standard deviation over subsets",
        "images": "synthetic images that it was measured on",
        "note": "what was compared; why something is undefined",
    },
    "curves.csv": {
        "arm": PLACE["arm"],
        "setting": PLACE["setting"],
        "seed": PLACE["seed"],
        "draw": PLACE["draw"],
        "round": "of training, after which models were scored (`evaluation.every`)",
        "trained_at": "as in results.csv",
        "tested_at": "`all`",
        "unit": TESTED["unit"],
        "metric": "the primary metric",
        "value": "as in results.csv; nothing was selected by it",
        **INTERVAL,
        **NOTE,
    },
    "choices.csv": {
        "setting": PLACE["setting"],
        "seed": "of the study",
        "draw": "seed of the draw of hospitals",
        "fold": "whose training patients chose, 0 without folds",
        "arm": "a federated variant, or `averaged`",
        "value": "the primary metric in inner folds of the training patients of all hospitals; empty where it has none",
        "chosen": "1 for the variant that the arm `chosen` takes, else 0",
        **NOTE,
    },
    "guarantees.csv": {
        "arm": PLACE["arm"],
        "setting": PLACE["setting"],
        "epsilon": "the most that a hospital spent of each patient's budget in a deployment; empty without one",
        "delta": "at which epsilon is told",
        "end_to_end": "what epsilon covers: all that a `patient` had to do with the model, `none` of it, `no patient`",
        "best_attack": "part of those who took part whom the best attack finds where it accuses 1 % of the others "
        "wrongly, 0 to 1: of the Gaussian mechanism of this epsilon and delta; empty unless it holds end to end",
        "protection": "what that is called: strong, moderate, weak, hardly any, no meaningful protection",
        "epsilon_exchanged": "the same against whoever tells a patient from another one, in place of from nobody",
        "patients": "fewest training patients of a hospital (of `all`: of the holder of all patients), as declared",
        "trust": "`local`: each hospital adds its noise; `central`: a trusted server does; `secure`: hospitals share "
        "it, and masks hide the sum of each",
        "adversary": "against whom that protects",
        "unit": "whose data is protected as one",
        "relation": "what is told apart: which two sets of data",
        "sentence": "all this in a sentence",
    },
    "privacy.csv": {
        "arm": "as in results.csv; `all`: what a patient would have spent, were all deployments published",
        "setting": "as in results.csv; `all` likewise",
        "hospital": "who spent it; `all`: the holder of all patients",
        "stage": "generator, embedding (sums of features) or train (the classifier); `together`: all of them",
        "releases": "how often something left, also in rounds that were asked again; in the deployment that cost most, "
        "as all that follows",
        "steps": "noised sums in these releases",
        "epsilon": "of these releases: the most over seeds, draws and folds; stages do not add up to `together`",
        "delta": "at which epsilon is told",
        "epsilon_at_1e-6": "the same at delta 1e-6",
        "noise_multiplier": "standard deviation of the noise of a step over `clipping_norm`; of all shares together",
        "clipping_norm": "the most, in L2 norm, that a patient adds to a sum",
        "rate": "probability with which a patient is in a step",
    },
    "privacy-audit.csv": {
        "setting": PLACE["setting"],
        "audit": "which attack",
        "measure": "what it shows",
        "value": "the estimate",
        "ci_low": "lower limit of its interval",
        "ci_high": "upper limit",
        "ceiling": "the most that so many guesses can certify",
        "claimed": "what the plan says",
    },
    "hospitals/<name>/patients.csv": {
        "draw": "of hospitals",
        "patient": "pseudonym",
        "hospital": "who holds the patient",
        "digitiser": "how the hospital's films look",
        "exchanged": "whether the label on record is wrong",
    },
}
"""File → column → what it means. Other columns of predictions.csv are those that `evaluation.subgroups` names."""


def explained(tables: Mapping[str, Mapping[str, str]] = TABLES) -> pd.DataFrame:
    """Return columns.csv: a row for each column of each table."""
    rows = [(table, column, about) for table, columns in tables.items() for column, about in columns.items()]
    return pd.DataFrame(rows, columns=["table", "column", "meaning"])


def page() -> str:
    """Return docs/tables.md."""
    parts = [
        "# Tables of a run\n\n"
        "Every column of every table; a run's folder holds the same as `columns.csv`. Written by\n"
        "`python -m fedmammo.run.dictionary > docs/tables.md`.\n"
    ]
    for table, columns in TABLES.items():
        rows = "".join(f"| `{column}` | {about} |\n" for column, about in columns.items())
        parts.append(f"## `{table}`\n\n| column | what |\n|---|---|\n{rows}")
    parts.append(
        "## Metrics\n\n| metric | what |\n|---|---|\n" + "".join(f"| `{k}` | {v} |\n" for k, v in ABOUT.items())
    )
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")
