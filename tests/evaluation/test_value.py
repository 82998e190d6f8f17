from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.evaluation.intervals import interval_of
from fedmammo.evaluation.metrics import metric_named
from fedmammo.evaluation.predictions import Series, arrange
from fedmammo.evaluation.scoring import Place, Scores
from fedmammo.evaluation.value import VALUES, Coalition, last_in, models_of, shapley, values_of
from fedmammo.evaluation.variance import Sample

Study = Callable[..., pd.DataFrame]
CONFIG = EvaluationConfig()
NAMES = ["H0", "H1", "H2"]


def every(names: list[str]) -> list[Coalition]:
    return [frozenset(one) for size in range(1, len(names) + 1) for one in combinations(names, size)]


def made(value: float, influence: np.ndarray) -> Sample:
    """One repeat; the first half of patients is benign."""
    half = len(influence) // 2
    has = np.zeros((2, len(influence)), dtype=bool)
    has[0, :half], has[1, half:] = True, True
    return Sample(np.array([[value]]), (has * influence)[None, None], has, half)


def drawn(seed: int, names: list[str], repeats: int = 1) -> dict[Coalition, Sample]:
    generator = np.random.default_rng(seed)
    has = np.repeat([[True, False], [False, True]], 12, axis=1)
    return {
        one: Sample(
            generator.uniform(0.5, 0.9, (repeats, 1)), generator.normal(0, 0.02, (repeats, 1, 2, 24)) * has, has, 12
        )
        for one in every(names)
    }


def test_three_hospitals_by_hand() -> None:
    """Alone .6 .7 .5, in pairs AB .75, AC .65, BC .7, together .8, nobody .5.

    A: a third of .1 (first), a sixth of .05 after B and of .15 after C, a third of .1 (last): .1. B: .2 / 3 +
    (.15 + .2) / 6 + .15 / 3 = .175. C: 0 + (.05 + 0) / 6 + .05 / 3 = .025. Last in: .1, .15, .05.
    """
    values = dict(zip(every(["A", "B", "C"]), [0.6, 0.7, 0.5, 0.75, 0.65, 0.7, 0.8], strict=True))
    coalitions = {one: made(value, np.zeros(4)) for one, value in values.items()}
    found = {name: sample.values.item() for name, sample in shapley(coalitions, 0.5).items()}
    assert found == pytest.approx({"A": 0.1, "B": 0.175, "C": 0.025})
    gains = {name: sample.values.item() for name, sample in last_in(coalitions).items()}
    assert gains == pytest.approx({"A": 0.1, "B": 0.15, "C": 0.05})


def test_patients_move_it_by_the_same_weights() -> None:
    """One patient moves the model of A and B by .6 and no other: A by a sixth of it, C by minus a third."""
    coalitions = {one: made(0.7, np.zeros(4)) for one in every(["A", "B", "C"])}
    coalitions[frozenset("AB")] = made(0.7, np.array([0.6, 0, 0, 0]))
    found = shapley(coalitions, 0.5)
    assert [found[name].influence[0, 0, 0, 0] for name in "ABC"] == pytest.approx([0.1, 0.1, -0.2])


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 5), st.integers(0, 10_000), st.floats(0, 0.6))
def test_it_is_the_mean_over_orders_of_joining_and_nothing_is_lost(count: int, seed: int, nothing: float) -> None:
    names = [f"h{number}" for number in range(count)]
    coalitions = drawn(seed, names)
    found = shapley(coalitions, nothing)
    values = {frozenset[str](): nothing} | {one: sample.values.item() for one, sample in coalitions.items()}
    orders = list(permutations(names))
    for name in names:
        before = [frozenset(order[: order.index(name)]) for order in orders]
        gains = [values[one | {name}] - values[one] for one in before]
        assert found[name].values.item() == pytest.approx(np.mean(gains))
    whole = coalitions[frozenset(names)]
    assert sum(one.values.item() for one in found.values()) == pytest.approx(whole.values.item() - nothing)
    assert np.sum([one.influence for one in found.values()], axis=0) == pytest.approx(whole.influence)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_twins_are_worth_the_same_and_a_dummy_nothing(seed: int) -> None:
    """Hospitals a and b are swapped in no coalition's score; d adds nothing to anybody."""
    coalitions = drawn(seed, ["a", "b", "c"])
    coalitions[frozenset("b")], coalitions[frozenset("bc")] = coalitions[frozenset("a")], coalitions[frozenset("ac")]
    nobody = made(0.5, np.zeros(24))
    coalitions |= {one | {"d"}: sample for one, sample in coalitions.items()} | {frozenset("d"): nobody}
    found = shapley(coalitions, 0.5)
    assert found["a"].values == pytest.approx(found["b"].values)
    assert found["a"].influence == pytest.approx(found["b"].influence)
    assert found["d"].values == pytest.approx(0) and found["d"].influence == pytest.approx(0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_values_of_a_sum_are_sums_of_values(seed: int) -> None:
    one, other = drawn(seed, ["a", "b", "c"], 3), drawn(seed + 1, ["a", "b", "c"], 3)
    both = {
        name: replace(
            one[name],
            values=one[name].values + other[name].values,
            influence=one[name].influence + other[name].influence,
        )
        for name in one
    }
    first, second, found = shapley(one, 0.5), shapley(other, 0.2), shapley(both, 0.7)
    for name in found:
        assert found[name].values == pytest.approx(first[name].values + second[name].values)
        assert found[name].influence == pytest.approx(first[name].influence + second[name].influence)


def with_coalitions(study: Study, seeds: int = 1, patients: int = 120) -> Scores:
    """A study of three hospitals with a model of every coalition: each scores with as much skill as members."""
    parts = []
    for number, coalition in enumerate(every(NAMES)):
        one = study(arms=("federated",), patients=patients, seeds=seeds, images=1, generator=number)
        better = one["label"] * 0.3 * (len(coalition) + 2 * ("H1" in coalition))
        score = 1 / (1 + np.exp(-(np.log(one["score"] / (1 - one["score"])) + better)))
        parts.append(one.assign(score=score, setting="+".join(sorted(coalition))))
    arranged = arrange(pd.concat(parts), "test")
    called = {one: Series("coalitions", "real", one.setting) for one in arranged.series}
    models = {(called[one], repeat): model for (one, repeat), model in arranged.models.items()}
    return Scores(replace(arranged, series=list(called.values()), models=models))


def renamed(scores: Scores, names: dict[str, Series]) -> Scores:
    """Keep coalitions whose names are told, as series of other arms."""
    called = {Series("coalitions", "real", name): one for name, one in names.items()}
    models = {
        (called[one], repeat): model for (one, repeat), model in scores.predictions.models.items() if one in called
    }
    return Scores(replace(scores.predictions, series=list(called.values()), models=models))


def test_columns_and_rows(study: Study) -> None:
    scores = with_coalitions(study)
    found = values_of(scores, CONFIG)
    assert list(found) == VALUES and len(found) == 2 * 3 * 4
    assert found["tested_at"].unique().tolist() == ["all", *NAMES]
    at_all = found[(found["tested_at"] == "all") & (found["what"] == "shapley")]
    assert at_all["hospital"].tolist() == NAMES
    assert at_all["value"].sum() == pytest.approx(at_all["whole"].iloc[0])
    metric, place = metric_named("auroc", "lesion"), Place()
    series = [Series("coalitions", "real", name) for name in ("H0+H1+H2", "H0+H2")]
    whole, rest = (scores.estimates(place, metric, [one])[one].sample for one in series)
    assert whole is not None and rest is not None
    interval = interval_of(whole - rest, "number")
    second = found[(found["what"] == "last-in") & (found["hospital"] == "H1") & (found["tested_at"] == "all")].iloc[0]
    assert (second["ci_low"], second["ci_high"], second["p"]) == pytest.approx((*interval[:2], interval.p))
    assert at_all["whole"].iloc[0] == pytest.approx(whole.values.item() - 0.5)
    assert ((found["ci_low"] <= found["value"]) & (found["value"] <= found["ci_high"])).all()


def test_a_hospital_stands_above_those_alone_that_it_was_shown_to_exceed(study: Study) -> None:
    found = values_of(with_coalitions(study, patients=600), CONFIG)
    at_all = found[(found["tested_at"] == "all") & (found["what"] == "shapley")].set_index("hospital")
    assert set(at_all.loc["H1", "above"].split(", ")) == {"H0", "H2"}
    assert (at_all.loc[["H0", "H2"], "above"] == "").all()
    little = values_of(with_coalitions(study, patients=60), CONFIG)
    assert (little[little["tested_at"] != "all"]["above"] == "").all()


def test_what_a_model_stands_for(study: Study) -> None:
    scores = with_coalitions(study)
    names = {
        "H0": Series("local", "real", "H0"),
        "H1": Series("local", "real", "H1"),
        "H2": Series("local", "real", "H2"),
        "H0+H1": Series("without_one", "real", "without-H2"),
        "H0+H2": Series("without_one", "real", "without-H1"),
        "H1+H2": Series("without_one", "real", "without-H0"),
        "H0+H1+H2": Series("federated", "real", "all"),
    }
    other = renamed(scores, names)
    assert models_of(other, "real") == {frozenset(name.split("+")): one for name, one in names.items()}
    columns = ["what", "hospital", "tested_at", "value", "ci_low", "ci_high", "p", "above", "note"]
    pd.testing.assert_frame_equal(values_of(other, CONFIG)[columns], values_of(scores, CONFIG)[columns])


def test_without_every_coalition_there_are_last_in_gains_alone(study: Study) -> None:
    names = {
        "H0+H1": Series("without_one", "real", "without-H2"),
        "H1+H2": Series("without_one", "real", "without-H0"),
        "H0+H1+H2": Series("federated", "real", "all"),
    }
    found = values_of(renamed(with_coalitions(study), names), CONFIG)
    assert set(found["what"]) == {"last-in"}
    assert found[found["tested_at"] == "all"]["hospital"].tolist() == ["H0", "H2"]


def test_without_a_model_of_all_nothing_is_said(study: Study) -> None:
    assert values_of(Scores(arrange(study(arms=("local",)), "test")), CONFIG).empty


def test_an_undefined_metric_is_noted(study: Study) -> None:
    """At H2 nobody malignant is tested."""
    predictions = with_coalitions(study).predictions
    images = {
        repeat: replace(shown, label=np.where(shown.hospital == "H2", 0, shown.label))
        for repeat, shown in predictions.images.items()
    }
    found = values_of(Scores(replace(predictions, images=images)), CONFIG)
    here = found[found["tested_at"] == "H2"]
    assert set(here["note"]) == {"nobody malignant tested"} and here["value"].isna().all()
