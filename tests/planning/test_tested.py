"""Who is tested, counted by hand from a small cohort and two dealings."""

import pandas as pd
import pytest

from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.planning.tested import tested_at as places_at  # names that pytest takes for no test
from fedmammo.planning.tested import units_of

# a: one lesion in two views, malignant; b: a benign and a malignant lesion; c: benign; d: benign, in another split
MANIFEST = pd.DataFrame(
    [("a", "LEFT", "mass", 1, "a1", True), ("a", "LEFT", "mass", 1, "a2", True), ("b", "LEFT", "mass", 1, "b1", False),
     ("b", "LEFT", "mass", 2, "b2", True), ("c", "RIGHT", "mass", 1, "c1", False), ("d", None, "mass", 1, "d1", False)],
    columns=["patient", "side", "lesion", "abnormality", "image", "malignant"],
)  # fmt: skip
SPLIT = {"a": "test", "b": "test", "c": "test", "d": "train"}


def dealt(**hospital: str) -> pd.DataFrame:
    return pd.DataFrame({"split": SPLIT, "hospital": hospital}).sort_index()


DRAWS = {
    0: dealt(a="north", b="north", c="south", d="south"),
    1: dealt(a="north", b="south", c="south", d="south"),
}


@pytest.mark.parametrize(
    ("unit", "count", "malignant"), [("image", 6, 3), ("lesion", 5, 2), ("breast", 4, 2), ("patient", 4, 2)]
)
def test_units(unit: str, count: int, malignant: int) -> None:
    found = units_of(MANIFEST, EvaluationConfig(unit=unit).unit)  # type: ignore[arg-type]
    assert (len(found), found["malignant"].sum()) == (count, malignant)


def test_means_over_draws() -> None:
    everybody, north, south = places_at(MANIFEST, DRAWS, ["north", "south"], EvaluationConfig())
    assert (everybody.patients, everybody.positives, everybody.benign, everybody.malignant) == (3, 2, 2, 2)
    assert sorted(everybody.units) == [1, 1, 2] and everybody.folds == 1 and everybody.fewest == 2
    assert (north.patients, north.positives, north.benign, north.malignant) == (1.5, 1.5, 0.5, 1.5)
    assert north.fewest == 0  # in the second draw nobody is benign
    assert (south.patients, south.positives) == (1.5, 0.5) and south.prevalence == pytest.approx(1 / 3)


def test_with_folds_those_of_their_splits_are_tested() -> None:
    config = EvaluationConfig(folds=2, folds_over=["train"])
    everybody = places_at(MANIFEST, DRAWS, ["north", "south"], config)[0]
    assert (everybody.patients, everybody.malignant, everybody.folds) == (1, 0, 2)


def test_sizes_have_a_unit_of_each_class_and_the_design_effect() -> None:
    everybody, *_ = places_at(MANIFEST, DRAWS, ["north", "south"], EvaluationConfig())
    assert everybody.sizes(0.5) == pytest.approx((2, 2, 1, 1.25))  # (1 + 1 + 4) / 4 = 1.5 lesions beside each
    assert everybody._replace(malignant=0.0).sizes(0.0).malignant == 1.0
