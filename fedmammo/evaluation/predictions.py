"""Checks a table of predictions and lays it out as arrays in which all models see the same images in one order."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from fedmammo.config.arm import ALL, KINDS, NAME, Arm, rank
from fedmammo.config.evaluation import UNITS, Pooling, Unit
from fedmammo.errors import InputError
from fedmammo.evaluation.calibration import Line, recalibration
from fedmammo.evaluation.tested import Floats, Integers
from fedmammo.evaluation.thresholds import Thresholds, choose_thresholds
from fedmammo.evaluation.units import Grouping

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
    "breast",
    "lesion",
    "image",
    "label",
    "score",
)
"""Of every table of predictions. More columns describe images: `density`, `assessment`, ..."""


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
    """A repeat's trained models of one series, one for each fold, on the test images of that fold.

    Attributes:
        score: (images,) probabilities of malignancy.
        thresholds: by fold.
        lines: by fold and hospital, how that hospital's validation patients would correct scores; None where they are
            too few, and for a local model elsewhere than at home.
    """

    score: Floats
    thresholds: dict[int, Thresholds]
    lines: dict[tuple[int, str], Line | None]


@dataclass(frozen=True)
class Images:
    """The test images of one repeat, in one order for all models; all arrays are (images,).

    Attributes:
        patient: whole numbers that stand for the study's test patients.
        hospital: name of the patient's hospital.
        label: 1 malignant.
        fold: in which the image was tested.
        names: pseudonyms of what an image belongs to, by unit.
        about: what else is told of an image, by column.
    """

    patient: Integers
    hospital: np.ndarray
    label: Integers
    fold: Integers
    names: dict[Unit, np.ndarray]
    about: pd.DataFrame


@dataclass(frozen=True)
class Predictions:
    """A study's predictions: every series has models for every repeat.

    Attributes:
        split: name of the tested patients.
        names: pseudonyms of the tested patients, by number.
        hospitals: that tested somebody.
        seeds: of the study.
        draws: of hospitals. A repeat is a seed with a draw.
        images: by repeat: folds are dealt anew for each seed, hospitals for each draw.
        series: arms in the order of their kinds, then as they appear.
        models: by series and repeat.
        folds: how many there are, at least 1.
        pooling: how a unit's score is made of its images'.
    """

    split: str
    names: list[str]
    hospitals: list[str]
    seeds: list[int]
    draws: list[int]
    images: dict[Repeat, Images]
    series: list[Series]
    models: dict[tuple[Series, Repeat], Model]
    folds: int
    pooling: Pooling = "probability"

    @property
    def patients(self) -> int:
        """How many were tested."""
        return len(self.names)

    @property
    def dealings(self) -> int:
        """In how many ways draws dealt tested patients to hospitals."""
        whose = (zip(shown.patient.tolist(), shown.hospital, strict=True) for shown in self.images.values())
        return len({tuple(sorted(dict(pairs).items())) for pairs in whose})

    @property
    def repeats(self) -> list[Repeat]:
        """Every seed with every draw, a seed's together."""
        return [Repeat(seed, draw) for seed in self.seeds for draw in self.draws]


def _refuse(rows: pd.DataFrame, expected: str) -> None:
    """Raises an error that names the first of `rows`, if there is any."""
    if len(rows):
        row = ", ".join(f"{column} {rows.iloc[0][column]}" for column in COLUMNS)
        raise InputError(f"predictions, row ({row}): {expected}")


def _check(used: pd.DataFrame) -> None:
    _refuse(used[used[list(COLUMNS)].isna().any(axis=1)], "expected a value in every column")
    known = used["arm"].str.fullmatch(NAME)
    _refuse(used[~known], f"expected an arm of {', '.join(KINDS)}, or a variant of one")
    _refuse(used[~used["label"].isin([0, 1])], "expected label 0 or 1")
    _refuse(used[~used["score"].between(0, 1)], "expected a score in [0, 1]: a probability, not a logit")
    _refuse(used[used["hospital"] == ALL], f"'{ALL}' is reserved: rename the hospital")
    arms = {name: Arm.of(name) for name in used["arm"].unique()}
    several = used["arm"].isin([name for name, arm in arms.items() if arm.of_parts or arm.of_hospitals])
    _refuse(
        used[several == (used["trained_at"] == ALL)],
        "expected trained_at 'all' where an arm has one model, and a hospital or a part of them where it has several",
    )
    own = used["arm"].isin([name for name, arm in arms.items() if arm.of_hospitals and not arm.of_parts])
    foreign = own & (used["split"] == VALIDATION) & (used["hospital"] != used["trained_at"])
    _refuse(used[foreign], "expected validation patients of the hospital whose own the model is")
    identity = ["arm", "setting", "seed", "draw", "fold", "trained_at", "split", "patient", "image"]
    _refuse(used[used.duplicated(identity)], "expected each image once per model: remove the repeated row")


def _check_patients_whole(test: pd.DataFrame) -> None:
    for column, within in (("hospital", ["draw", "patient"]), ("fold", ["seed", "draw", "patient"])):
        places = test.groupby(within)[column].transform("nunique")
        _refuse(test[places > 1], f"expected a patient's test images in one {column}: assign the patient whole")
    for whole, part in (("patient", "breast"), ("breast", "lesion")):
        places = test.groupby(part)[whole].transform("nunique")
        _refuse(test[places > 1], f"expected a {part} of one {whole}")


def _values(table: pd.DataFrame, column: str) -> list[int]:
    return sorted(int(value) for value in table[column].unique())


def _name(model: tuple[object, ...]) -> str:
    seed, draw, arm, setting, trained_at = model
    return f"arm {arm}, setting {setting}, trained_at {trained_at}, seed {seed}, draw {draw}"


def arrange(
    predictions: pd.DataFrame, test_split: str, unit: Unit = "lesion", pooling: Pooling = "probability"
) -> Predictions:
    """Lay out the rows of `test_split`, and of `validation` for cuts and recalibration; other splits are left out.

    Args:
        predictions: has the columns of COLUMNS, and may have more, which describe images.
        test_split: name of the tested patients.
        unit: of whose scores cuts and recalibration are chosen.
        pooling: how a unit's score is made of its images'.

    Raises:
        InputError: for a missing column, an impossible value, a patient who is not whole, or models that were not all
            tested on the same images: what the arms are compared on must be the same.
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
    appeared = test[["arm", "setting", "trained_at"]].drop_duplicates().itertuples(index=False, name=None)
    series = sorted((Series(*key) for key in appeared), key=lambda one: rank(one.arm))
    seeds, draws, folds = (_values(test, column) for column in ("seed", "draw", "fold"))
    hospitals = list(test["hospital"].unique())
    patients, order = _order(test, series[0])
    places = {"patient": test["patient"].map(patients), "image": test["image"].map(order)}
    test = test.iloc[np.lexsort((places["image"], places["patient"], test["fold"]))]
    by_model = ["seed", "draw", "arm", "setting", "trained_at"]
    tested = dict(iter(test.groupby(by_model, sort=False)))
    validated = dict(iter(used[used["split"] == VALIDATION].groupby(by_model, sort=False)))
    nothing, attributes = used.iloc[:0], [column for column in used if column not in COLUMNS]
    identity = ["fold", "patient", "breast", "lesion", "image", "hospital", "label"]
    images, models = {}, {}
    for repeat in (Repeat(seed, draw) for seed in seeds for draw in draws):
        first, reference = next(((key, rows) for key, rows in tested.items() if key[:2] == repeat), (None, nothing))
        lost = [fold for fold in folds if fold not in set(reference["fold"])]
        if first is None or lost:
            where = f"seed {repeat.seed}, draw {repeat.draw}" + (f", fold {lost[0]}" if first else "")
            raise InputError(f"predictions: {where} has no test images; expected all")
        images[repeat] = Images(
            np.asarray(reference["patient"].map(patients), dtype=np.int64),
            reference["hospital"].to_numpy(),
            reference["label"].to_numpy(np.int64),
            reference["fold"].to_numpy(np.int64),
            {kind: reference[kind].to_numpy() for kind in UNITS},
            reference[attributes].reset_index(drop=True),
        )
        for one in series:
            key = (*repeat, *one)
            rows = tested.get(key, nothing)
            if not np.array_equal(rows[identity].to_numpy(), reference[identity].to_numpy()):
                raise InputError(
                    f"predictions: model ({_name(key)}) has {len(rows)} images of '{test_split}', expected the "
                    f"same {len(reference)} images and labels as of model ({_name(first)}): score every model on them"
                )
            score = rows["score"].to_numpy(np.float64)
            models[one, repeat] = Model(score, *_chosen(validated.get(key, nothing), folds, unit, pooling))
    return Predictions(test_split, list(patients), hospitals, seeds, draws, images, series, models, len(folds), pooling)


def _order(test: pd.DataFrame, first: Series) -> tuple[dict[str, int], dict[str, int]]:
    """Number patients and images by the scores of the first model of all.

    Pseudonyms change when a cohort is prepared anew, and the order of sums must not.
    """
    own = (test[list(Series._fields)] == pd.Series(first._asdict())).all(axis=1)
    rows = test[own]
    rows = rows[(rows["seed"] == rows["seed"].min()) & (rows["draw"] == rows["draw"].min())]
    ranked = rows.sort_values(["score", "patient", "image"])
    patients, images = ({name: at for at, name in enumerate(ranked[kind].unique())} for kind in ("patient", "image"))
    return patients, images


def _chosen(
    validation: pd.DataFrame, folds: list[int], unit: Unit, pooling: Pooling
) -> tuple[dict[int, Thresholds], dict[tuple[int, str], Line | None]]:
    """Choose cuts on a model's validation units, fold by fold, and how each hospital would recalibrate its scores."""
    thresholds, lines = {}, {}
    for fold in folds:
        rows = validation[validation["fold"] == fold].sort_values(["score", "label"])  # not by pseudonym: sums round
        grouping = Grouping.of(rows[unit].to_numpy())
        label, score = (
            grouping.label(rows["label"].to_numpy(np.int64)),
            grouping.mean(rows["score"].to_numpy(float), pooling),
        )
        thresholds[fold] = choose_thresholds(label, score)
        hospital = grouping.first(rows["hospital"].to_numpy())
        for name in dict.fromkeys(hospital):
            lines[fold, str(name)] = recalibration(label[hospital == name], score[hospital == name])
    return thresholds, lines
