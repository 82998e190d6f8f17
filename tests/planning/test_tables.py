"""plan.csv and power.csv: numbers, what they say, and who is told that nothing can be said."""

import numpy as np
import pandas as pd
import pytest

from fedmammo.planning.dictionary import TABLES
from fedmammo.planning.precision import Components, Repeats
from fedmammo.planning.tables import Basis, answer, plan_table, power_table
from fedmammo.planning.tested import Tested as Place
from fedmammo.run.dictionary import explained

PLACE = Place("all", 200.4, 100, 100, 100, 100, (1,) * 200, 1)
PARTS = Components(0.0, 0.0, 0.0, 4e-4, 4e-4, 200.4, np.inf)


def basis(parts: Components = PARTS, place: Place = PLACE, repeats: Repeats = Repeats(1, 1)) -> Basis:  # noqa: B008
    return Basis("assumed", place, parts, repeats)


def test_a_row_by_hand() -> None:
    """An error of .02: ±.0392, 80 % at .056; the margin .05 has a power of Phi(2.5 - 1.96) = .705.

    It needs (.02 / (.05 / 2.8016))² = 1.256 times as many patients: 251.7, rounded up to 260.
    """
    row = plan_table([basis()], 0.05, -0.01).iloc[0]
    assert row["patients"] == 200 and row["error"] == pytest.approx(0.02)
    assert row["half_width"] == pytest.approx(0.0392, abs=1e-5) and row["detectable"] == pytest.approx(
        0.05603, abs=1e-5
    )
    assert row["power_superior"] == pytest.approx(0.7054, abs=1e-4) and row["patients_superior"] == 260
    assert row["power_non_inferior"] == pytest.approx(0.5160, abs=1e-4) and row["patients_non_inferior"] == 400
    assert row["note"] == "" and row["of_repeats"] == 0


def test_power_grows_with_patients_and_marks_the_plan() -> None:
    table = power_table([basis()], 0.05, 0.0)
    assert table["power_superior"].is_monotonic_increasing and table["patients"].is_monotonic_increasing
    planned = table[table["planned"]]
    assert planned["patients"].tolist() == [200]
    assert planned["half_width"].iloc[0] == pytest.approx(0.0392, abs=1e-4)
    own = table.set_index("patients")
    assert own.loc[50, "half_width"] == pytest.approx(2 * own.loc[200, "half_width"], rel=1e-3)


def test_every_column_is_explained_in_its_order() -> None:
    for name, table in (("plan", plan_table([basis()], 0.05, 0.0)), ("power", power_table([basis()], 0.05, 0.0))):
        assert list(table) == list(TABLES[f"{name}.csv"])
    table = explained(TABLES)
    assert len(table) == sum(map(len, TABLES.values())) and not table.duplicated(["table", "column"]).any()


def test_sentences() -> None:
    few = PLACE._replace(name="north", fewest=4, patients=12.0, positives=4.0)
    lines = answer(plan_table([basis(), basis(place=few), basis(repeats=Repeats(1, 5))], 0.05, 0.0))
    assert lines == [
        "all hospitals (assumed): a true difference of +0.056 would be shown, with a probability of 80 %; 95 % "
        "interval ±0.039; 200 patients, 100 with a malignant lesion; no interval: fewer than 20 draws of hospitals; "
        "each stands in its own row.",
        "north: will not be assessable (12 patients, 4 with a malignant lesion): fewer than 10 patients of a class.",
    ]
    stuck = PARTS._replace(draws=0.04)
    (line,) = answer(plan_table([basis(stuck, repeats=Repeats(1, 20))], 0.05, 0.0))
    assert line.endswith("no number of patients would show +0.05, because of seeds and draws: repeat more often.")
    (line,) = answer(plan_table([basis()], 0.05, 0.0))
    assert line.endswith("200 patients, 100 with a malignant lesion; about 260 would show +0.05.")
    assert isinstance(plan_table([basis()], 0.05, 0.0), pd.DataFrame)
