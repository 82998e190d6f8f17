from collections.abc import Callable

import pandas as pd

from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.evaluation.evaluate import compare_runs, evaluate

Study = Callable[..., pd.DataFrame]
CONFIG = EvaluationConfig()


def test_two_runs_are_compared_on_the_hospitals_of_the_first(study: Study) -> None:
    """The other run dealt the same patients to other hospitals, and kept other ones for validation; each difference is
    that of the two values. The local arm is compared by its summary, where everybody is tested.
    """
    first = study(hospitals=2, patients=40, seeds=2)
    other = study(hospitals=2, patients=40, seeds=2, generator=1)
    names = other["trained_at"].where(other["trained_at"] == "all", other["trained_at"] + "-there")
    moved = other.assign(hospital=other["hospital"] + "-there", trained_at=names)
    table = compare_runs(first, moved, "test", CONFIG)
    places = set(zip(table["arm"], table["tested_at"], strict=True))
    assert places == {(arm, place) for arm in ("centralized", "federated") for place in ("all", "H0", "H1")} | {
        ("local", "all")
    }
    assert set(table["setting"]) == set(table["against_setting"]) == {"real"}
    key = ["arm", "tested_at", "unit", "metric"]
    values = [
        evaluate(run, "test", CONFIG).results.query("seed == 'all' and trained_at == 'all'").set_index(key)["value"]
        for run in (first, other)
    ]
    expected = (values[0] - values[1]).dropna()
    found = table.set_index(key)["difference"].dropna()
    whole = ~found.index.get_level_values("metric").str.endswith("recalibrated")
    assert len(found[whole]) > 50
    pd.testing.assert_series_equal(
        found[whole].sort_index(), expected[found[whole].index].sort_index(), check_names=False
    )


def test_a_run_does_not_differ_from_itself(study: Study) -> None:
    table = compare_runs(study(), study(), "test", CONFIG)
    defined = table["difference"].dropna()
    assert len(defined) > 20 and (defined == 0).all() and table["ci_low"].isna().all()
