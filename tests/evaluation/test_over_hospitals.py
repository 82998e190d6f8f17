"""Tables of a study whose hospitals keep their tested patients: the same means as from rows, and what is undefined."""

from collections.abc import Callable
from typing import cast

import pandas as pd
import pytest

from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.evaluation.evaluate import evaluate
from fedmammo.evaluation.heterogeneity import HETEROGENEITY
from fedmammo.evaluation.over_hospitals import AT_HOME, OverHospitals, over_hospitals
from fedmammo.evaluation.predictions import arrange
from fedmammo.evaluation.random_effects import fit
from fedmammo.evaluation.scoring import Scores
from fedmammo.evaluation.summaries import Summary, summarize
from fedmammo.evaluation.tables import COMPARISONS, RESULTS
from fedmammo.evaluation.verdicts import VERDICTS

MEAN = "mean over hospitals"
CONFIG = EvaluationConfig.model_validate({"primary": {"setting": "real"}})
Study = Callable[..., pd.DataFrame]
NUMBERS = ["estimate", "ci_low", "ci_high", "p", "weight", "tau", "i2", "q", "hospitals", "left_out", "patients"]


def summed(table: pd.DataFrame, floor: int = 0) -> dict[str, Summary]:
    rows = table.groupby("hospital")
    return {str(name): summarize(Scores(arrange(own, "test")), CONFIG, floor=floor) for name, own in rows}


def nothing(note: str) -> Summary:
    return Summary(split="test", seeds=(0,), draws=(0,), folds=1, note=note)


@pytest.mark.parametrize("seeds", [1, 3])
def test_random_effects_are_those_of_rows(study: Study, seeds: int) -> None:
    """To the last digits without a floor, and with a floor of one patient up to rounding."""
    table = study(hospitals=4, patients=240, seeds=seeds)
    table = table[(table["hospital"] != "H1") | (table["patient"] < "p0200")]  # the slope by size is told, too
    of_rows = evaluate(table, "test", CONFIG).heterogeneity
    assert (of_rows["what"] == "mean").sum() == 2 and of_rows.loc[of_rows["what"] == "mean", "ci_low"].notna().all()
    for floor, tolerance in ((0, 1e-12), (1, 0.15)):
        found = over_hospitals(summed(table, floor), CONFIG).heterogeneity
        assert list(found) == HETEROGENEITY
        same = ["arm", "against", "what", "about", "note", "repeats"]
        pd.testing.assert_frame_equal(found[same], of_rows[same])
        scale = of_rows["ci_high"] - of_rows["ci_low"]
        for key in NUMBERS[:3]:
            apart = (found[key] - of_rows[key]).abs() / scale
            assert (apart[scale.notna()] <= tolerance).all() and apart.notna().sum() == scale.notna().sum(), key
        if not floor:
            pd.testing.assert_frame_equal(found[NUMBERS].astype(float), of_rows[NUMBERS].astype(float), rtol=1e-9)


@pytest.fixture
def mixed(study: Study) -> OverHospitals:
    """Four hospitals of 60 patients: rows, twice summaries, and one that tells nothing."""
    table = study(hospitals=4, patients=240, seeds=1)
    found = summed(table, 10)
    return over_hospitals(found | {"H0": summed(table)["H0"], "H3": nothing("tells nothing")}, CONFIG)


def test_the_primary_comparison_is_the_mean_over_hospitals(mixed: OverHospitals) -> None:
    """By hand: random effects of the three differences; one is left out, and said so."""
    assert list(mixed.comparisons) == COMPARISONS and list(mixed.verdicts) == VERDICTS
    primary = mixed.comparisons[mixed.comparisons["role"] == "primary"]
    own = mixed.comparisons[mixed.comparisons["role"] == "primary at a hospital"].set_index("tested_at")
    assert list(primary["tested_at"]) == [MEAN] and list(own.index) == ["H0", "H1", "H2", "H3"]
    told = own.loc[["H0", "H1", "H2"]]
    by_hand = fit(told["difference"].to_numpy(float), told["error"].to_numpy(float) ** 2)
    row = primary.iloc[0]
    assert row["difference"] == pytest.approx(by_hand.estimates[0], rel=1e-9)
    assert row["error"] == pytest.approx(by_hand.errors[0], rel=1e-9)
    assert row["note"] == "random-effects mean over 3 hospitals; 1 left out: tells nothing"
    assert (row["patients"], row["positives"]) == (180, 90)
    assert own.loc["H3", "note"] == "tells nothing" and own.loc["H3"].isna()[["difference", "patients"]].all()
    assert own["p_holm"].notna().sum() == 3


def test_all_patients_together_are_undefined_and_said_to_be(mixed: OverHospitals) -> None:
    for table, value in ((mixed.results, "value"), (mixed.comparisons, "difference")):
        rows = table[table["tested_at"] == "all"]
        assert len(rows) and rows[value].isna().all() and set(rows["note"]) == {AT_HOME}
    assert list(mixed.results) == RESULTS
    mean = mixed.results[(mixed.results["tested_at"] == MEAN) & (mixed.results["metric"] == "auroc")]
    assert list(mean["arm"]) == ["centralized", "local", "federated"] and (mean["ci_low"] < mean["value"]).all()
    assert set(mean["note"]) == {"random-effects mean over 3 hospitals; 1 left out: tells nothing"}


def test_the_verdict_says_which_kind_it_is(mixed: OverHospitals) -> None:
    first, last = mixed.verdicts.iloc[0], mixed.verdicts.iloc[-1]
    assert str(first["sentence"]).startswith("random-effects mean over 3 hospitals: ")
    assert "local models, each at its own hospital" in str(first["sentence"])
    assert str(first["sentence"]).endswith("180 patients, 90 with a malignant lesion; 1 left out: tells nothing.")
    assert first["varies"] == "hospitals, patients tested" and pd.isna(first["patients_needed"])
    assert last["sentence"] == "H3: not assessable: tells nothing."


def test_fewer_than_three_hospitals_have_no_mean(study: Study) -> None:
    table = study(hospitals=4, patients=240, seeds=1)
    told = summed(table) | {name: nothing("too few") for name in ("H2", "H3")}
    found = over_hospitals(told, CONFIG)
    row = found.comparisons[found.comparisons["role"] == "primary"].iloc[0]
    assert row["note"] == "no interval: fewer than 3 hospitals; 2 left out: too few" and pd.isna(row["difference"])
    assert found.verdicts.iloc[0]["sentence"] == (
        "mean over hospitals: not assessable (120 patients, 60 with a malignant lesion): fewer than 3 hospitals; "
        "2 left out: too few."
    )


def test_where_nobody_tells_anything_it_is_said_of_each(study: Study) -> None:
    found = over_hospitals({name: nothing("not told") for name in ("A", "B")}, CONFIG)
    assert list(found.verdicts["tested_at"]) == [MEAN, "A", "B"]
    assert set(found.verdicts["verdict"]) == {"not assessable"} and found.results.empty and found.hospital_bins.empty


def test_subgroups_are_means_over_hospitals(study: Study) -> None:
    """Density 1 is told of everywhere, 2 at two hospitals alone."""
    table = study(hospitals=3, patients=360, seeds=1)
    number = table["patient"].str[1:].astype(int) // 3
    table["density"] = ((number % 4 >= 2) & (table["hospital"] != "H2")).map({False: "1", True: "2"})
    found = over_hospitals(summed(table, 10), CONFIG).subgroups.set_index(["value", "arm"])
    one, two = (cast(pd.Series, found.loc[(value, "federated - local")]) for value in ("1", "2"))
    assert one["patients"] == 240 and one["ci_low"] < one["estimate"] < one["ci_high"]
    assert pd.isna(two["estimate"]) and two["note"].startswith("no interval: fewer than 3 hospitals; 1 left out")
