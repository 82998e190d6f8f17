"""What a pilot tells: drawn studies whose variances are known, and how hospitals lend each other theirs."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import polygamma

from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.errors import InputError
from fedmammo.evaluation.evaluate import evaluate
from fedmammo.evaluation.predictions import arrange
from fedmammo.evaluation.scoring import Scores
from fedmammo.planning.pilot import Pilot, moderated, pilots_of, prior_of
from fedmammo.planning.precision import Components, Repeats, precision_of

HOSPITALS = ("north", "south")


def predictions(draws: int, patients: int = 120, seed: int = 0) -> pd.DataFrame:
    """Federated and local scores of patients with one lesion, dealt anew in each draw."""
    drawn, rows = np.random.default_rng(seed), []
    label = np.arange(patients) % 2
    known = drawn.normal(size=patients) + label
    for draw in range(draws):
        hospital = np.array(HOSPITALS)[drawn.permutation(patients) % 2]
        for arm, trained_at in (("federated", "all"), *(("local", name) for name in HOSPITALS)):
            noise = 0.5 if arm == "federated" else 1.5
            score = 1 / (1 + np.exp(-(known + noise * drawn.normal(size=patients))))
            rows.append(pd.DataFrame({
                "arm": arm, "setting": "real", "seed": 0, "draw": draw, "fold": 0, "trained_at": trained_at,
                "split": "test", "hospital": hospital, "patient": [f"p{at:03d}" for at in range(patients)],
                "breast": [f"b{at:03d}" for at in range(patients)], "lesion": [f"l{at:03d}" for at in range(patients)],
                "image": [f"i{at:03d}" for at in range(patients)], "label": label, "score": score,
            }))  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def pilots(table: pd.DataFrame) -> dict[str, Pilot]:
    config = EvaluationConfig()
    return pilots_of(Scores(arrange(table, "test", config.unit)), config)


def test_the_same_study_again_has_the_interval_that_it_had() -> None:
    """Over all, to the digit: half of (ci_high - ci_low) of comparisons.csv."""
    table = predictions(20)
    found = pilots(table)
    assert list(found) == ["all", *HOSPITALS]
    rows = evaluate(table, "test", EvaluationConfig()).comparisons.set_index(["role", "tested_at"])
    row = rows.loc[("primary", "all")]
    planned = precision_of(found["all"].components, Repeats(1, 20))
    assert planned.half_width == pytest.approx((row["ci_high"] - row["ci_low"]) / 2)
    assert planned.error == pytest.approx(row["error"]) and planned.of_repeats == pytest.approx(row["of_repeats"])
    for name in HOSPITALS:
        row = rows.loc[("primary at a hospital", name)]
        half = precision_of(found[name].components, Repeats(1, 20)).half_width
        assert half == pytest.approx((row["ci_high"] - row["ci_low"]) / 2, rel=0.25)


@pytest.mark.parametrize("unit", ["image", "patient"])
def test_it_is_of_the_studys_unit(unit: str) -> None:
    """Thirty patients with four images each, all of one label."""
    table = predictions(3).assign(patient=lambda rows: "p" + (rows["patient"].str[1:].astype(int) % 30).astype(str))
    first = table.groupby(["draw", "patient"])["hospital"].transform("first")  # a patient is in one hospital
    table["breast"], table["hospital"] = table["patient"], first
    config = EvaluationConfig.model_validate({"unit": unit})
    found = pilots_of(Scores(arrange(table, "test", config.unit)), config)["all"]
    rows = evaluate(table, "test", config).comparisons
    row = rows[(rows["role"] == "primary") & (rows["tested_at"] == "all")].iloc[0]
    assert found.units_per_patient == {"image": 4.0, "patient": 1.0}[unit]
    assert (found.patients, found.positives) == (row["patients"], row["positives"])


def test_half_of_the_draws_foretell_the_other_half() -> None:
    """Twenty drawn studies; over all within 20 %, at hospitals as often as ten draws allow."""
    off: dict[str, list[float]] = {name: [] for name in ("all", *HOSPITALS)}
    for seed in range(6):
        table = predictions(20, seed=seed)
        first, second = (pilots(table[(table["draw"] < 10) == early]) for early in (True, False))
        for name, ratios in off.items():
            halves = [precision_of(one[name].components, Repeats(1, 10)).half_width for one in (first, second)]
            ratios.append(halves[0] / halves[1] - 1)
    assert max(map(abs, off["all"])) < 0.2
    assert np.median(np.abs([*off["north"], *off["south"]])) < 0.25


def test_what_is_told_beside_it() -> None:
    """Arms that share what they know of a patient correlate; both classes are half."""
    found = pilots(predictions(5))
    assert 0.3 < found["all"].correlation < 1 and 0.6 < found["all"].auroc < 0.8
    assert (found["all"].patients, found["all"].positives, found["all"].units_per_patient) == (120, 60, 1.0)
    assert found["north"].patients == 60 and found["north"].repeats == Repeats(1, 5)


def test_a_run_without_the_arm_is_no_pilot() -> None:
    table = predictions(2)
    with pytest.raises(InputError, match="the pilot has no arm local in setting real; name a run that compares both"):
        pilots(table[table["arm"] == "federated"])


def test_the_prior_of_variances_by_hand() -> None:
    """Equal variances on ten degrees of freedom: known without end, at log variance + log 5 - digamma(5).

    Two whose logs lie 4 apart have a variance of logs of 8: trigamma(half) = 8 - trigamma(5).
    """
    equal, endless = prior_of(np.array([2.0, 2.0]), np.array([10.0, 10.0]))
    digamma_of_five = 1 + 1 / 2 + 1 / 3 + 1 / 4 - np.euler_gamma
    assert equal == pytest.approx(2 * 5 / np.exp(digamma_of_five)) and endless == np.inf
    _, freedom = prior_of(np.exp([0.0, 4.0]), np.array([10.0, 10.0]))
    assert polygamma(1, freedom / 2) == pytest.approx(8 - polygamma(1, 5.0))


def test_alike_hospitals_get_one_ratio_and_the_row_over_all_its_own() -> None:
    """Of 1 and 1.1 times what patients explain, on nine degrees of freedom each, chance explains the difference."""

    def pilot(between: float, patients: int) -> Pilot:
        parts = Components(0.0, between, 0.0, 4.0 / patients, 1.0 / patients, patients, 90)
        return Pilot(parts, Repeats(1, 10), 0.7, 0.6, 1.0, patients, patients // 2)

    given = {"all": pilot(1.0, 300), "north": pilot(0.03, 100), "south": pilot(0.0165, 200)}
    found = moderated(given)
    assert found["all"] == given["all"]
    north, south = (found[name].components.draws for name in HOSPITALS)
    assert north / south == pytest.approx(2.0)
    assert moderated({"all": given["all"], "north": given["north"]})["north"] == given["north"]
