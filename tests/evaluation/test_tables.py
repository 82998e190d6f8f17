from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.evaluation.evaluate import Evaluation, Recipes, evaluate
from fedmammo.evaluation.intervals import FEWEST_PATIENTS, holm
from fedmammo.evaluation.metrics import metrics_of
from fedmammo.evaluation.tables import COMPARISONS, RESULTS

Study = Callable[..., pd.DataFrame]
PAIRS = [("federated", "local"), ("federated", "centralized"), ("centralized", "local")]
METRICS = len(metrics_of("lesion"))


def tables(predictions: pd.DataFrame, recipes: Recipes | None = None, **keys: object) -> Evaluation:
    return evaluate(predictions, "test", EvaluationConfig.model_validate(keys), recipes)


def of_lesions(table: pd.DataFrame, metric: str = "auroc") -> pd.DataFrame:
    return table[(table["metric"] == metric) & (table["unit"] == "lesion")]


@pytest.fixture(scope="module")
def plain(study: Study) -> Evaluation:
    """All tables of a study of 60 patients at three hospitals."""
    return tables(study(patients=60, seeds=3))


def test_columns_and_rows(plain: Evaluation) -> None:
    """Models: 1 centralised, 3 local, 1 federated. At `all` each and the local summary have all metrics: 6. At a
    hospital centralised, federated and its own have all, the two others AUROC (of four units) alone.

    Times 3 seeds and `all`. Comparisons: all metrics, 3 pairs, 4 places.
    """
    assert list(plain.results) == RESULTS and list(plain.comparisons) == COMPARISONS
    assert len(plain.results) == (6 * METRICS + 3 * (3 * METRICS + 2 * 4)) * 4
    assert len(plain.comparisons) == METRICS * len(PAIRS) * 4
    assert list(plain.results["arm"].unique()) == ["centralized", "local", "federated"]
    assert list(plain.results["seed"].unique()) == ["0", "1", "2", "all"]
    local = plain.results[plain.results["arm"] == "local"]
    assert list(local["trained_at"].unique()) == ["all", "H0", "H1", "H2"]
    assert list(local["tested_at"][local["trained_at"] == "all"].unique()) == ["all"]
    key = ["arm", "setting", "seed", "trained_at", "tested_at", "unit", "metric"]
    assert not plain.results.duplicated(key).any()


def test_intervals_only_over_all_seeds_and_around_the_value(plain: Evaluation) -> None:
    results = plain.results
    assert results.loc[results["seed"] != "all", ["ci_low", "ci_high", "median"]].isna().all(axis=None)
    mean = of_lesions(results[results["seed"] == "all"])
    assert ((mean["ci_low"] <= mean["value"]) & (mean["value"] <= mean["ci_high"])).sum() == len(mean)
    assert set(mean["repeats"]) == {3}


def test_who_was_tested(plain: Evaluation) -> None:
    """60 patients with 2 images of one lesion over 3 hospitals, every second patient of a hospital malignant."""
    results = plain.results
    at_all, at_one = (results[results["tested_at"] == place] for place in ("all", "H2"))
    assert set(at_all["patients"]) == {60} and set(at_all["positives"]) == {30}
    assert set(at_one["patients"]) == {20} and set(at_one["positives"]) == {10}
    units = at_all.groupby("unit")["units"].unique().map(list).to_dict()
    assert units == {"image": [120], "lesion": [60], "breast": [60], "patient": [60]}
    assert set(results["prevalence"]) == {0.5}


def test_the_tables_agree(plain: Evaluation) -> None:
    """A difference is that of two values, a verdict's numbers are those of its comparison."""
    means = plain.results[plain.results["seed"] == "all"]
    means = means.set_index(["arm", "trained_at", "tested_at", "unit", "metric"])["value"]
    for row in plain.comparisons.itertuples():
        arm, against = (
            means[one, row.tested_at if one == "local" else "all", row.tested_at, row.unit, row.metric]
            for one in (row.arm, row.against)
        )
        assert row.difference == pytest.approx(arm - against, abs=1e-12, nan_ok=True)
    primary = plain.comparisons[plain.comparisons["role"] != "secondary"]
    known = primary[primary["ci_low"].notna()]
    assert known["difference"].tolist() == plain.verdicts["difference"].dropna().tolist()


def test_one_comparison_is_primary_and_one_family_is_adjusted(study: Study) -> None:
    """AUROC per lesion, federated - local: at `all`, then at hospitals, whose p alone are adjusted."""
    plain = tables(study(patients=60, seeds=1))
    roles = plain.comparisons["role"].tolist()
    assert roles == ["primary"] + ["primary at a hospital"] * 3 + ["secondary"] * (len(roles) - 4)
    family = plain.comparisons[1:4]
    assert set(family["arm"] + family["against"] + family["metric"] + family["unit"]) == {"federatedlocalauroclesion"}
    assert family["p_holm"].tolist() == pytest.approx(holm(family["p"].to_numpy()).tolist())
    assert plain.comparisons.drop(family.index)["p_holm"].isna().all()


def test_another_primary_comparison(study: Study) -> None:
    keys = {"metric": "auprc", "arm": "centralized", "against": "local", "margin": 0.1}
    found = tables(study(patients=60), primary=keys, unit="image")
    first = found.comparisons.iloc[0]
    assert first[["role", "metric", "unit", "arm"]].tolist() == ["primary", "auprc", "image", "centralized"]
    assert set(found.verdicts["margin"]) == {0.1} and len(found.verdicts) == 4


def test_a_csv_reads_back_as_it_was(plain: Evaluation, tmp_path: Path) -> None:
    plain.results.to_csv(tmp_path / "results.csv", index=False)
    again = pd.read_csv(tmp_path / "results.csv", keep_default_na=False, na_values={"value": [""]})
    assert again["seed"].tolist() == plain.results["seed"].tolist()
    assert np.array_equal(again["value"], plain.results["value"], equal_nan=True)


def test_identical_arms_do_not_differ_and_nothing_is_claimed(study: Study) -> None:
    """Federated and every local model score as the centralised one: differences 0, and nothing varies."""
    one = study(arms=("centralized",), patients=60)
    local = [
        one.assign(arm="local", trained_at=own, hospital=one["hospital"].where(one["split"] == "test", own))
        for own in one["hospital"].unique()
    ]
    found = tables(pd.concat([one, one.assign(arm="federated"), *local])).comparisons
    ranks = found[~found["metric"].str.endswith("recalibrated") & ~found["metric"].str.contains("error")]
    assert (ranks["difference"].abs() < 1e-12).all() and len(ranks) == (METRICS - 5) * 3 * 4
    assert ranks[["ci_low", "p"]].isna().all(axis=None)
    curve = ranks["metric"] == "sensitivity_at_90_specificity"  # too few benign ones for its interval
    assert set(ranks.loc[~curve, "note"]) == {"no interval: nothing varies"}


def test_a_clear_difference_is_found_with_its_sign(study: Study) -> None:
    """Federated scores are the labels softened, local ones are noise: joining buys every hospital AUROC."""
    table = study(patients=90, seeds=1)
    better = np.clip(np.where(table["label"] == 1, 0.7, 0.3) + np.linspace(-0.25, 0.25, len(table)), 0, 1)
    table["score"] = np.where(table["arm"] == "federated", better, table["score"])
    noise = np.random.default_rng(0).random(len(table))
    table["score"] = np.where(table["arm"] == "local", noise, table["score"])
    found = tables(table)
    assert (found.verdicts["verdict"] == "superior").all() and (found.verdicts["p_holm"].dropna() < 0.05).all()
    comparisons = of_lesions(found.comparisons, "brier")
    joined = comparisons[(comparisons["arm"] == "federated") & (comparisons["against"] == "local")]
    assert (joined["ci_high"] < 0).all() and set(joined["better"]) == {"lower"}


def test_a_hospital_with_too_few_of_a_class_gets_no_interval_and_says_why(study: Study) -> None:
    """H1's test patients are all benign: its AUROC is empty. H2 has nine malignant ones: a value, no interval."""
    table = study(patients=72, seeds=1)
    test = table["split"] == "test"
    table = table[~((table["hospital"] == "H1") & test & (table["label"] == 1))]
    malignant = sorted(table.loc[(table["hospital"] == "H2") & test & (table["label"] == 1), "patient"].unique())
    assert len(malignant) == 12
    found = tables(table[~table["patient"].isin(malignant[FEWEST_PATIENTS - 1 :])])
    rows = of_lesions(found.results[found.results["seed"] == "all"])
    rows = rows[rows["arm"] == "centralized"].set_index("tested_at")
    assert np.isnan(rows.loc["H1", "value"]) and rows.loc["H1", "note"] == "nobody malignant tested"
    assert rows.loc["H2", "value"] > 0 and np.isnan(rows.loc["H2", "ci_low"])
    assert rows.loc["H2", "note"] == "no interval: fewer than 10 patients of a class"
    verdicts = found.verdicts.set_index("tested_at")
    assert verdicts.loc[["H1", "H2"], "verdict"].tolist() == ["not assessable"] * 2
    assert verdicts.loc[["H1", "H2"], "p_holm"].isna().all() and verdicts.loc["H0", "p_holm"] == verdicts.loc["H0", "p"]


def test_only_the_arms_that_were_run(study: Study) -> None:
    found = tables(study(arms=("federated", "centralized")))
    pairs = set(zip(found.comparisons["arm"], found.comparisons["against"], strict=True))
    assert pairs == {("federated", "centralized")} and len(found.verdicts) == 0
    alone = tables(study(arms=("local",)))
    assert len(alone.comparisons) == 0 and list(alone.comparisons) == COMPARISONS
    assert set(alone.results["arm"]) == {"local"}


def test_settings_are_compared_within_an_arm(study: Study) -> None:
    """Each of an arm's settings minus `real`, local at a hospital its own model; arms only within a setting."""
    settings = ("pretrained", "real", "synthetic")
    table = pd.concat([study(seeds=1, generator=at).assign(setting=one) for at, one in enumerate(settings)])
    comparisons = tables(table).comparisons
    arms = comparisons["arm"] == comparisons["against"]
    assert (comparisons.loc[~arms, "setting"] == comparisons.loc[~arms, "against_setting"]).all()
    within = comparisons[arms]
    assert set(within["setting"]) == {"pretrained", "synthetic"} and set(within["against_setting"]) == {"real"}
    assert len(within) == METRICS * 3 * 2 * 4


def test_a_budgets_cost_is_told_by_the_same_recipe_alone(study: Study) -> None:
    """`real` has another rate than `real-epsilon-6`, `real-as-epsilon-6` the same: that pair alone is compared."""
    settings = ("real", "real-epsilon-6", "real-as-epsilon-6")
    parts = [study(seeds=1, generator=at, arms=("federated",)).assign(setting=one) for at, one in enumerate(settings)]
    recipes = {("federated", one): "slow" if one == "real" else "fast" for one in settings}
    comparisons = tables(pd.concat(parts), recipes).comparisons
    assert set(zip(comparisons["setting"], comparisons["against_setting"], strict=True)) == {settings[1:]}
    assert tables(pd.concat(parts[:2]), recipes).comparisons.empty


def test_what_patients_add_under_a_budget_is_told_against_the_model_before_any(study: Study) -> None:
    settings = ("public", "real-epsilon-6")
    parts = [study(seeds=1, generator=at, arms=("federated",)).assign(setting=one) for at, one in enumerate(settings)]
    comparisons = tables(pd.concat(parts)).comparisons
    assert set(zip(comparisons["setting"], comparisons["against_setting"], strict=True)) == {settings[::-1]}


def test_the_reader_is_compared_and_has_no_probabilities(study: Study) -> None:
    table = study(patients=60, seeds=1)
    luck = np.random.default_rng(0).integers(0, 2, len(table))
    found = tables(table.assign(assessment=(2 + table["label"] + luck).astype(str)))
    reader = found.results[found.results["arm"] == "reader"]
    assert set(reader["metric"]) == {"auroc"} and set(reader["setting"]) == {"assessment"}
    rows = of_lesions(found.comparisons[found.comparisons["against"] == "reader"])
    assert set(rows["arm"]) == {"centralized", "local", "federated"} and set(rows["role"]) == {"secondary"}


def test_hospitals_drawn_anew(study: Study) -> None:
    """Two draws that hold the same patients elsewhere: H0's value is the mean over its patients in either draw.

    The second draw moves every patient one hospital on; models and scores stay, so that at `all` nothing changes.
    """
    once = study(hospitals=2, patients=40, seeds=1, arms=("centralized",))
    moved = once.assign(draw=1, hospital=once["hospital"].map({"H0": "H1", "H1": "H0"}))
    rows = of_lesions(tables(pd.concat([once, moved])).results)
    auroc = rows.set_index(["draw", "tested_at"])["value"]
    assert list(rows["draw"].unique()) == ["0", "1", "all"]
    assert auroc["0", "H0"] == auroc["1", "H1"] != auroc["0", "H1"]
    assert auroc["all", "H0"] == pytest.approx((auroc["0", "H0"] + auroc["1", "H0"]) / 2, abs=1e-12)
    assert auroc["all", "all"] == auroc["0", "all"]
    assert set(rows["patients"]) == {40, 20}
    whole = rows[(rows["draw"] == "all") & (rows["tested_at"] == "H0")].iloc[0]
    assert whole["note"] == "no interval: fewer than 20 draws of hospitals; each stands in its own row"
    assert whole["lowest"] == min(auroc["0", "H0"], auroc["1", "H0"])


def test_another_cohort_whose_hospitals_trained_nothing(study: Study) -> None:
    """Scored elsewhere, a local model has no hospital of its own: only the rows at `all` compare with local."""
    table = study()
    table.loc[table["split"] == "test", "hospital"] = "elsewhere"
    found = tables(table)
    assert list(found.results["tested_at"].unique()) == ["all", "elsewhere"]
    against_local = found.comparisons[found.comparisons["against"] == "local"]
    assert set(against_local["tested_at"]) == {"all"}
    assert set(found.comparisons["tested_at"]) == {"all", "elsewhere"}


def test_recall_is_told_at_a_declared_prevalence_alone(study: Study, plain: Evaluation) -> None:
    assert not {"recall_rate", "ppv", "npv"} & set(plain.results["metric"])
    found = of_lesions(tables(study(patients=60), prevalence=0.01).results, "ppv")
    whole = found[(found["seed"] == "all") & (found["tested_at"] == "all") & (found["arm"] == "centralized")]
    assert 0.01 < whole["value"].item() < 0.2
