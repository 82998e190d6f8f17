from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.evaluation.evaluate import evaluate
from fedmammo.evaluation.heterogeneity import DOUBLING, HETEROGENEITY, fit, heterogeneity_of, predicted
from fedmammo.evaluation.predictions import Series, arrange
from fedmammo.evaluation.scoring import Scores
from fedmammo.evaluation.tables import Pair

Study = Callable[..., pd.DataFrame]
CONFIG = EvaluationConfig()
# Colditz et al. 1994 (JAMA 271:698), as in metadat's dat.bcg: tuberculosis and not, with and without vaccine; latitude
BCG = np.array([
    (4, 119, 11, 128, 44), (6, 300, 29, 274, 55), (3, 228, 11, 209, 42), (62, 13536, 248, 12619, 52),
    (33, 5036, 47, 5761, 13), (180, 1361, 372, 1079, 44), (8, 2537, 10, 619, 19), (505, 87886, 499, 87892, 13),
    (29, 7470, 45, 7232, 27), (17, 1699, 65, 1600, 42), (186, 50448, 141, 27197, 18), (5, 2493, 3, 2338, 33),
    (27, 16886, 29, 17825, 33),
])  # fmt: skip


@pytest.fixture(scope="module")
def vaccine() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log risk ratios, their variances, and absolute latitudes of 13 trials."""
    sick, well, sick_without, well_without, latitude = BCG.T.astype(float)
    with_it, without = sick + well, sick_without + well_without
    ratio = np.log(sick / with_it / (sick_without / without))
    return ratio, 1 / sick - 1 / with_it + 1 / sick_without - 1 / without, latitude


def test_vaccine_trials_as_published(vaccine: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """As metafor prints rma(yi, vi, data = dat.bcg, test = "knha") (Viechtbauer 2010, J Stat Softw 36(3))."""
    found = fit(*vaccine[:2])
    far = student.ppf(0.975, 12) * found.errors[0]
    assert found.estimates[0] == pytest.approx(-0.7145, abs=5e-5)
    assert found.errors[0] == pytest.approx(0.1808, abs=5e-5)
    assert (found.estimates[0] - far, found.estimates[0] + far) == pytest.approx((-1.1084, -0.3206), abs=5e-5)
    assert (found.tau2, found.q, found.freedom) == pytest.approx((0.3132, 152.2330, 12), abs=5e-5)
    assert found.i2 == pytest.approx(0.9222, abs=5e-5)


def test_vaccine_trials_by_hand(vaccine: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """The estimating equation of restricted likelihood, written out for a mean, and Hartung and Knapp's formulae.

    tau² = sum(w² ((y - m)² - v)) / sum(w²) + 1 / sum(w) with w = 1 / (v + tau²) (Viechtbauer 2005, equation for REML).
    """
    effects, variances, _ = vaccine
    found = fit(effects, variances)
    weights = 1 / (variances + found.tau2)
    mean = (weights * effects).sum() / weights.sum()
    again = (weights**2 * ((effects - mean) ** 2 - variances)).sum() / (weights**2).sum() + 1 / weights.sum()
    assert found.tau2 == pytest.approx(again, rel=1e-9)
    assert found.estimates[0] == pytest.approx(mean)
    observed = (weights * (effects - mean) ** 2).sum() / (12 * weights.sum())
    assert observed > 1 / weights.sum(), "the guard changes nothing here"
    assert found.errors[0] ** 2 == pytest.approx(observed)
    fixed = 1 / variances
    q = (fixed * (effects - (fixed * effects).sum() / fixed.sum()) ** 2).sum()
    typical = 12 * fixed.sum() / (fixed.sum() ** 2 - (fixed**2).sum())  # Higgins and Thompson 2002, equation 9
    assert (found.q, found.i2) == pytest.approx((q, found.tau2 / (found.tau2 + typical)))
    far = student.ppf(0.975, 11) * (found.tau2 + observed) ** 0.5
    assert predicted(found) == pytest.approx((mean - far, mean + far))


def test_latitude_explains_the_vaccine_trials(vaccine: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """As metafor prints the mixed model: intercept .2515, slope -.0291, tau² .0764, Q 30.7331 on 11, I² 68.39 %.

    The error is Knapp and Hartung's: that of weighted least squares, by what is left of each trial.
    """
    effects, variances, latitude = vaccine
    found = fit(effects, variances, np.column_stack([np.ones(13), latitude]))
    assert found.estimates == pytest.approx([0.2515, -0.0291], abs=5e-5)
    assert (found.q, found.freedom) == pytest.approx((30.7331, 11), abs=5e-5)
    assert found.tau2 == pytest.approx(0.0764, abs=5e-5 + 1e-5)  # where its iterations stop
    assert found.i2 == pytest.approx(0.6839, abs=5e-4)
    weights = 1 / (variances + found.tau2)
    centred = latitude - (weights * latitude).sum() / weights.sum()
    left = effects - found.estimates[0] - found.estimates[1] * latitude
    error2 = (weights * left**2).sum() / 11 / (weights * centred**2).sum()
    assert found.errors[1] ** 2 == pytest.approx(error2)


def test_three_alike_hospitals_by_hand() -> None:
    """0, .1 and .2, each with variance .0025: their own variance is .01, so tau² .0075 and the error's square .01 / 3.

    Q = .02 / .0025 = 8 on 2 degrees: I² = .75. A new hospital: t of 1 degree, 12.706, times root(.0075 + .01 / 3).
    """
    found = fit(np.array([0.0, 0.1, 0.2]), np.full(3, 0.0025))
    assert found.estimates[0] == pytest.approx(0.1)
    assert found.errors[0] ** 2 == pytest.approx(0.01 / 3)
    assert (found.tau2, found.q, found.i2) == pytest.approx((0.0075, 8, 0.75))
    assert found.lines[0] == pytest.approx([1 / 3] * 3)
    assert predicted(found)[1] == pytest.approx(0.1 + 12.7062 * (0.0075 + 0.01 / 3) ** 0.5, abs=1e-5)


def test_hospitals_that_agree_too_well_do_not_make_it_surer() -> None:
    """.1 three times: no tau, and the error of a fixed effect, where Hartung and Knapp's alone would be 0."""
    found = fit(np.full(3, 0.1), np.array([0.01, 0.02, 0.04]))
    assert (found.tau2, found.i2) == (0, 0)
    assert found.errors[0] ** 2 == pytest.approx(1 / (100 + 50 + 25))


def test_a_slope_by_hand() -> None:
    """0 .1 .3 .4 over 0 1 2 3: slope .7 / 5; left .01 -.03 .03 -.01, so .002 / 2 = .001 = .0004 + tau²."""
    design = np.column_stack([np.ones(4), np.arange(4.0)])
    found = fit(np.array([0.0, 0.1, 0.3, 0.4]), np.full(4, 0.0004), design)
    assert found.estimates == pytest.approx([-0.01, 0.14])
    assert found.tau2 == pytest.approx(0.0006)
    assert found.errors[1] ** 2 == pytest.approx(0.001 / 5)


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 9), st.integers(0, 10_000), st.floats(-1, 1), st.floats(0.01, 100))
def test_moved_and_stretched(hospitals: int, seed: int, away: float, by: float) -> None:
    drawn = np.random.default_rng(seed)
    effects, variances = drawn.normal(0, 0.1, hospitals), drawn.uniform(0.001, 0.02, hospitals)
    one, other = fit(effects, variances), fit(by * (effects + away), by**2 * variances)
    assert other.estimates[0] == pytest.approx(by * (one.estimates[0] + away), abs=1e-6 * by)
    assert other.errors[0] == pytest.approx(by * one.errors[0], rel=1e-6)
    assert other.tau2 == pytest.approx(by**2 * one.tau2, rel=1e-5, abs=1e-9 * by**2)
    assert one.lines.sum() == pytest.approx(1) and one.errors[0] ** 2 >= 1 / (1 / variances).sum() - 1e-15


@pytest.mark.parametrize(("hospitals", "tau"), [(4, 0.0), (4, 0.05), (8, 0.05)])
def test_intervals_cover(hospitals: int, tau: float) -> None:
    """In 600 data sets of hospitals of unequal size: the mean in 95 %, or more where the guard holds.

    Limits for a new hospital cover less often where tau is small beside patients' errors (Partlett and Riley 2017,
    Statistics in Medicine 36:301): docs/statistics.md says how often.
    """
    drawn, variances = np.random.default_rng(1), np.linspace(0.0005, 0.006, hospitals)
    mean = new = 0
    for _ in range(600):
        effects = 0.05 + tau * drawn.normal(size=hospitals) + variances**0.5 * drawn.normal(size=hospitals)
        found = fit(effects, variances)
        mean += abs(found.estimates[0] - 0.05) < student.ppf(0.975, found.freedom) * found.errors[0]
        low, high = predicted(found)
        new += low < 0.05 + tau * drawn.normal() < high
    assert mean / 600 > 0.93 and (tau == 0 or mean / 600 < 0.99)
    assert new / 600 > 0.85


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
