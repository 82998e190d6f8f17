from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedmammo.evaluation.metrics import METRICS
from fedmammo.evaluation.predictions import Series
from fedmammo.evaluation.scoring import score
from fedmammo.evaluation.statistics import holm, p_value
from fedmammo.evaluation.tables import compare_runs, comparisons_table, evaluate, results_table

Study = Callable[..., pd.DataFrame]
PAIRS = [("federated", "local"), ("federated", "centralized"), ("centralized", "local")]


def tables(predictions: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    return evaluate(predictions, test_split="test", resamples=200)


@pytest.fixture(scope="module")
def plain(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables of the default study."""
    return tables(study())


def test_columns_and_rows(plain: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """Models: 1 centralised, 3 local, 1 federated, tested at 4 places, and the local summary at 1: 21 places.

    Times 8 metrics, times 2 seeds and `all`. Comparisons: 8 metrics, 3 pairs, 4 places.
    """
    results, comparisons = plain
    assert ",".join(results) == (
        "arm,setting,seed,draw,trained_at,tested_at,split,metric,value,ci_low,ci_high,patients,images,prevalence,"
        "epsilon,delta,end_to_end,note"
    )
    columns = "metric,arm,against,setting,against_setting,tested_at,difference,ci_low,ci_high,at_least,p"
    assert ",".join(comparisons) == columns
    assert len(results) == 21 * len(METRICS) * 3
    assert len(comparisons) == len(METRICS) * len(PAIRS) * 4
    assert list(results["arm"].unique()) == ["centralized", "local", "federated"]
    assert list(results["seed"].unique()) == ["0", "1", "all"]
    local = results[results["arm"] == "local"]
    assert list(local["trained_at"].unique()) == ["all", "H0", "H1", "H2"]
    assert list(local["tested_at"][local["trained_at"] == "all"].unique()) == ["all"]
    assert set(results["split"]) == {"test"} and results[["epsilon", "delta"]].isna().all(axis=None)
    assert not results.duplicated(["arm", "setting", "seed", "trained_at", "tested_at", "metric"]).any()


def test_intervals_only_over_all_seeds_and_around_the_value(study: Study) -> None:
    results, _ = tables(study(patients=60))
    single = results[results["seed"] != "all"]
    assert single[["ci_low", "ci_high"]].isna().all(axis=None) and single["value"].notna().all()
    mean = results[(results["seed"] == "all") & (results["metric"] == "auroc")]
    assert ((mean["ci_low"] <= mean["value"]) & (mean["value"] <= mean["ci_high"])).all()


def test_who_was_tested(plain: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """24 patients with 2 images over 3 hospitals, every second patient of a hospital malignant."""
    results, _ = plain
    at_all = results[results["tested_at"] == "all"]
    at_one = results[results["tested_at"] == "H2"]
    assert set(at_all["patients"]) == {24} and set(at_all["images"]) == {48}
    assert set(at_one["patients"]) == {8} and set(at_one["images"]) == {16}
    assert set(results["prevalence"]) == {0.5}


def test_the_tables_agree_with_each_other_and_with_themselves(
    study: Study, plain: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    predictions = study()
    results, comparisons = plain
    pd.testing.assert_frame_equal(results, results_table(predictions, test_split="test", resamples=200))
    pd.testing.assert_frame_equal(comparisons, comparisons_table(predictions, test_split="test", resamples=200))
    means = results[results["seed"] == "all"].set_index(["arm", "trained_at", "tested_at", "metric"])["value"]
    for row in comparisons.itertuples():
        arm, against = (
            means[one, row.tested_at if one == "local" else "all", row.tested_at, row.metric]
            for one in (row.arm, row.against)
        )
        assert row.difference == pytest.approx(arm - against, abs=1e-12)


def test_a_csv_reads_back_as_it_was(plain: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path) -> None:
    results, _ = plain
    results.to_csv(tmp_path / "results.csv", index=False)
    again = pd.read_csv(tmp_path / "results.csv", keep_default_na=False, na_values={"value": [""]})
    assert again["seed"].tolist() == results["seed"].tolist()
    assert again["value"].tolist() == results["value"].tolist()


def test_identical_arms_do_not_differ(study: Study) -> None:
    """Federated and every local model score as the centralised one: differences 0, intervals 0, p 1."""
    one = study(arms=("centralized",))
    hospitals = one["hospital"].unique()
    local = [
        one.assign(arm="local", trained_at=own, hospital=one["hospital"].where(one["split"] == "test", own))
        for own in hospitals
    ]
    _, comparisons = tables(pd.concat([one, one.assign(arm="federated"), *local]))
    assert len(comparisons) == len(METRICS) * 3 * 4
    assert (comparisons[["difference", "ci_low", "ci_high"]] == 0).all(axis=None)
    assert (comparisons["p"] == 1).all()


def test_a_clear_difference_is_found_with_its_sign(study: Study) -> None:
    """Federated scores are the labels softened, local ones are noise: joining buys every hospital AUROC."""
    table = study(patients=90)
    better = np.where(table["label"] == 1, 0.9, 0.1) + np.linspace(-0.05, 0.05, len(table))
    table["score"] = np.where(table["arm"] == "federated", better, table["score"])
    noise = np.random.default_rng(0).random(len(table))
    table["score"] = np.where(table["arm"] == "local", noise, table["score"])
    _, comparisons = tables(table)
    found = comparisons[(comparisons["metric"] == "auroc") & (comparisons["against"] == "local")]
    found = found[found["arm"] == "federated"]
    assert (found["ci_low"] > 0).all() and (found["p"] < 0.05).all()
    brier = comparisons[(comparisons["metric"] == "brier") & (comparisons["arm"] == "federated")]
    assert (brier["ci_high"] < 0).all()


def test_holm_over_hospitals_and_not_over_all(study: Study) -> None:
    """The raw p come from the resamples themselves; only those of the three hospitals are adjusted."""
    table = study(patients=60)
    _, comparisons = tables(table)
    chosen = (comparisons["metric"] == "auroc") & (comparisons["arm"] == "federated")
    family = comparisons[chosen & (comparisons["against"] == "centralized")].set_index("tested_at")["p"]
    estimates = score(table, test_split="test", resamples=200).estimates
    raw = {}
    for place in ("all", "H0", "H1", "H2"):
        federated, centralized = (
            estimates[Series(arm, "real", "all"), place, "auroc"].resampled for arm in ("federated", "centralized")
        )
        raw[place] = p_value(federated - centralized)
    adjusted = holm(np.array([raw["H0"], raw["H1"], raw["H2"]]))
    assert family[["H0", "H1", "H2"]].tolist() == pytest.approx(adjusted.tolist())
    assert family["all"] == pytest.approx(raw["all"])
    assert adjusted.tolist() != [raw["H0"], raw["H1"], raw["H2"]]


def test_a_hospital_with_one_class_stays_empty_with_a_reason(study: Study) -> None:
    """H1's test patients are all benign: its AUROC is empty, its p too, and Holm counts two hospitals."""
    table = study()
    benign = ~((table["hospital"] == "H1") & (table["split"] == "test") & (table["label"] == 1))
    results, comparisons = tables(table[benign])
    at_h1 = results[results["tested_at"] == "H1"].set_index(["arm", "seed", "trained_at", "metric"])
    empty = at_h1.loc[("centralized", "all", "all", "auroc")]
    assert np.isnan(empty["value"]) and np.isnan(empty["ci_low"]) and empty["note"] == "no malignant image tested"
    assert empty["prevalence"] == 0
    assert at_h1.loc[("centralized", "all", "all", "brier"), "value"] > 0
    family = comparisons[(comparisons["metric"] == "auroc") & (comparisons["arm"] == "centralized")]
    family = family.set_index("tested_at")
    assert family.loc["H1", ["difference", "ci_low", "ci_high", "p"]].isna().all()
    assert family.loc[["all", "H0", "H2"], "p"].between(0, 1).all()


def test_only_the_arms_that_were_run(study: Study) -> None:
    _, comparisons = tables(study(arms=("federated", "centralized")))
    assert set(zip(comparisons["arm"], comparisons["against"], strict=True)) == {("federated", "centralized")}
    results, none = tables(study(arms=("local",)))
    assert len(none) == 0 and list(none)[-1] == "p" and set(results["arm"]) == {"local"}


def test_settings_are_compared_within_an_arm(study: Study) -> None:
    """Each of an arm's settings minus `real`, local at a hospital its own model; arms only within a setting.

    Values are those of results.csv: at `all` the local arm's is its summary there.
    """
    settings = ("pretrained", "real", "synthetic")
    table = pd.concat([study(seeds=1, generator=at).assign(setting=one) for at, one in enumerate(settings)])
    results, comparisons = tables(table)
    means = results[results["seed"] == "all"].set_index(["arm", "setting", "trained_at", "tested_at", "metric"])[
        "value"
    ]
    arms = comparisons["arm"] == comparisons["against"]
    assert (comparisons.loc[~arms, "setting"] == comparisons.loc[~arms, "against_setting"]).all()
    within = comparisons[arms]
    assert set(within["setting"]) == {"pretrained", "synthetic"} and set(within["against_setting"]) == {"real"}
    assert len(within) == len(METRICS) * 3 * 2 * 4
    for row in within.itertuples():
        trained_at = row.tested_at if row.arm == "local" else "all"
        one, real = (
            means[row.arm, which, trained_at, row.tested_at, row.metric] for which in (row.setting, row.against_setting)
        )
        assert row.difference == pytest.approx(one - real, abs=1e-12)


def test_another_cohort_whose_hospitals_trained_nothing(study: Study) -> None:
    """Scored elsewhere, a local model has no hospital of its own: only the rows at `all` compare with local."""
    table = study()
    table.loc[table["split"] == "test", "hospital"] = "elsewhere"
    results, comparisons = tables(table)
    assert list(results["tested_at"].unique()) == ["all", "elsewhere"]
    against_local = comparisons[comparisons["against"] == "local"]
    assert set(against_local["tested_at"]) == {"all"}
    assert set(comparisons["tested_at"]) == {"all", "elsewhere"}


def test_folds_of_a_small_cohort(study: Study) -> None:
    results, _ = tables(study(folds=2, patients=48))
    assert set(results["patients"][results["tested_at"] == "all"]) == {48}
    assert (results["note"][(results["metric"] == "brier")] == "").all()


def test_hospitals_drawn_anew(study: Study) -> None:
    """Two draws that hold the same patients elsewhere: H0's value is the mean over its patients in either draw.

    The second draw moves every patient one hospital on; models and scores stay, so that at `all` nothing changes.
    """
    once = study(hospitals=2, patients=16, seeds=1, arms=("centralized",))
    moved = once.assign(draw=1, hospital=once["hospital"].map({"H0": "H1", "H1": "H0"}))
    results = results_table(pd.concat([once, moved]), test_split="test", resamples=100)
    auroc = results[results["metric"] == "auroc"].set_index(["draw", "tested_at"])["value"]
    assert list(results["draw"].unique()) == ["0", "1", "all"]
    assert auroc["0", "H0"] == auroc["1", "H1"] != auroc["0", "H1"]
    assert auroc["all", "H0"] == pytest.approx((auroc["0", "H0"] + auroc["1", "H0"]) / 2, abs=1e-12)
    assert auroc["all", "all"] == auroc["0", "all"]
    assert set(results["patients"]) == {16, 8}


def test_two_runs_are_compared_on_the_hospitals_of_the_first(study: Study) -> None:
    """The other run dealt the same patients to other hospitals, and kept other ones for validation; each difference is
    that of the two auroc values.
    """
    first = study(hospitals=2, patients=16, seeds=2)
    other = study(hospitals=2, patients=16, seeds=2, generator=1)
    moved = other.assign(hospital="elsewhere", patient=other["patient"].str.replace("v", "w"))
    table = compare_runs(first, moved, test_split="test", resamples=100)
    assert set(table["arm"]) == {"centralized", "federated"} and set(table["tested_at"]) == {"all", "H0", "H1"}
    values = [
        results_table(run, test_split="test", resamples=100)
        .query("arm == 'federated' and seed == 'all' and trained_at == 'all'")
        .set_index(["tested_at", "metric"])["value"]
        for run in (first, other)
    ]
    expected = (values[0] - values[1]).dropna()
    found = table[table["arm"] == "federated"].set_index(["tested_at", "metric"])["difference"]
    pd.testing.assert_series_equal(found.dropna().sort_index(), expected.sort_index(), check_names=False)


def test_a_run_does_not_differ_from_itself(study: Study) -> None:
    table = compare_runs(study(), study(), test_split="test", resamples=100)
    defined = table.dropna()
    assert len(defined) > 20
    assert (defined[["difference", "ci_low", "ci_high"]] == 0).all(axis=None) and (defined["p"] == 1).all()
