"""Compares two finished runs on the same patients, such as two strategies, or hospitals dealt by two rules."""

from pathlib import Path

import pandas as pd

from fedmammo.errors import InputError
from fedmammo.evaluation.evaluate import compare_runs
from fedmammo.run.folder import RunFolder, read_config
from fedmammo.run.predictions import tested_split


def compare(run: Path, against: Path) -> pd.DataFrame:
    """Return what a run scores minus another, arm by arm, with paired intervals over patients and seeds.

    Raises InputError where one is no finished run, or where they did not test the same patients alike.
    """
    (config, digests), (other, other_digests) = read_config(run), read_config(against)
    must_agree = {
        "the cohort": (digests.get("cohort"), other_digests.get("cohort")),
        "evaluation.test": (tested_split(config), tested_split(other)),
        "evaluation.folds": (config.evaluation.folds, other.evaluation.folds),
        "evaluation.folds_over": (config.evaluation.splits_of_folds, other.evaluation.splits_of_folds),
        "seeds": (sorted(config.seeds), sorted(other.seeds)),
        "hospitals.seed": (sorted(config.hospitals.seed), sorted(other.hospitals.seed)),
    }
    differs = [key for key, (one, two) in must_agree.items() if one != two]
    if differs:
        raise InputError(f"{run} and {against}: {', '.join(differs)} differ; only runs that tested alike are paired")
    tables = [RunFolder(folder).predictions() for folder in (run, against)]
    if not set(tables[0]["arm"]) & set(tables[1]["arm"]):
        raise InputError(f"{run} and {against}: have no arm in common to compare")
    if not set(config.settings) & set(other.settings):
        raise InputError(f"{run} and {against}: have no setting in common to compare; run one study with both")
    return compare_runs(tables[0], tables[1], tested_split(config), config.evaluation)
