from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.evaluation.predictions import arrange
from fedmammo.evaluation.scoring import Scores
from fedmammo.evaluation.subgroups import MOST_VALUES, SUBGROUPS, subgroups_of

Study = Callable[..., pd.DataFrame]


@pytest.fixture(scope="module")
def scores(study: Study) -> Scores:
    """A study of 60 patients whose columns say something of them."""
    table = study(patients=60, seeds=1)
    number = table["patient"].str[1:].astype(int)
    about = {"density": (number // 6 % 2 + 1).astype(str), "free": number.astype(str), "empty": ""}
    about["view"] = np.where(table["image"].str.endswith("0"), "CC", "MLO")
    return Scores(arrange(table.assign(**about), "test"))


def test_the_primary_metric_of_each_value(scores: Scores) -> None:
    """Lesions by density, images by view; a column of too many values, or of none, is left out."""
    config = EvaluationConfig(subgroups=["density", "view", "free", "empty", "unknown"])
    table = subgroups_of(scores, config)
    assert list(table) == SUBGROUPS and MOST_VALUES < 60
    assert set(zip(table["column"], table["value"], table["unit"], strict=True)) == {
        ("density", "1", "lesion"),
        ("density", "2", "lesion"),
        ("view", "CC", "image"),
        ("view", "MLO", "image"),
    }
    assert set(table["arm"]) == {"centralized", "local", "federated", "federated - local"}
    by = table.set_index(["column", "value", "arm"])
    for place in (("density", "1"), ("view", "CC")):
        federated, local, between = (
            by.loc[(*place, arm), "estimate"] for arm in ("federated", "local", "federated - local")
        )
        assert between == pytest.approx(federated - local, abs=1e-12)
    assert by.loc[("density", "1", "federated"), ["patients", "positives", "units"]].tolist() == [30, 15, 30]
    assert by.loc[("view", "CC", "federated"), "units"] == 60
