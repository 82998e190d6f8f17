from collections.abc import Callable

import pandas as pd
import pytest

from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.evaluation.predictions import arrange
from fedmammo.evaluation.verdicts import verdicts_of, what_varies


def row(**keys: object) -> dict[str, object]:
    """A primary comparison at `all`."""
    return {
        "role": "primary",
        "tested_at": "all",
        "metric": "auroc",
        "unit": "lesion",
        "arm": "federated",
        "against": "local",
        "setting": "real",
        "difference": 0.05,
        "ci_low": 0.01,
        "ci_high": 0.09,
        "p": 0.01,
        "p_holm": float("nan"),
        "patients": 100,
        "positives": 50,
        "note": "",
    } | keys


def verdicts(*rows: dict[str, object], **keys: object) -> pd.DataFrame:
    return verdicts_of(pd.DataFrame(rows), EvaluationConfig.model_validate(keys), "patients", "seed")


def test_sentences() -> None:
    nothing = {"ci_low": float("nan"), "ci_high": float("nan"), "p": float("nan")}
    found = verdicts(
        row(),
        row(tested_at="A", difference=0.0, ci_low=-0.04, ci_high=0.04),
        row(tested_at="B", difference=-0.01, ci_low=-0.06, ci_high=0.04),
        row(tested_at="C", difference=-0.2, ci_low=-0.3, ci_high=-0.1),
        row(tested_at="D", patients=12, positives=4, note="no interval: fewer than 10 patients of a class", **nothing),
        row(tested_at="E", note="no interval: fewer than 20 draws of hospitals", **nothing),
        row(tested_at="G", difference=-0.03, ci_low=-0.045, ci_high=-0.01),
        row(tested_at="H", difference=-0.06, ci_low=-0.1, ci_high=-0.01),
        row(tested_at="F", role="secondary"),
    )
    assert found["verdict"].tolist() == [
        "superior", "non-inferior", "inconclusive", "inferior", "not assessable", "not assessable",
        "non-inferior", "inconclusive",
    ]  # fmt: skip
    sentences = found["sentence"].tolist()
    assert sentences == [
        "all hospitals: superior: federated is better than local models, each tested on all hospitals' patients: "
        "+0.050 (+0.010 to +0.090); "
        "100 patients, 50 with a malignant lesion.",
        "A: non-inferior: federated is not worse by more than 0.05 than its own model; better was not shown: "
        "+0.000 (-0.040 to +0.040); 100 patients, 50 with a malignant lesion.",
        "B: inconclusive: neither better nor worse was shown for federated against its own model: "
        "-0.010 (-0.060 to +0.040); 100 patients, 50 with a malignant lesion.",
        "C: inferior: federated is worse by more than 0.05 than its own model: "
        "-0.200 (-0.300 to -0.100); 100 patients, 50 with a malignant lesion.",
        "D: not assessable (12 patients, 4 with a malignant lesion): fewer than 10 patients of a class.",
        "E: not assessable (100 patients, 50 with a malignant lesion): fewer than 20 draws of hospitals.",
        "G: non-inferior: federated is worse, but not by more than 0.05, than its own model: "
        "-0.030 (-0.045 to -0.010); 100 patients, 50 with a malignant lesion.",
        "H: inconclusive: federated is worse than its own model; whether by more than 0.05 was not shown: "
        "-0.060 (-0.100 to -0.010); 100 patients, 50 with a malignant lesion.",
    ]


@pytest.mark.parametrize(
    ("seeds", "draws", "folds", "moved", "expected"),
    [
        (1, 1, 1, False, ("patients tested", "patients learned from and who set cuts, seed, hospitals' patients")),
        (
            1,
            1,
            2,
            False,
            ("patients tested", "patients learned from and who set cuts, seed, hospitals' patients, folds"),
        ),
        (3, 1, 2, False, ("patients tested, 3 seeds", "patients learned from and who set cuts, hospitals' patients")),
        (1, 2, 2, True, ("patients tested, 2 draws of hospitals", "patients learned from, seed")),
        (
            *(1, 2, 2, False),
            ("patients tested, 2 draws of who sets cuts", "patients learned from, seed, hospitals' patients, folds"),
        ),
    ],
)
def test_what_varies_and_what_is_fixed(
    study: Callable[..., pd.DataFrame], seeds: int, draws: int, folds: int, moved: bool, expected: tuple[str, str]
) -> None:
    """Draws by a rule such as density deal the same hospitals again; who sets cuts is drawn all the same."""
    once = study(hospitals=2, patients=8, seeds=seeds, folds=folds, arms=("centralized",))
    names = {"H0": "H1", "H1": "H0"} if moved else {}
    again = [once.assign(draw=draw, hospital=once["hospital"].replace(names)) for draw in range(1, draws)]
    assert what_varies(arrange(pd.concat([once, *again]), "test")) == expected
