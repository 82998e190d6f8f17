"""The tidy table of scores: one row per model and image, under pseudonyms, thresholds' patients where they belong."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from fedmammo.cohort.store import Cohort
from fedmammo.config.study import StudyConfig, parse
from fedmammo.privacy.answer import Answer
from fedmammo.run import predictions
from fedmammo.run.predictions import tabulate


@pytest.fixture
def config(small_study: dict[str, Any]) -> StudyConfig:
    return parse(small_study, "small")


def answer(cohort: Cohort, rows: list[int], tested: list[int], **scores: list[float]) -> Answer:
    """A hospital's answer to `score`: pseudonyms as 8 bytes, whatever else beside."""

    def pseudonyms(kind: str) -> torch.Tensor:
        names = [bytes.fromhex(cohort.pseudonym(kind, str(cohort.manifest[kind][row]))) for row in rows]
        return torch.from_numpy(np.frombuffer(b"".join(names), np.uint8).reshape(-1, 8).copy())

    labels = cohort.manifest["malignant"].to_numpy(np.uint8)[rows]
    return Answer(
        {
            "patient": pseudonyms("patient"),
            "breast": pseudonyms("patient"),
            "lesion": pseudonyms("patient"),
            "image": pseudonyms("image"),
            "test": torch.tensor(tested, dtype=torch.uint8),
            "label": torch.from_numpy(labels),
            "center": torch.zeros(3),
            **{f"score/{name}": torch.tensor(values, dtype=torch.float32) for name, values in scores.items()},
        }
    )


def test_one_row_per_model_and_image(phantom_cohort: Cohort, small_study: dict[str, Any]) -> None:
    """Two hospitals, two models; models first, then hospitals by position, then images by pseudonym."""
    answers = {
        "Z": answer(phantom_cohort, [5, 2], [1, 0], B=[0.1, 0.2], A=[0.3, 0.4]),
        "I": answer(phantom_cohort, [9], [1], B=[0.5], A=[0.6]),
    }
    images = phantom_cohort.manifest.iloc[[5, 2, 9]]
    of_one_model = pd.DataFrame(
        {
            "hospital": ["Z", "Z", "I"],
            "split": ["cross-validation", "validation", "cross-validation"],
            **{
                unit: [phantom_cohort.pseudonym("patient", name) for name in images["patient"]]
                for unit in ("patient", "breast", "lesion")
            },
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
    config = parse(small_study | {"evaluation": {"folds": 3}}, "small")
    table = tabulate(config.deployment("centralized", "real", 7, 0, 2), answers)
    assert (table[[column for column in table if column not in predictions.COLUMNS]] == "").all(axis=None)  # untold
    pd.testing.assert_frame_equal(
        table[list(predictions.COLUMNS)], expected[list(predictions.COLUMNS)], check_exact=True
    )
    assert not set(table["patient"]) & set(phantom_cohort.manifest["patient"])


def test_a_local_model_sets_its_thresholds_at_home(phantom_cohort: Cohort, config: StudyConfig) -> None:
    answers = {
        "H": answer(phantom_cohort, [0, 1], [1, 0], H=[0.1, 0.2], I=[0.3, 0.4]),
        "I": answer(phantom_cohort, [2, 3], [1, 0], H=[0.5, 0.6], I=[0.7, 0.8]),
    }
    local = tabulate(config.deployment("local", "real"), answers)
    kept = local[["trained_at", "hospital", "split"]].itertuples(index=False, name=None)
    assert sorted(kept) == [
        ("H", "H", "test"), ("H", "H", "validation"), ("H", "I", "test"),
        ("I", "H", "test"), ("I", "I", "test"), ("I", "I", "validation"),
    ]  # fmt: skip
    for arm in ("federated", "centralized"):
        assert len(tabulate(config.deployment(arm, "real"), answers)) == 8  # type: ignore[arg-type]


def test_a_hospital_without_images_adds_no_row(phantom_cohort: Cohort, config: StudyConfig) -> None:
    answers = {
        "H": answer(phantom_cohort, [], [], all=[]),
        "I": answer(phantom_cohort, [4], [1], all=[0.5]),
    }
    table = tabulate(config.deployment("federated", "real"), answers)
    assert list(table["hospital"]) == ["I"]
    assert table.dtypes[["seed", "draw", "fold", "label", "score"]].tolist() == [np.int64] * 4 + [np.float64]


def test_what_is_tested_has_a_name(small_study: dict[str, Any]) -> None:
    small_study["evaluation"] |= {"test": "val"}
    assert predictions.tested_split(parse(small_study, "small")) == "val"
    small_study["evaluation"] |= {"folds": 5}
    assert predictions.tested_split(parse(small_study, "small")) == "cross-validation"
