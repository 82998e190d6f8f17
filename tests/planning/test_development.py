"""Riley's criteria at each place, beside who is there."""

import pytest

from fedmammo.planning.development import development_table, side_by_side
from fedmammo.planning.dictionary import TABLES
from fedmammo.planning.riley import cox_snell, parameters_borne, scores_of
from fedmammo.planning.tested import Tested as Place

ALL = Place("all", 400, 200, 200, 200, 200, (1,) * 400, 1)
NORTH = ALL._replace(name="north", patients=40.0, positives=10.0)
NONE = ALL._replace(name="west", patients=10.0, positives=0.0)


def test_what_is_there_and_what_is_asked_for() -> None:
    """The criteria of ten parameters at a C statistic of .75 are pmsampsize's: 435, 236, 385 at half malignant."""
    table = development_table([ALL, NORTH, NONE], {"all": 400, "north": 30, "west": 8}, 0.75, 10, 0.5)
    assert list(table) == list(TABLES["development.csv"]) and set(table["place"]) == {"all", "north"}
    own = table[table["place"] == "all"].set_index("criterion")
    assert own.loc["shrinkage", "patients_needed"] == pytest.approx(435, abs=2)
    assert own.loc[["shrinkage", "optimism", "risk"], "enough"].tolist() == ["no", "yes", "yes"]
    borne = parameters_borne(400, cox_snell(scores_of(0.75, 0.5)))
    assert own.loc["shrinkage", "parameters_borne"] == pytest.approx(borne)
    row = side_by_side(table).iloc[0]
    assert (row["place"], row["needed_developing"], row["because_of_developing"], row["for_developing"]) == (
        "all hospitals", own.loc["shrinkage", "patients_needed"], "shrinkage", 400,
    )  # fmt: skip
    assert row["because_of_validating"] == "slope" and row["for_validating"] == 400
