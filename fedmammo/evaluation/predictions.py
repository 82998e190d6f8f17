"""Checks a table of predictions and lays it out as arrays in which all models see the same images in one order."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from fedmammo.config.arm import ALL, ARMS
from fedmammo.errors import InputError
from fedmammo.evaluation.metrics import Floats, Integers, Thresholds, choose_thresholds

VALIDATION = "validation"
COLUMNS = (
    "arm",
    "setting",
    "seed",
    "draw",
    "fold",
    "trained_at",
    "split",
    "hospital",
    "patient",
    "image",
    "label",
    "score",
)


class Repeat(NamedTuple):
    """A seed of the study with a draw of hospitals (its seed)."""

    seed: int
    draw: int


class Series(NamedTuple):
    """What is repeated over seeds, draws and folds: an arm in a setting, trained at a hospital or `all`."""

    arm: str
    setting: str
    trained_at: str


class Model(NamedTuple):
    """One trained model on the test images of its fold: `score` (images,) and its validation's cuts."""

    score: Floats
    thresholds: Thresholds


@dataclass(frozen=True)
class Images:
    """The test images of one fold, by patient, then image, in one order for all; all arrays are (images,).

    `patient` indexes the study's test patients, `hospital` holds the name of the patient's hospital.
    """

    patient: Integers
    hospital: np.ndarray
    label: Integers


@dataclass(frozen=True)
class Predictions:
    """A study's predictions: every series has a model for every repeat and fold."""

    split: str
    patients: int
    hospitals: list[str]
    repeats: list[Repeat]
    images: dict[tuple[Repeat, int], Images]  # folds are dealt anew for each seed, hospitals for each draw
    series: list[Series]  # arms in the order of ARMS, then as they appear
    models: dict[tuple[Series, Repeat, int], Model]


def _refuse(rows: pd.DataFrame, expected: str) -> None:
    """Raises an error that names the first of `rows`, if there is any."""
    if len(rows):
        row = ", ".join(f"{column} {rows.iloc[0][column]}" for column in COLUMNS)
        raise InputError(f"predictions, row ({row}): {expected}")


def _check(used: pd.DataFrame) -> None:
    _refuse(used[used[list(COLUMNS)].isna().any(axis=1)], "expected a value in every column")
    _refuse(used[~used["arm"].isin(ARMS)], f"expected an arm of {', '.join(ARMS)}")
    _refuse(used[~used["label"].isin([0, 1])], "expected label 0 or 1")
    _refuse(used[~used["score"].between(0, 1)], "expected a score in [0, 1]: a probability, not a logit")
    _refuse(used[used["hospital"] == ALL], f"'{ALL}' is reserved: rename the hospital")
    alone = used["arm"] == "local"
    _refuse(used[alone == (used["trained_at"] == ALL)], "expected trained_at a hospital in the local arm, else 'all'")
    foreign = alone & (used["split"] == VALIDATION) & (used["hospital"] != used["trained_at"])
    _refuse(used[foreign], "expected validation patients of the hospital that trained the local model")
    identity = ["arm", "setting", "seed", "draw", "fold", "trained_at", "split", "patient", "image"]
    _refuse(used[used.duplicated(identity)], "expected each image once per model: remove the repeated row")


def _check_patients_whole(test: pd.DataFrame) -> None:
    for column, within in (("hospital", ["draw", "patient"]), ("fold", ["seed", "draw", "patient"])):
        places = test.groupby(within)[column].transform("nunique")
        _refuse(test[places > 1], f"expected a patient's test images in one {column}: assign the patient whole")


def _values(table: pd.DataFrame, column: str) -> list[int]:
    return sorted(int(value) for value in table[column].unique())


def _name(model: tuple[object, ...]) -> str:
    seed, draw, fold, arm, setting, trained_at = model
    return f"arm {arm}, setting {setting}, trained_at {trained_at}, seed {seed}, draw {draw}, fold {fold}"


def arrange(predictions: pd.DataFrame, test_split: str) -> Predictions:
    """Lays out the rows of `test_split`, and of `validation` for the thresholds; other splits are left out.

    `predictions` has the columns of COLUMNS. Raises InputError for a missing column, an impossible value, a
    patient who is not whole, or models that were not all tested on the same images: what the arms are compared
    on must be the same.
    """
    missing = [column for column in COLUMNS if column not in predictions]
    if missing:
        raise InputError(f"predictions: columns {', '.join(missing)} are missing; expected {', '.join(COLUMNS)}")
    if test_split == VALIDATION or test_split not in set(predictions["split"]):
        splits = ", ".join(str(split) for split in predictions["split"].unique() if split != VALIDATION)
        raise InputError(f"predictions: no test split '{test_split}'; choose one of: {splits or 'none is there'}")
    used = predictions[predictions["split"].isin([test_split, VALIDATION])]
    _check(used)
    test = used[used["split"] == test_split]
    _check_patients_whole(test)
    hospitals = list(test["hospital"].unique())
    appeared = test[["arm", "setting", "trained_at"]].drop_duplicates().itertuples(index=False, name=None)
    series = sorted((Series(*key) for key in appeared), key=lambda one: ARMS.index(one.arm))
    repeats = [Repeat(seed, draw) for seed in _values(test, "seed") for draw in _values(test, "draw")]
    # By the first model's scores: pseudonyms change when a cohort is prepared anew, and resamples must not.
    first_series = (test["arm"] == series[0].arm) & (test["setting"] == series[0].setting)
    first_series &= (test["trained_at"] == series[0].trained_at) & (test["seed"] == repeats[0].seed)
    first_series &= test["draw"] == repeats[0].draw
    ranked = test[first_series].sort_values(["score", "patient", "image"])
    patients, order = ({name: at for at, name in enumerate(ranked[kind].unique())} for kind in ("patient", "image"))
    places = {"patient": test["patient"].map(patients), "image": test["image"].map(order)}
    test = test.iloc[np.lexsort((places["image"], places["patient"]))]

    by_model = ["seed", "draw", "fold", "arm", "setting", "trained_at"]
    tested = dict(iter(test.groupby(by_model, sort=False)))
    validated = dict(iter(used[used["split"] == VALIDATION].groupby(by_model, sort=False)))
    nothing = used.iloc[:0]
    identity = ["patient", "image", "hospital", "label"]
    images, models = {}, {}
    folds = _values(test, "fold")
    for repeat, fold in ((repeat, fold) for repeat in repeats for fold in folds):
        part = (*repeat, fold)
        first, reference = next(((model, rows) for model, rows in tested.items() if model[:3] == part), (None, nothing))
        if first is None:
            raise InputError(
                f"predictions: seed {repeat.seed}, draw {repeat.draw}, fold {fold} has no test images; expected all"
            )
        images[repeat, fold] = Images(
            reference["patient"].map(patients).to_numpy(np.int64),
            reference["hospital"].to_numpy(),
            reference["label"].to_numpy(np.int64),
        )
        for one in series:
            model = (*part, *one)
            rows, validation = tested.get(model, nothing), validated.get(model, nothing)
            if not np.array_equal(rows[identity].to_numpy(), reference[identity].to_numpy()):
                raise InputError(
                    f"predictions: model ({_name(model)}) has {len(rows)} images of '{test_split}', expected the "
                    f"same {len(reference)} images and labels as of model ({_name(first)}): score every model on them"
                )
            models[one, repeat, fold] = Model(
                rows["score"].to_numpy(np.float64),
                choose_thresholds(validation["label"].to_numpy(np.int64), validation["score"].to_numpy(np.float64)),
            )
    return Predictions(test_split, len(patients), hospitals, repeats, images, series, models)
