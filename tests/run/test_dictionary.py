"""The data dictionary against the tables that code writes, and against docs/tables.md."""

from dataclasses import fields
from pathlib import Path

import pytest

from fedmammo.commands.audit import COLUMNS as AUDIT
from fedmammo.config.evaluation import SUBGROUPS as ASKED
from fedmammo.evaluation.curves import CALIBRATION, DECISION_CURVE, PRECISION_RECALL, ROC
from fedmammo.evaluation.evaluate import Evaluation
from fedmammo.evaluation.heterogeneity import HETEROGENEITY
from fedmammo.evaluation.learning import LEARNING_CURVE
from fedmammo.evaluation.predictions import COLUMNS as PREDICTIONS
from fedmammo.evaluation.subgroups import SUBGROUPS
from fedmammo.evaluation.tables import COMPARISONS, RESULTS
from fedmammo.evaluation.value import VALUES
from fedmammo.evaluation.verdicts import VERDICTS
from fedmammo.hospitals.dealing import COLUMNS as PATIENTS
from fedmammo.run.curves import CURVES
from fedmammo.run.dictionary import TABLES, page
from fedmammo.run.folder import ROUND_COLUMNS
from fedmammo.run.patients import FLOW, HOLDINGS
from fedmammo.run.pools import COLUMNS as POOLS
from fedmammo.run.privacy import GUARANTEES, PRIVACY
from fedmammo.synthesis.quality import Quality

PLACE = ["arm", "seed", "draw", "fold", "holder"]


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("verdicts.csv", VERDICTS),
        ("results.csv", RESULTS),
        ("comparisons.csv", COMPARISONS),
        ("subgroups.csv", SUBGROUPS),
        ("heterogeneity.csv", HETEROGENEITY),
        ("values.csv", VALUES),
        ("learning_curve.csv", LEARNING_CURVE),
        ("roc.csv", ROC),
        ("precision_recall.csv", PRECISION_RECALL),
        ("calibration.csv", CALIBRATION),
        ("decision_curve.csv", DECISION_CURVE),
        ("curves.csv", CURVES),
        ("predictions.csv", [*PREDICTIONS, *ASKED, "assessment"]),
        ("rounds.csv", ROUND_COLUMNS),
        ("guarantees.csv", GUARANTEES),
        ("privacy.csv", PRIVACY),
        ("privacy-audit.csv", AUDIT),
        ("synthetic/pools.csv", POOLS),
        ("synthetic/quality.csv", [*PLACE, *Quality._fields]),
        ("flow.csv", FLOW),
        ("holdings.csv", HOLDINGS),
        ("hospitals/<name>/patients.csv", PATIENTS),
    ],
)
def test_every_column_is_explained_and_no_other(table: str, columns: list[str]) -> None:
    assert set(TABLES[table]) == set(columns)
    assert all(TABLES[table].values())


def test_every_table_of_results_is_explained() -> None:
    assert {f"{field.name}.csv" for field in fields(Evaluation)} <= TABLES.keys()


def test_the_page_is_what_the_code_says() -> None:
    docs = Path(__file__).parents[2] / "docs"
    assert (docs / "tables.md").read_text() == page()
