"""The arm that chooses a recipe inside each fold: by inner folds of who trains, and on nobody who is tested."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fedmammo
from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.config.study import parse
from fedmammo.disk.files import write_text
from fedmammo.errors import InputError
from fedmammo.evaluation.predictions import COLUMNS
from fedmammo.run.choice import choose
from fedmammo.run.folder import RunFolder

CONFIG = EvaluationConfig(unit="image")
IDENTITY = ["seed", "draw", "fold", "split", "image"]


def rows(scores: list[float], labels: list[int], fold: int = 0) -> pd.DataFrame:
    names = [f"{fold}-{at:03d}" for at in range(len(scores))]
    return pd.DataFrame({"fold": fold, "image": names, "patient": names, "label": labels, "score": scores})


def test_the_one_that_ranks_best_within_inner_folds_is_chosen(tmp_path: Path) -> None:
    """AUROC by hand: in `a` 3 of 4 pairs and 1 of 1 are right; in `b` all, though its folds are on other scales."""
    a = pd.concat([rows([0.1, 0.6, 0.5, 0.9], [0, 0, 1, 1]), rows([0.1, 0.9], [0, 1], 1)])
    b = pd.concat([rows([0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1]), rows([0.8, 0.9], [0, 1], 1)])
    assert choose(tmp_path, {"federated": a, "federated-b": b}, CONFIG) == "federated-b"
    found = pd.read_json(tmp_path / "choice.json")
    assert list(found["value"]) == [pytest.approx(4 / 5), 1.0]
    assert list(found["chosen"]) == [0, 1]


def test_equal_ones_and_ones_without_a_value_give_the_first(tmp_path: Path) -> None:
    same, one_class = rows([0.1, 0.9], [0, 1]), rows([0.1, 0.9], [0, 0])
    assert choose(tmp_path, {"federated-x": same, "federated": same}, CONFIG) == "federated-x"
    assert choose(tmp_path, {"federated": one_class, "federated-x": one_class}, CONFIG) == "federated"
    assert choose(tmp_path, {"federated": one_class, "federated-x": same}, CONFIG) == "federated-x"


@pytest.fixture
def nested_study(phantom_study: dict[str, Any]) -> dict[str, Any]:
    phantom_study |= {
        "arms": {
            "federated": {},
            "federated-fast": {"diagnosis.optimizer.learning_rate": 0.3},
            "averaged": {},
            "chosen": {},
        },
        "evaluation": {
            "folds": 2, "folds_over": ["train"], "inner_folds": 2, "every": 1,
            "primary": {"arm": "chosen", "against": "federated"},
        },
    }  # fmt: skip
    phantom_study["hospitals"] |= {"seed": [0, 1], "validation_fraction": 0}
    return phantom_study


def test_its_predictions_are_those_of_what_was_chosen(
    nested_study: dict[str, Any], run_inline: Callable[..., Path], tmp_path: Path
) -> None:
    """In each draw and fold; the table of choices says of which, and rates are far enough apart to differ."""
    folder = run_inline(parse(nested_study, "small"), tmp_path / "run")
    run = fedmammo.open_run(folder)
    predictions, choices = run.predictions, run.choices
    assert len(choices) == 2 * 2 * 3
    chosen = choices[choices["chosen"] == 1].set_index(["draw", "fold"])["arm"]
    assert len(chosen) == 4
    own = predictions[predictions["arm"] == "chosen"]
    taken = [chosen[draw, fold] for draw, fold in zip(predictions["draw"], predictions["fold"], strict=True)]
    theirs = predictions[predictions["arm"] == taken]
    pd.testing.assert_frame_equal(
        own.set_index(IDENTITY)[["score"]].sort_index(), theirs.set_index(IDENTITY)[["score"]].sort_index()
    )
    assert set(run.verdicts["arm"]) == {"chosen"}
    assert {"chosen", "averaged"} <= set(run.guarantees["arm"])
    scores = {arm: rows.set_index(IDENTITY)["score"].sort_index() for arm, rows in predictions.groupby("arm")}
    clipped = [scores[arm].clip(1e-6, 1 - 1e-6) for arm in ("federated", "federated-fast")]
    odds = [np.log(score / (1 - score)) for score in clipped]
    np.testing.assert_allclose(scores["averaged"], 1 / (1 + np.exp(-(odds[0] + odds[1]) / 2)), rtol=1e-9)
    assert not [*folder.glob("deployments/*inner*"), *folder.rglob("tried-*")], "what was tried leaves nothing"


def test_in_inner_folds_each_training_image_is_scored_once_and_no_tested_one(
    nested_study: dict[str, Any], run_inline: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who learns there is `divide`'s to say (tests/hospitals/test_holder.py)."""
    seen: list[pd.DataFrame] = []

    def keep(folder: Path, predictions: dict[str, pd.DataFrame], config: EvaluationConfig) -> str:
        seen.append(predictions["federated"])
        return choose(folder, predictions, config)

    monkeypatch.setattr("fedmammo.run.choice.choose", keep)
    nested_study["hospitals"]["seed"] = [0]
    folder = run_inline(parse(nested_study, "small"), tmp_path / "run")
    tested = fedmammo.open_run(folder).predictions
    assert len(seen) == 2
    for fold, rows in enumerate(seen):
        others = set(tested[tested["fold"] == fold]["image"])
        assert set(rows["split"]) == {"validation"}
        assert rows["image"].is_unique
        assert set(rows["image"]) == set(tested["image"]) - others, "each training image once, and no tested one"
        assert set(rows["fold"]) == {0, 1}


def test_what_a_kill_left_of_what_was_tried_is_cleared_away(nested_study: dict[str, Any], tmp_path: Path) -> None:
    """Killed between keeping and tidying: it is read, not run again, and its folder goes."""
    study = parse(nested_study, "small")
    chosen, one = study.deployment("chosen", "real"), study.deployment("federated", "real").tried[0]
    folder, table = RunFolder(tmp_path), pd.DataFrame(columns=list(COLUMNS))
    folder.tried(chosen, one, lambda _: table)
    write_text(folder.checkpoint(one), "left")
    folder.tried(chosen, one, lambda _: pytest.fail("it is there"))
    assert not folder.folder(one).exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"arms": ["federated", "chosen"]}, "is made of federated and its variants"),
        ({"arms": {"federated": {}, "federated-a": {}, "chosen": {"federation.rounds": 1}}}, "no overrides"),
        ({"arms": ["federated", "federated-a", "chosen"], "settings": ["real-epsilon-1"]}, "takes no budget"),
        (
            {
                "arms": ["federated", "federated-a", "chosen"],
                "settings": ["augmented"],
                "synthesis": {"source": "gan", "images": 8},
            },
            "takes no images of GANs",
        ),
    ],
)
def test_what_it_cannot_choose_among_is_refused(
    phantom_study: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        parse(phantom_study | changes, "small")
