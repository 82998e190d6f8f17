from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.evaluation.intervals import interval_of
from fedmammo.evaluation.learning import (
    LEARNING_CURVE,
    Law,
    Point,
    UntoldError,
    by_fractions,
    by_hospitals,
    by_patients,
    extrapolated,
    law_of,
    learning_of,
)
from fedmammo.evaluation.predictions import Series, arrange
from fedmammo.evaluation.scoring import Estimate, Scores
from fedmammo.evaluation.variance import Sample, spread_of

Study = Callable[..., pd.DataFrame]
CONFIG = EvaluationConfig()
FIVE = (1, 2, 3, 4, 5)


def drawn(generator: np.random.Generator, law: Law, sizes: tuple[int, ...], patients: int = 200) -> list[Point]:
    """Draw points around a law, moved by the same patients, half of them benign; nine tenths of that is shared."""
    half = patients // 2
    has = np.repeat([[True, False], [False, True]], half, axis=1)
    common, points = generator.normal(size=patients), []
    for size in sizes:
        moved = 0.2 * (0.9**0.5 * common + 0.1**0.5 * generator.normal(size=patients))
        means = (has * moved).sum(axis=1, keepdims=True) / half
        value = law.at(size) + float(means.sum())
        points.append(Point(size, Sample(np.array([[value]]), ((moved - means) * has / half)[None, None], has, half)))
    return points


@settings(max_examples=40, deadline=None)
@given(st.floats(0.6, 0.95), st.floats(0.05, 0.4), st.floats(0.1, 3), st.floats(1, 500))
def test_a_law_is_found_again(limit: float, loss: float, rate: float, unit: float) -> None:
    """Whatever sizes are counted in: hospitals, or hundreds of patients."""
    law = Law(limit, loss * unit**rate, rate)
    sizes = unit * np.array([1.0, 2, 3, 5, 8])
    found = law_of(sizes, np.array([law.at(size) for size in sizes]), np.array([1.0, 2, 3, 2, 1]))
    assert found.rate == pytest.approx(rate, rel=1e-4)
    assert found.at(20 * unit) == pytest.approx(law.at(20 * unit), abs=1e-6)


def test_three_points_by_hand() -> None:
    """.9 - .2 / n: at 1, 2 and 4 it is .7, .8 and .85."""
    found = law_of(np.array([1.0, 2, 4]), np.array([0.7, 0.8, 0.85]), np.ones(3))
    assert found == pytest.approx((0.9, 0.2, 1), abs=1e-6)
    assert found.at(8) == pytest.approx(0.875)


def test_errors_are_those_of_the_parameters_by_differences() -> None:
    """The value at 10 moves with each point as a new fit does whose point is moved a little; all lie on the law."""
    law = Law(0.85, 0.25, 0.7)
    points = [
        Point(point.size, replace(point.sample, values=np.array([[law.at(point.size)]])))
        for point in drawn(np.random.default_rng(1), law, FIVE)
    ]
    at, values = np.arange(1.0, 6), np.array([law.at(size) for size in FIVE])
    weights = np.array([spread_of(point.sample).error ** -2 for point in points])
    line = []
    for point in range(5):
        ends = []
        for away in (1e-5, -1e-5):
            moved = values.copy()
            moved[point] += away
            ends.append(law_of(at, moved, weights).at(10))
        line.append((ends[0] - ends[1]) / 2e-5)
    influence = np.sum([one * point.sample.influence for one, point in zip(line, points, strict=True)], axis=0)
    expected = interval_of(Sample(np.array([[law.at(10)]]), influence, points[0].sample.has, 100), "number")
    found, (told,) = extrapolated(points, [10.0], "number")
    assert found == pytest.approx(law, rel=1e-5)
    assert (told.low, told.high) == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_points_on_the_law_have_the_error_of_patients_alone() -> None:
    """All move together, by .1 and -.1: so does the law, at every size, whose interval is a point's."""
    has = np.repeat([[True, False], [False, True]], 30, axis=1)
    influence = np.tile([0.004, -0.004], 30) * has
    law = Law(0.8, 0.2, 1.0)
    points = [Point(size, Sample(np.array([[law.at(size)]]), influence[None, None], has, 30)) for size in FIVE]
    sample = points[0].sample
    points[0] = Point(1, replace(sample, influence=sample.influence * 0.9999))  # or the rise would have no error
    _, (told,) = extrapolated(points, [8.0], "number")
    interval = interval_of(replace(sample, values=np.array([[law.at(8)]])), "number")
    assert (told.low, told.high) == pytest.approx((interval.low, interval.high), abs=2e-4)
    assert told.note == "" and told.size == 8


def test_points_off_the_law_make_it_less_sure() -> None:
    law = Law(0.85, 0.25, 0.7)
    points = drawn(np.random.default_rng(2), law, tuple(range(1, 9)))
    away = 0.02 * np.array([1, -1] * 4)
    moved = [
        Point(point.size, replace(point.sample, values=point.sample.values + one))
        for point, one in zip(points, away, strict=True)
    ]
    (one,), (other,) = (extrapolated(some, [12.0], "share")[1] for some in (points, moved))
    assert other.high - other.low > 1.3 * (one.high - one.low)


@pytest.mark.parametrize("sizes", [(1, 2, 3, 4), FIVE, tuple(range(1, 9))])
def test_intervals_cover_what_lies_beyond(sizes: tuple[int, ...]) -> None:
    """At twice the largest size, in 150 data sets."""
    generator, law = np.random.default_rng(3), Law(0.85, 0.25, 0.7)
    shown = covers = 0
    for _ in range(150):
        try:
            _, (told,) = extrapolated(drawn(generator, law, sizes), [2.0 * max(sizes)], "share")
        except UntoldError:
            continue
        shown, covers = shown + 1, covers + (told.low <= law.at(told.size) <= told.high)
    assert shown >= 120 and covers / shown >= 0.92


def test_why_nothing_is_told() -> None:
    generator, law = np.random.default_rng(4), Law(0.85, 0.25, 0.7)
    rising = drawn(generator, law, FIVE)
    flat = drawn(generator, Law(0.8, 0.0, 1.0), FIVE)
    few = drawn(generator, law, FIVE, patients=12)
    straight = [Point(size, replace(rising[0].sample, values=np.array([[0.5 + 0.05 * size]]))) for size in FIVE]
    straight[-1] = Point(5, replace(rising[-1].sample, values=np.array([[0.75]])))
    for points, why in (
        (rising[:3], "fewer than 4 sizes"),
        ([*rising[:3], rising[2]], "fewer than 4 sizes"),
        (flat, "was not shown"),
        (few, "fewer than 10 patients"),
        (straight, "how the curve bends"),
    ):
        with pytest.raises(UntoldError, match=why):
            extrapolated(points, [10.0], "share")
    with pytest.raises(UntoldError, match="does not rise"):
        law_of(np.arange(1.0, 5), np.array([0.8, 0.7, 0.65, 0.62]), np.ones(4))


def test_points_of_coalitions_by_hand() -> None:
    """Alone .6 and .7, together .8: the mean at one hospital is .65. By patients: 10, 30 and 40."""
    sample = drawn(np.random.default_rng(0), Law(0.8, 0.2, 1), (1,))[0].sample
    samples = {
        frozenset(one): replace(sample, values=np.array([[value]]))
        for one, value in (("a", 0.6), ("b", 0.7), ("ab", 0.8))
    }
    hospitals = by_hospitals(samples)
    assert [(one.size, one.sample.values.item(), one.models) for one in hospitals] == [
        (1, pytest.approx(0.65), 2),
        (2, 0.8, 1),
    ]
    found = by_patients(samples, {"a": 30, "b": 10})
    assert [(one.size, one.sample.values.item()) for one in found] == [(10, 0.7), (30, 0.6), (40, 0.8)]
    samples.pop(frozenset("a"))
    assert [one.size for one in by_hospitals(samples)] == [2], "not all of one hospital are there"
    assert [one.size for one in by_patients(samples, {"b": 10})] == [10]


def test_the_table_of_a_study(study: Study) -> None:
    """Four hospitals; each coalition's skill follows a law of its number of hospitals."""
    parts = []
    coalitions = [one for size in (1, 2, 3, 4) for one in combinations([f"H{number}" for number in range(4)], size)]
    for coalition in coalitions:
        one = study(arms=("federated",), hospitals=4, patients=400, seeds=1, images=1)
        raised = one["label"] * 2.5 * (1 - 0.9 * len(coalition) ** -1.2)
        noise = np.log(one["score"] / (1 - one["score"])) - 1.2 * one["label"]
        parts.append(one.assign(score=1 / (1 + np.exp(-(noise + raised))), setting="+".join(coalition)))
    arranged = arrange(pd.concat(parts), "test")
    called = {one: Series("coalitions", "real", one.setting) for one in arranged.series}
    models = {(called[one], repeat): model for (one, repeat), model in arranged.models.items()}
    scores = Scores(replace(arranged, series=list(called.values()), models=models))
    sizes = {"federated": {f"H{number}": 20.0 + 10 * number for number in range(4)}}
    found = learning_of(scores, CONFIG, sizes)
    assert list(found) == LEARNING_CURVE
    by = found[found["by"] == "hospitals"]
    seen = by[by["what"] == "seen"]
    assert seen["size"].tolist() == [1, 2, 3, 4] and seen["models"].tolist() == [4, 6, 4, 1]
    fitted, beyond = by[by["what"] == "fitted"], by[by["what"] == "extrapolated"]
    assert fitted["size"].tolist() == [1, 2, 3, 4] and beyond["size"].tolist() == [5, 6, 7, 8]
    assert beyond["value"].is_monotonic_increasing and (beyond["ci_low"] < beyond["value"]).all()
    assert fitted["value"].to_numpy(float) == pytest.approx(seen["value"].to_numpy(float), abs=0.01)
    patients = found[found["by"] == "patients"]
    assert (patients["what"] == "seen").sum() == 15 and patients[patients["what"] == "seen"]["size"].max() == 140
    assert set(learning_of(scores, CONFIG)["by"]) == {"hospitals"}


def test_a_curve_over_fractions_of_the_patients() -> None:
    """Local: patients of a hospital on average; federated: of all. An arm on all patients alone has no curve."""
    generator = np.random.default_rng(0)
    arms = ("local", "local-fraction0.25", "local-fraction0.5", "federated", "federated-fraction0.5", "centralized")
    points = drawn(generator, Law(0.9, 0.2, 1.0), tuple(range(1, len(arms) + 1)))
    found = {Series(arm, "real", "all"): Estimate({}, point.sample) for arm, point in zip(arms, points, strict=True)}
    patients = {arm: {"A": 40.0, "B": 20.0} for arm in arms if arm[-1] not in "05"} | {"centralized": {"all": 60.0}}
    patients |= {"local-fraction0.25": {"A": 10.0, "B": 5.0}, "local-fraction0.5": {"A": 20.0, "B": 10.0}}
    patients |= {"federated-fraction0.5": {"A": 20.0, "B": 10.0}}
    curves = by_fractions(found, "real", patients)
    sizes = {by: [point.size for point in curve] for by, curve in curves.items()}
    assert sizes == {"patients, local": [7.5, 15, 30], "patients, federated": [30, 60]}
    assert curves["patients, local"][0].sample is points[1].sample
    assert by_fractions(found, "other", patients) == {}


def test_two_sizes_are_no_curve(study: Study) -> None:
    """One hospital, and all three."""
    assert learning_of(Scores(arrange(study(patients=60), "test")), CONFIG).empty
