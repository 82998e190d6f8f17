from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.evaluation.curves import (
    CALIBRATION,
    DECISION_CURVE,
    FEWEST_IN_BIN,
    PRECISION_RECALL,
    RATES,
    RECALLS,
    ROC,
    calibration,
    decision_curve,
    precision_recall,
    roc,
)
from fedmammo.evaluation.evaluate import evaluate
from fedmammo.evaluation.predictions import arrange
from fedmammo.evaluation.scoring import Scores
from fedmammo.evaluation.tested import ratio

Study = Callable[..., pd.DataFrame]
CONFIG = EvaluationConfig()
ARMS = {"centralized", "local", "federated"}


def scores_of(table: pd.DataFrame) -> Scores:
    return Scores(arrange(table, "test"))


@pytest.fixture(scope="module")
def table(study: Study) -> pd.DataFrame:
    """60 patients, 3 seeds, read by somebody who is lucky at times."""
    made = study(patients=60, seeds=3)
    luck = np.random.default_rng(0).integers(0, 3, 60)[made["patient"].str[1:].astype(int)]
    return made.assign(assessment=(1 + made["label"] + luck).astype(str))


@pytest.fixture(scope="module")
def scores(table: pd.DataFrame) -> Scores:
    """Of the same."""
    return scores_of(table)


def test_a_row_for_each_arm_and_point(scores: Scores) -> None:
    for made, columns, points in ((roc, ROC, RATES), (precision_recall, PRECISION_RECALL, RECALLS)):
        found = made(scores, CONFIG)
        assert list(found) == columns and set(found["arm"]) == {*ARMS}
        assert len(found) == 3 * len(points) and found[columns[2]].tolist() == [*points] * 3
        assert set(found["unit"]) == {"lesion"} and set(found["patients"]) == {60} and set(found["positives"]) == {30}
        told = found.dropna(subset="ci_low")
        assert ((told["ci_low"] <= told[columns[3]]) & (told[columns[3]] <= told["ci_high"])).all() and len(told) > 40
        assert set(found.loc[found["ci_low"].isna(), "note"]) <= {
            "no interval: none is known for it",
            "no interval: nothing varies",
            "no interval: at its end",
        }
    curve = roc(scores, CONFIG)
    assert (curve.groupby("arm")["sensitivity"].diff().dropna() >= 0).all()
    ends = curve[curve["false_positive_rate"].isin([0, 1])]
    assert ends["ci_low"].isna().all() and set(ends.loc[ends["false_positive_rate"] == 1, "sensitivity"]) == {1.0}


def test_the_metric_is_a_point_of_the_curve(table: pd.DataFrame, scores: Scores) -> None:
    """Value and interval at 90 % specificity, of the local arm's mean over models too."""
    point = roc(scores, CONFIG).query("false_positive_rate == 0.1")
    place = "metric == 'sensitivity_at_90_specificity' and seed == 'all' and trained_at == 'all' and tested_at == 'all'"
    metric = evaluate(table, "test", CONFIG).results.query(place)
    key = {"sensitivity": "value"}
    assert len(metric) == 3
    pd.testing.assert_frame_equal(
        point.rename(columns=key)[["arm", "value", "ci_low", "ci_high", "note"]].reset_index(drop=True),
        metric[["arm", "value", "ci_low", "ci_high", "note"]].reset_index(drop=True),
    )


def test_a_curve_is_drawn_where_its_points_can_have_no_interval(study: Study) -> None:
    """Six folds with five patients of each class: too few for the metric; the curve has values all the same."""
    few = scores_of(study(patients=60, folds=6, hospitals=1, seeds=1, arms=("centralized",)))
    for made in (roc, precision_recall):
        found = made(few, CONFIG)
        assert found.iloc[:, 3].notna().all()
        assert found.loc[(found.iloc[:, 2] - 0.5).abs() > 0.1, "ci_low"].isna().all()


@pytest.mark.parametrize("made", [roc, precision_recall, calibration, decision_curve])
def test_nobody_malignant(study: Study, made: Callable[[Scores, EvaluationConfig], pd.DataFrame]) -> None:
    """Undefined rows say why; bins have a share of 0."""
    table = study(patients=60, seeds=1)
    found = made(scores_of(table[(table["label"] == 0) | (table["split"] != "test")]), CONFIG)
    assert len(found) and found["ci_low"].isna().all() and (found["note"] != "").all()
    if made is calibration:
        assert set(found["observed"]) == {0.0}
    else:
        assert found.iloc[:, 4 if made is decision_curve else 3].isna().all()


def test_bins_by_hand(study: Study) -> None:
    """One lesion, one image each: 40 patients score .25, half of them malignant, 12 benign ones .8, and 8 ill ones .95.

    The interval of .5 is that of a ratio's influence; a share of 0 has none, and neither has a bin of eight.
    """
    table = study(patients=60, seeds=1, images=1, hospitals=1, arms=("federated",))
    number = table["patient"].str[1:].astype(int)
    score = np.where(number < 40, 0.25, np.where(table["label"] == 1, 0.95, 0.8))
    gone = (table["split"] == "test") & (((number >= 56) & (table["label"] == 1)) | (number >= 64))
    found = calibration(scores_of(table.assign(score=score)[~gone]), CONFIG)
    assert list(found) == CALIBRATION and found["bin_low"].tolist() == [0.2, 0.8, 0.9]
    assert found["bin_high"].tolist() == pytest.approx([0.3, 0.9, 1.0])
    assert found["predicted"].tolist() == pytest.approx([0.25, 0.8, 0.95])
    assert found["observed"].tolist() == [0.5, 0.0, 1.0]
    counts = found[["units", "patients", "positives"]].to_numpy().tolist()
    assert counts == [[40, 40, 20], [10, 10, 0], [8, 8, 8]]
    assert found["note"].tolist() == [
        "cautious",
        "no interval: nothing varies",
        f"no interval: fewer than {FEWEST_IN_BIN} patients in the bin",
    ]
    inside = np.repeat([1.0, 0.0], [40, 18])
    expected = ratio(inside * np.tile([0, 1], 29), inside)
    error = np.sqrt((expected.influence**2).sum())
    assert found["ci_high"][0] == pytest.approx(1 / (1 + np.exp(-2 * error / 0.25)), abs=0.01)  # t near 2


def test_a_bin_that_is_empty_in_a_repeat_counts_what_others_hold(study: Study) -> None:
    """Seed 0 gives all 60 patients .25, seed 1 gives .25 to malignant ones alone and .95 to the others, seed 2 is as 0.

    In the bin from .2 are 60, 30 and 60 patients, 30 of them malignant each time: 90 of 150; in the last 30, all of
    seed 1, and none of them is.
    """
    table = study(patients=60, seeds=3, hospitals=1, arms=("federated",))
    table["score"] = np.where((table["seed"] == 1) & (table["label"] == 0), 0.95, 0.25)
    found = calibration(scores_of(table), CONFIG)
    assert found["observed"].tolist() == pytest.approx([90 / 150, 0])
    assert found[["units", "patients", "positives"]].to_numpy().tolist() == [[50, 50, 30], [10, 10, 0]]
    assert found["ci_low"][0] < 0.6 < found["ci_high"][0] and np.isnan(found["ci_low"][1])


def test_the_local_arms_bins_hold_what_any_of_its_models_say(study: Study) -> None:
    """Two models, one says .05 of all 40 patients, the other .95: half the units in each bin, and all patients."""
    table = study(patients=40, seeds=1, hospitals=2, arms=("local",))
    table["score"] = np.where(table["trained_at"] == "H0", 0.05, 0.95)
    found = calibration(scores_of(table), CONFIG)
    assert found["predicted"].tolist() == pytest.approx([0.05, 0.95]) and found["observed"].tolist() == [0.5, 0.5]
    assert found["units"].tolist() == [20, 20] and found["ci_low"].notna().all()


def test_what_acting_is_worth(scores: Scores) -> None:
    """Acting on everybody at half malignant: .5 - .5 t / (1 - t); at a declared prevalence .1: .1 - .9 t / (1 - t)."""
    table = decision_curve(scores, EvaluationConfig(thresholds=[0.2, 0.5]))
    assert list(table) == DECISION_CURVE and set(table["arm"]) == ARMS
    at = table.drop_duplicates("threshold").set_index("threshold")
    assert at["treat_all"].tolist() == pytest.approx([0.375, 0.0]) and set(table["prevalence"]) == {0.5}
    declared = decision_curve(scores, EvaluationConfig(thresholds=[0.05], prevalence=0.1))
    assert declared["treat_all"].tolist() == pytest.approx([0.1 - 0.9 / 19] * 3)
    assert (declared["net_benefit"] <= 0.1).all()
    shown = table.dropna(subset="ci_low")
    assert len(shown) and ((shown["ci_low"] <= shown["net_benefit"]) & (shown["net_benefit"] <= shown["ci_high"])).all()


def test_points_are_shares_in_order() -> None:
    assert RATES[0] == 0 and RATES[-1] == RECALLS[-1] == 1 and RECALLS[0] > 0
    assert [*RATES] == sorted(set(RATES)) and [*RECALLS] == sorted(set(RECALLS))
    assert 20 <= len(RATES) <= 25 and 0.1 in RATES
