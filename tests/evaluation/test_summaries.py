"""One hospital's tested patients summed up: the same numbers as from rows, and no cell of few in what is told."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.errors import InputError
from fedmammo.evaluation.disclosure import UNTOLD, step_of
from fedmammo.evaluation.evaluate import evaluate
from fedmammo.evaluation.predictions import Repeat, Series, arrange
from fedmammo.evaluation.scoring import Place, Scores
from fedmammo.evaluation.summaries import SEVERAL, Summary, Told, by_patient, metrics_told, summarize

CONFIG = EvaluationConfig()
Study = Callable[..., pd.DataFrame]
AT_CUTS = {"sensitivity": "specific", "specificity": "specific", "balanced_accuracy": "balanced"}


def scores_of(table: pd.DataFrame, hospital: str = "H0") -> Scores:
    return Scores(arrange(table[table["hospital"] == hospital], "test"))


def told_of(summary: Summary, metric: str, arm: str, against: str = "", value: str = "") -> Told:
    (found,) = [
        one for one in summary.numbers if (one.metric, one.arm, one.against, one.value) == (metric, arm, against, value)
    ]
    return found


def test_without_a_floor_it_is_what_rows_give(study: Study) -> None:
    """Metrics and differences at the hospital, of every arm; the local arm by the hospital's own model."""
    table = study(patients=90, seeds=2)
    table["hospital"] = table["hospital"].where(table["split"] == "test", "H0")  # all set the same cuts
    table = table[(table["split"] == "test") | (table["trained_at"] == "all") | (table["trained_at"] == "H0")]
    everybody, summary = evaluate(table, "test", CONFIG), summarize(scores_of(table), CONFIG)
    results, differences = (
        one[(one["tested_at"] == "H0") & (one["unit"] == "lesion")]
        for one in (everybody.results, everybody.comparisons)
    )
    results = results[(results["seed"] == "all") & results["trained_at"].isin(["all", "H0"])]
    seen = 0
    for metric in (one.name for one in metrics_told(CONFIG)):
        for row in results[results["metric"] == metric].to_dict("records"):
            one = told_of(summary, metric, row["arm"])
            assert one.note or np.mean(one.values) == pytest.approx(row["value"], abs=1e-12)
            assert not one.note or row["note"] == "no interval: none is known for it"
            seen += not one.note
        for row in differences[differences["metric"] == metric].to_dict("records"):
            one = told_of(summary, metric, row["arm"], row["against"])
            assert one.note or np.mean(one.values) == pytest.approx(row["difference"], abs=1e-12)
            seen += not one.note
    assert seen == 6 * (len(metrics_told(CONFIG)) - 1), "but for sensitivity on the curve of so few"
    assert (summary.patients, summary.positives, summary.seeds, summary.note) == (30, 15, (0, 1), "")


def test_with_one_it_is_the_same_but_for_rounding(study: Study) -> None:
    """No value is further from the truth than half a step of its error; variances have two digits."""
    scores = scores_of(study(patients=240, seeds=2))
    exact, rough = (summarize(scores, CONFIG, floor=floor) for floor in (0, 10))
    compared = 0
    for one in rough.numbers:
        truth = told_of(exact, one.metric, one.arm, one.against)
        if not one.note:
            times, power = step_of(truth.variance**0.5)
            assert np.abs(np.array(one.values) - truth.values).max() <= times * 10.0**power / 2 + 1e-12
            assert one.variance == pytest.approx(truth.variance, rel=0.051)
            compared += one.values != truth.values
    assert compared > 20
    assert not told_of(rough, "auroc", "federated", "local").note


def test_fewer_than_the_floor_are_not_told_of(study: Study) -> None:
    """12 patients, 6 of each class."""
    scores = scores_of(study(patients=36))
    told = summarize(scores, CONFIG, floor=7)
    assert (told.patients, told.positives, told.numbers, told.bins, told.note) == (0, 0, (), (), UNTOLD)
    assert summarize(scores, CONFIG, floor=6).patients == 12


def test_patients_of_several_values_are_a_value_of_their_own(study: Study) -> None:
    """So that subgroups add up: two images of density 1 and 2 are neither."""
    table = study(patients=30)
    table["density"] = np.where(table["patient"].isin(["p0000", "p0003"]), table.groupby("patient").cumcount() % 2, 3)
    table["density"] = table["density"].astype(str)
    shown = by_patient(scores_of(table), "density").predictions.images[Repeat(0, 0)]
    assert shown.about["density"].value_counts().to_dict() == {SEVERAL: 4, "3": 16}


def test_a_subgroup_of_few_takes_another_one_with_it(study: Study) -> None:
    """Of 120 patients densities 1 to 3 have 36 each, 4 has 12, six of each class: 3 is as large as 1 and 2."""
    table = study(patients=360)
    number = table["patient"].str[1:].astype(int) // 3
    table["density"] = np.where(number % 20 < 18, number % 6 // 2 + 1, 4).astype(str)
    summary = summarize(scores_of(table), CONFIG, floor=10)
    assert [(one.value, one.patients, one.positives) for one in summary.subgroups] == [("2", 36, 18), ("3", 36, 18)]
    assert {one.value for one in summary.numbers} == {"", "2", "3"}
    whole = summarize(scores_of(table), CONFIG)
    assert [one.value for one in whole.subgroups] == ["1", "2", "3", "4"]
    assert sum(one.patients for one in whole.subgroups) == whole.patients == 120


def test_patients_of_other_draws_are_not_summed_up(study: Study) -> None:
    table = study(patients=30)
    other = table.assign(draw=1, hospital=table["hospital"].map({"H0": "H1", "H1": "H0", "H2": "H2"}))
    other = other[other["arm"] != "local"]
    both = pd.concat([table[table["arm"] != "local"], other])
    with pytest.raises(InputError, match="draws deal other patients"):
        summarize(scores_of(both), CONFIG)


@given(st.data())
@settings(max_examples=30)
def test_no_cell_of_few_is_told(study: Study, data: st.DataObject) -> None:
    """As somebody counts who knows all: patients by class, in subgroups and what they leave, around every cut."""
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    floor = data.draw(st.integers(1, 12))
    table = study(hospitals=1, patients=data.draw(st.integers(8, 90)), images=2, seeds=1, generator=floor)
    malignant = {name: int(generator.random() < 0.4) for name in table["patient"].unique()}
    table["label"] = table["patient"].map(malignant)
    table["score"] = np.round(
        generator.beta(2, 2, len(table)) * 0.8 + 0.2 * table["label"], data.draw(st.integers(1, 3))
    )
    values = {name: str(generator.integers(1, 4)) for name in malignant}
    table["density"] = table["patient"].map(values)
    table["lesion"] = np.where(generator.random(len(table)) < 0.3, table["image"], table["lesion"])
    table["lesion"] = table.groupby("image")["lesion"].transform("first")
    test = table[table["split"] == "test"]
    if test["label"].nunique() < 2:
        return
    scores = scores_of(table)
    summary = summarize(scores, CONFIG, floor=floor)
    classes = pd.Series(malignant)[test["patient"].unique()]
    if summary.note:
        assert min((classes == 0).sum(), (classes == 1).sum()) < floor
        assert not summary.numbers and not summary.patients
        return
    told = {(summary.positives, summary.patients - summary.positives)}
    told |= {(one.positives, one.patients - one.positives) for one in summary.subgroups}
    left = [summary.positives, summary.patients - summary.positives]
    for one in summary.subgroups:
        left = [left[0] - one.positives, left[1] - (one.patients - one.positives)]
    if summary.subgroups and any(left):
        told |= {(left[0], left[1])}
    assert min(min(counts) for counts in told) >= floor
    for arm in ("federated", "centralized"):
        check_cuts(scores, summary, arm, floor)


def check_cuts(scores: Scores, summary: Summary, arm: str, floor: int) -> None:
    """Between any two cuts at which something is told there are enough patients of each class."""
    metric = metrics_told(CONFIG)[0]
    tested = scores.tested(Place("H0"), metric, Series(arm, "real", "all"), Repeat(0, 0))
    cuts = [one.score_low for one in summary.bins if one.arm == arm and one.score_low]
    assert cuts == sorted(cuts, reverse=True)
    for name, kind in AT_CUTS.items():
        if not told_of(summary, name, arm).note:
            cuts.append(float(getattr(tested, kind)[0]))
    edges = [-np.inf, *sorted(cuts), np.inf]
    for low, high in pairwise(edges):
        inside = (tested.score > low) & (tested.score <= high)
        counts = [len(set(tested.patient[inside & (tested.label == label)])) for label in (0, 1)]
        assert min(counts) >= floor or counts == [0, 0]
