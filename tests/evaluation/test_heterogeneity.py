from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.evaluation.evaluate import evaluate
from fedmammo.evaluation.heterogeneity import DOUBLING, HETEROGENEITY, heterogeneity_of
from fedmammo.evaluation.predictions import Series, arrange
from fedmammo.evaluation.random_effects import fit, predicted
from fedmammo.evaluation.scoring import Scores
from fedmammo.evaluation.tables import Pair

Study = Callable[..., pd.DataFrame]
CONFIG = EvaluationConfig()


def scored(table: pd.DataFrame) -> Scores:
    return Scores(arrange(table, "test"))


def dealt_anew(study: Study, draws: int, hospitals: int = 3) -> pd.DataFrame:
    """The same patients, to other hospitals in each draw, with new models."""
    parts = []
    for draw in range(draws):
        one = study(patients=30 * hospitals, hospitals=hospitals, images=1, seeds=1, generator=draw).assign(draw=draw)
        drawn, tested = np.random.default_rng(draw), one["split"] == "test"
        whose = {}
        for _, patients in one[tested].groupby("label")["patient"]:
            names = drawn.permutation(patients.unique())
            whose |= {name: f"H{at % hospitals}" for at, name in enumerate(names)}
        parts.append(one.assign(hospital=one["hospital"].where(~tested, one["patient"].map(whose))))
    return pd.concat(parts, ignore_index=True)


def test_hospitals_with_their_patients(study: Study) -> None:
    """Hospitals' rows are those of comparisons.csv; the mean is that of their numbers, as no seed varies."""
    table = study(patients=160, hospitals=4, seeds=1)
    found = heterogeneity_of(scored(table), CONFIG)
    assert list(found) == HETEROGENEITY
    assert found["what"].tolist() == ["hospital"] * 4 + ["mean", "new hospital", "slope"]
    comparisons = evaluate(table, "test", CONFIG).comparisons
    own = comparisons[comparisons["role"] == "primary at a hospital"]
    hospitals, mean, new, slope = found[:4], *(found.iloc[at] for at in (4, 5, 6))
    assert hospitals["estimate"].tolist() == own["difference"].tolist()
    assert hospitals[["ci_low", "ci_high", "p"]].to_numpy() == pytest.approx(own[["ci_low", "ci_high", "p"]].to_numpy())
    expected = fit(own["difference"].to_numpy(float), own["error"].to_numpy(float) ** 2)
    far = student.ppf(0.975, 3) * expected.errors[0]
    assert mean["estimate"] == pytest.approx(expected.estimates[0])
    assert (mean["ci_low"], mean["ci_high"]) == pytest.approx((mean["estimate"] - far, mean["estimate"] + far))
    assert mean["p"] == pytest.approx(2 * student.sf(abs(mean["estimate"]) / expected.errors[0], 3))
    assert (new["ci_low"], new["ci_high"]) == pytest.approx(predicted(expected))
    assert hospitals["weight"].tolist() == pytest.approx(expected.lines[0].tolist())
    assert (slope["about"], slope["note"]) == (DOUBLING, "no interval: fewer than 4 hospitals of different numbers")


def test_small_hospitals_are_left_out_and_told(study: Study) -> None:
    table = study(patients=200, hospitals=5, seeds=1)
    few = (table["hospital"] == "H1") & (table["split"] == "test") & (table["patient"] > "p0060")
    found = heterogeneity_of(scored(table[~few]), CONFIG)
    mean = found[found["what"] == "mean"].iloc[0]
    assert (mean["hospitals"], mean["left_out"]) == (4, 1)
    assert "left out: fewer than 10 patients of a class" in mean["note"]
    assert np.isnan(found[found["about"] == "H1"]["ci_low"].item())


def test_two_hospitals_have_no_mean(study: Study) -> None:
    found = heterogeneity_of(scored(study(patients=60, hospitals=2)), CONFIG)
    assert found["what"].tolist() == ["hospital", "hospital", "mean"]
    mean = found.iloc[2]
    assert np.isnan(mean["estimate"]) and mean["note"] == "no interval: fewer than 3 hospitals"


def test_seeds_add_their_part(study: Study) -> None:
    table = study(patients=120, seeds=6)
    mean = heterogeneity_of(scored(table), CONFIG).set_index("what").loc["mean"]
    alone = heterogeneity_of(scored(table[table["seed"] < 2]), CONFIG).set_index("what").loc["mean"]
    assert np.isfinite(mean["p"]) and mean["repeats"] == 6
    assert np.isnan(alone["ci_low"]) and "two seeds" in alone["note"]


def test_a_covariate_of_hospitals(study: Study) -> None:
    scores = scored(study(patients=160, hospitals=4, seeds=1))
    known = {"distance": {(0, f"H{number}"): 0.1 * number for number in range(4)}}
    found = heterogeneity_of(scores, CONFIG, covariates=known)
    own, slope = found[found["what"] == "hospital"], found[found["about"] == "distance"].iloc[0]
    variances = (
        (own["ci_high"] - own["ci_low"]).to_numpy(float) / 2
    ) ** 2  # all of the same degrees of freedom, nearly
    expected = fit(own["estimate"].to_numpy(float), variances / 4, np.column_stack([np.ones(4), 0.1 * np.arange(4)]))
    assert slope["estimate"] == pytest.approx(expected.estimates[1], abs=0.02)
    assert slope["ci_low"] < slope["estimate"] < slope["ci_high"]
    partly = {"distance": {(0, "H0"): 1.0, (0, "H1"): 2.0, (0, "H2"): np.nan}}
    assert "nothing known" in heterogeneity_of(scores, CONFIG, covariates=partly).iloc[-1]["note"]


def test_hospitals_dealt_anew_are_pooled_within_each_draw(study: Study) -> None:
    table = dealt_anew(study, 20)
    found = heterogeneity_of(scored(table), CONFIG)
    assert found["what"].tolist() == ["draw"] * 20 + ["mean", "new hospital", "slope"]
    each, mean, new = found[:20], found.iloc[20], found.iloc[21]
    alone = heterogeneity_of(scored(table[table["draw"] == 3]), CONFIG).set_index("what").loc["mean"]
    third = each[each["about"] == "draw 3"].iloc[0]
    assert third[["estimate", "tau", "i2", "q"]].tolist() == pytest.approx(
        alone[["estimate", "tau", "i2", "q"]].tolist()
    )
    assert mean["estimate"] == pytest.approx(each["estimate"].mean())
    assert mean["tau"] == pytest.approx((each["tau"] ** 2).mean() ** 0.5)
    assert mean["i2"] == pytest.approx(each["i2"].mean())
    assert mean["ci_low"] < mean["estimate"] < mean["ci_high"]
    assert new["ci_low"] < mean["ci_low"] and mean["ci_high"] < new["ci_high"]
    assert each["ci_low"].isna().all()


def test_few_draws_have_no_interval(study: Study) -> None:
    mean = heterogeneity_of(scored(dealt_anew(study, 3)), CONFIG).set_index("what").loc["mean"]
    assert np.isnan(mean["ci_low"]) and np.isfinite(mean["estimate"]) and "20 draws" in mean["note"]


def test_a_pair_that_is_not_there_has_no_rows(study: Study) -> None:
    pair = Pair(Series("federated", "elsewhere", "all"), Series("local", "elsewhere", "all"))
    assert heterogeneity_of(scored(study(patients=60)), CONFIG, [pair]).empty
