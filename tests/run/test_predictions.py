"""The tidy table of scores: one row per model and image, under pseudonyms, thresholds' patients where they belong."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from fedmammo.cohort.store import Cohort
from fedmammo.config.study import StudyConfig, parse
from fedmammo.run import predictions
from fedmammo.run.predictions import tabulate
from fedmammo.training.task import Cell


@pytest.fixture
def config(small_study: dict[str, Any]) -> StudyConfig:
    return parse(small_study, "small")


def answer(rows: list[int], tested: list[int], **scores: list[float]) -> dict[str, torch.Tensor]:
    """A hospital's answer to `score`."""
    return {
        "rows": torch.tensor(rows, dtype=torch.int64),
        "test": torch.tensor(tested, dtype=torch.uint8),
        **{f"score/{name}": torch.tensor(values, dtype=torch.float32) for name, values in scores.items()},
    }


def test_one_row_per_model_and_image(phantom_cohort: Cohort, config: StudyConfig) -> None:
    """Two hospitals, two models; models first, then hospitals by position, then images by pseudonym."""
    answers = {
        0: answer([5, 2], [1, 0], B=[0.1, 0.2], A=[0.3, 0.4]),
        1: answer([9], [1], B=[0.5], A=[0.6]),
    }
    images = phantom_cohort.manifest.iloc[[5, 2, 9]]
    of_one_model = pd.DataFrame(
        {
            "hospital": ["Z", "Z", "I"],
            "split": ["test", "validation", "test"],
            "patient": [phantom_cohort.pseudonym("patient", name) for name in images["patient"]],
            "image": [phantom_cohort.pseudonym("image", name) for name in images["image"]],
            "label": images["malignant"].astype(int).to_numpy(),
        }
    )
    expected = pd.concat(
        [
            of_one_model.assign(trained_at=model, score=np.float32(scores).astype(np.float64)).sort_values(
                ["hospital", "patient", "image"], ascending=[False, True, True]
            )
            for model, scores in (("A", [0.3, 0.4, 0.6]), ("B", [0.1, 0.2, 0.5]))
        ],
        ignore_index=True,
    ).assign(arm="centralized", setting="real", seed=7, draw=0, fold=2)
    table = tabulate(phantom_cohort, config, Cell("centralized", "real", 7, 0, 2), ["Z", "I"], answers)
    pd.testing.assert_frame_equal(table, expected[list(predictions.COLUMNS)], check_exact=True)
    assert not set(table["patient"]) & set(phantom_cohort.manifest["patient"])


def test_a_local_model_sets_its_thresholds_at_home(phantom_cohort: Cohort, config: StudyConfig) -> None:
    answers = {
        0: answer([0, 1], [1, 0], H=[0.1, 0.2], I=[0.3, 0.4]),
        1: answer([2, 3], [1, 0], H=[0.5, 0.6], I=[0.7, 0.8]),
    }
    local = tabulate(phantom_cohort, config, Cell("local", "real", 0, 0, 0), ["H", "I"], answers)
    kept = local[["trained_at", "hospital", "split"]].itertuples(index=False, name=None)
    assert sorted(kept) == [
        ("H", "H", "test"), ("H", "H", "validation"), ("H", "I", "test"),
        ("I", "H", "test"), ("I", "I", "test"), ("I", "I", "validation"),
    ]  # fmt: skip
    federated = tabulate(phantom_cohort, config, Cell("federated", "real", 0, 0, 0), ["H", "I"], answers)
    assert len(federated) == 8


def test_a_hospital_without_images_adds_no_row(phantom_cohort: Cohort, config: StudyConfig) -> None:
    answers = {0: answer([], [], all=[]), 1: answer([4], [1], all=[0.5])}
    table = tabulate(phantom_cohort, config, Cell("federated", "real", 0, 0, 0), ["H", "I"], answers)
    assert list(table["hospital"]) == ["I"]
    assert table.dtypes[["seed", "draw", "fold", "label", "score"]].tolist() == [np.int64] * 4 + [np.float64]


def test_what_is_tested_has_a_name(small_study: dict[str, Any]) -> None:
    small_study["evaluation"] |= {"test": "val"}
    assert predictions.tested_split(parse(small_study, "small")) == "val"
    small_study["evaluation"] |= {"folds": 5}
    assert predictions.tested_split(parse(small_study, "small")) == "cross-validation"
